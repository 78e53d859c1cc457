"""Rows of the tables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rdpipe.core.axes import AXES
from rdpipe.core.kinds import Information
from rdpipe.report.frames import SAVED
from rdpipe.report.style import SHOWN, kind_label


def limit_rows(terms: pd.DataFrame) -> dict[str, Any]:
    """Return the table of the decomposition to one limit.

    It has a row for each term and a cell for each quality.
    """
    rows = []
    for term, table in terms.groupby("term", sort=False):
        orders = {order: rows.set_index("quality") for order, rows in table.groupby("order")}
        paper, shapley = orders["paper"], orders["shapley"]
        cells = [
            {
                "paper": paper["bpp"][quality],
                "low": paper["bpp_low"][quality],
                "high": paper["bpp_high"][quality],
                "shapley": shapley["bpp"][quality],
            }
            for quality in paper.index
        ]
        rows.append({"term": term, "cells": cells})
    ratios = terms.drop_duplicates("quality")["latent_mse_ratio"].tolist()
    return {"kind": kind_label(terms["kind"].iloc[0]), "rows": rows, "latent_mse_ratios": ratios}


def content_rows(content: pd.DataFrame) -> dict[str, Any]:
    """Return the table of the classes of content, with a cell for each gap.

    Parameters
    ----------
    content : DataFrame
        From :func:`rdpipe.report.frames.content_frame`, of all qualities.
    """
    rows = []
    for (quality, _), table in content.groupby(["quality", "content"], sort=False):
        gaps = table.dropna(subset="gap")
        row = table.iloc[0][["content", "images", "area", "bpp", "share", "psnr"]].to_dict()
        cells = gaps[[*SAVED, "latent_mse_ratio"]].to_dict("records")
        rows.append({"quality": int(quality), **row, "cells": cells})
    gaps = content.drop_duplicates("gap").dropna(subset="gap")
    return {
        "gaps": gaps[["gap", "genie"]].to_dict("records"),
        "rows": rows,
        "remarks": [remark for remark in content["remark"].unique() if remark],
    }


def gap_rows(gaps: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each estimator of each axis, with a cell for each quality.

    ``saved`` is against the codec.
    """
    keys = ["component", "estimator", "information"]
    baselines = {axis.term: axis.baseline for axis in AXES}
    rows = []
    for values, table in gaps.groupby(keys, sort=False):
        labels = dict(zip(keys, values, strict=True))
        component = gaps[gaps["component"] == labels["component"]]
        codec = component[component["estimator"] == baselines[labels["component"]]]
        codec_bpp = codec.set_index("quality")["bpp"]
        cells = [
            {
                "per_latent": row.per_latent,
                "bpp": row.bpp,
                "saved": codec_bpp[row.quality] - row.bpp,
            }
            for row in table.itertuples()
        ]
        genie = Information.parse(labels["information"]) is Information.GENIE
        rows.append(labels | {"genie": genie, "cells": cells})
    return rows


def variance_split(gaps: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the variance gap in two parts, bit/pixel.

    Calibration is the step from the codec's to the calibrated variance. It transmits nothing. The
    second moment is the optimum of a density, so calibration may cost bits if the codec's scale was
    trained on rounded latents. Resolution is the step from the calibrated to the best decodable
    variance. Empty without a calibrated variance.
    """
    variances = gaps[gaps["component"] == "variance"]
    decodable = variances[variances["information"] == Information.DECODABLE]
    rates = decodable.pivot(index="quality", columns="estimator", values="bpp")
    if "calibrated" not in rates:
        return []
    return [
        {
            "quality": quality,
            "calibration": rate["codec"] - rate["calibrated"],
            "resolution": rate["calibrated"] - rate.min(),
            "best": rate.idxmin(),
        }
        for quality, rate in rates.iterrows()
    ]


def second_moment_check(gaps: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what a search over the variance of each channel saves against its second moment.

    In bit/pixel. Under the Gaussian assumption the second moment is the optimum; the rest is due to
    the discrete index. Empty unless both ``channel`` and ``searched-channel`` were measured.
    """
    variances = gaps[gaps["component"] == "variance"]
    rates = variances.pivot(index="quality", columns="estimator", values="bpp")
    if not {"channel", "searched-channel"} <= set(rates):
        return []
    saved = rates["channel"] - rates["searched-channel"]
    return [{"quality": quality, "saved": value} for quality, value in saved.items()]


def image_rows(
    latents: pd.DataFrame, terms: pd.DataFrame, limits: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each of the first images and quality, with the total above each limit."""
    shown = latents["image"].isin(latents["image"].unique()[:SHOWN])
    total = terms[(terms["term"] == "total") & (terms["order"] == "paper")]
    total = total.set_index(["image", "quality", "limit"])["bpp"]
    return [
        {
            "image": row.image,
            "width": row.width,
            "height": row.height,
            "quality": row.quality,
            "bpp": 8 * row.bytes / row.pixels,
            "psnr": row.psnr,
            "model_bpp": (row.latent_bits + row.side_bits) / row.pixels,
            "side_bpp": row.side_bits / row.pixels,
            "totals": [total[row.image, row.quality, limit] for limit in limits],
        }
        for row in latents[shown].sort_values(["image", "quality"]).itertuples()
    ]
