"""Rows of the page's tables."""

from __future__ import annotations

import pandas as pd

from rdpipe.core.axes import START
from rdpipe.analysis.decomposition import TERMS
from rdpipe.report.style import SHOWN, meaning


def limit_rows(terms: pd.DataFrame) -> dict:
    """The table of the decomposition to one limit: a row for each term, a cell for each quality."""
    rows = []
    for term, same in terms.groupby("term", sort=False):
        by_order = {order: one.set_index("quality") for order, one in same.groupby("order")}
        paper, shapley = by_order["paper"], by_order["shapley"]
        cells = [
            {"paper": paper["bpp"][q], "low": paper["bpp_low"][q], "high": paper["bpp_high"][q],
             "shapley": shapley["bpp"][q]}
            for q in paper.index
        ]  # fmt: skip
        rows.append({"term": term, "cells": cells})
    latent_mse = terms.drop_duplicates("quality")["latent_mse"].tolist()
    return {"kind": meaning(terms["kind"].iloc[0]), "rows": rows, "latent_mse": latent_mse}


def gap_rows(gaps: pd.DataFrame) -> list[dict]:
    """A row for each estimator of each axis, a cell for each quality; saved is against the codec."""
    keys = ["component", "estimator", "information"]
    rows, own_names = [], {gap: START[axis] for axis, gap in TERMS.items()}
    for values, same in gaps.groupby(keys, sort=False):
        of_gap = gaps[gaps["component"] == values[0]]
        start = of_gap[of_gap["estimator"] == own_names[values[0]]]
        own = start.set_index("quality")["bpp"]
        cells = [{"per_latent": one.per_latent, "bpp": one.bpp, "saved": own[one.quality] - one.bpp}
                 for one in same.itertuples()]  # fmt: skip
        rows.append(dict(zip(keys, values)) | {"cells": cells})
    return rows


def variance_split(gaps: pd.DataFrame) -> list[dict]:
    """The variance gap in two: calibration, and resolution, what better side information buys.

    Calibration is codec -> calibrated: no side information, but the second moment is the optimum of a
    density, and where the codec's scale was trained on rounded latents it may cost. Resolution is
    calibrated -> the best decodable estimator. In bit/pixel; empty without a calibrated estimator.
    """
    variances = gaps[gaps["component"] == "variance"]
    decodable = variances[variances["information"] == "decodable"]
    rates = decodable.pivot(index="quality", columns="estimator", values="bpp")
    if "calibrated" not in rates:
        return []
    return [
        {"quality": quality, "calibration": one["codec"] - one["calibrated"],
         "resolution": one["calibrated"] - one.min(), "best": one.idxmin()}
        for quality, one in rates.iterrows()
    ]  # fmt: skip


def second_moment_check(gaps: pd.DataFrame) -> list[dict]:
    """What a search over the variance of each channel saves against its second moment, bit/pixel.

    Under the Gaussian assumption the second moment is the optimum: what is left is due to the index
    being discrete. Empty unless both ``channel`` and ``searched-channel`` were measured.
    """
    rates = gaps[gaps["component"] == "variance"].pivot(
        index="quality", columns="estimator", values="bpp"
    )
    if not {"channel", "searched-channel"} <= set(rates):
        return []
    saved = rates["channel"] - rates["searched-channel"]
    return [{"quality": quality, "saved": value} for quality, value in saved.items()]


def image_rows(latents: pd.DataFrame, terms: pd.DataFrame, limits: list[str]) -> list[dict]:
    """A row for each of the first images and quality, with what lies above each limit."""
    shown = latents["image"].isin(latents["image"].unique()[:SHOWN])
    total = terms[(terms["term"] == "total") & (terms["order"] == "paper")]
    total = total.set_index(["image", "quality", "limit"])["bpp"]
    return [
        {"image": one.image, "width": one.width, "height": one.height, "quality": one.quality,
         "bpp": 8 * one.bytes / one.pixels, "psnr": one.psnr,
         "model_bpp": (one.latent_bits + one.side_bits) / one.pixels,
         "side_bpp": one.side_bits / one.pixels,
         "totals": [total[one.image, one.quality, limit] for limit in limits]}
        for one in latents[shown].sort_values(["image", "quality"]).itertuples()
    ]  # fmt: skip
