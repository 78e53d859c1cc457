"""The page: one self-contained HTML file."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from rdpipe import decomposition
from rdpipe.axes import START, cell_name
from rdpipe.report.figures import FIGURES, meaning
from rdpipe.report.figures import render as render_figure

TERMS = {
    "coder": "real bytes minus the model's own bits: entropy coder, header",
    "prior": "the model's own bits minus those of a Gaussian of the same mean and scale, with escapes for floors",
    "side": "side information that the limit does not send (0 where the limit needs it)",
    "variance": "the codec's variance against the limit's",
    "quantization": "rounding against the limit's quantizer, at the latent MSE that stands below",
    "context": "the codec's mean against the limit's",
    "total": "sum of the terms: from the real bytes to the limit",
}
KINDS = {
    "achieved": "real bytes of a real bitstream that decodes to the reported image",
    "achievable": "everything is known at the decoder, and the quantizer can be built",
    "upper bound on R(D)": "everything is known at the decoder; the quantizer is the Gaussian test channel",
    "genie-aided estimate": "an estimator looks at the very latents being coded: optimistic, not a bound",
    "reference": "a published figure, with its source, or a rate-distortion function that is known",
}


TEMPLATES = Path(__file__).parent


def run_content(
    dataset: str, codec: str, tables: dict[str, pd.DataFrame], cells: dict[str, dict[str, str]]
) -> dict:
    """What the page says about one codec on one data set.

    Parameters
    ----------
    dataset, codec : str
    tables : dict of DataFrame
        ``points``, ``bd_rates``, ``decomposition``, ``image_terms``, ``gaps`` and ``latents`` of
        this data set and codec.
    cells : dict of dict
        The limits: ``mean``, ``variance`` and ``quantizer`` of each, in this order.
    """
    points, terms = tables["points"], tables["decomposition"]
    limits = list(terms["limit"].unique())
    return {
        "dataset": dataset,
        "codec": codec,
        "images": points["images"].iloc[0],
        "qualities": list(terms["quality"].unique()),
        "answers": [
            answer(points, terms, limit) + answer_at_equal_psnr(tables["bd_rates"], cells[limit])
            for limit in limits
        ],
        "unreached": points[points["bpp"].isna()][["curve", "quality"]].to_dict("records"),
        "bd_rates": tables["bd_rates"].to_dict("records"),
        "sources": points[points["source"] != ""].drop_duplicates("curve").to_dict("records"),
        "limits": [
            {
                "name": limit,
                "cell": cell_name(cells[limit]),
                **limit_rows(terms[terms["limit"] == limit]),
            }
            for limit in limits
        ],  # fmt: skip
        "gaps": gap_rows(tables["gaps"]),
        "second_moment": second_moment_check(tables["gaps"]),
        "variance": variance_split(tables["gaps"]),
        "codes": tables["codes"].to_dict("records"),
        "per_image": image_rows(tables["latents"], tables["image_terms"], limits),
        "figures": {name: render_figure(name, "svg", tables) for name in FIGURES},
    }


def answer(points: pd.DataFrame, terms: pd.DataFrame, limit: str) -> str:
    """One sentence on where a codec loses its bits, on the way to one limit."""
    own = points[points["curve"] == "codec"].set_index("quality")
    paper = terms[(terms["order"] == "paper") & (terms["limit"] == limit)]
    table = paper.pivot(index="term", columns="quality", values="bpp")
    share = (table.loc["total"] / own["bpp"]).dropna() * 100
    parts = table.drop("total").mean(axis=1)
    return (
        f"At {own['bpp'].min():.3f} to {own['bpp'].max():.3f} bit/pixel and equal distortion of the "
        f"latents, {share.min():.0f} to {share.max():.0f} % of the bits lie above “{limit}” "
        f"({meaning(paper['kind'].iloc[0])}). The largest term is {parts.idxmax()}: "
        f"{parts.max():.3f} bit/pixel on average over the qualities."
    )


def answer_at_equal_psnr(bd_rates: pd.DataFrame, cell: dict[str, str]) -> str:
    """What the limit saves at equal PSNR through the decoder, where its curve was simulated."""
    found = bd_rates[bd_rates["curve"] == cell_name(cell)].dropna()
    if found.empty:
        return ""
    one = found.iloc[0]
    return (
        f" At equal PSNR, through the codec's own decoder, its rate is {one['bd_rate']:+.1f} % "
        f"(BD-rate; 95 % interval {one['bd_rate_low']:+.1f} to {one['bd_rate_high']:+.1f} %)."
    )


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
    rows, own_names = [], {gap: START[axis] for axis, gap in decomposition.TERMS.items()}
    for values, same in gaps.groupby(keys, sort=False):
        of_gap = gaps[gaps["component"] == values[0]]
        start = of_gap[of_gap["estimator"] == own_names[values[0]]]
        own = start.set_index("quality")["bpp"]
        cells = [{"per_latent": one.per_latent, "bpp": one.bpp, "saved": own[one.quality] - one.bpp}
                 for one in same.itertuples()]  # fmt: skip
        rows.append(dict(zip(keys, values)) | {"cells": cells})
    return rows


def variance_split(gaps: pd.DataFrame) -> list[dict]:
    """The variance gap in two: calibration, a free fix, and resolution, what better side information buys.

    Calibration is codec -> calibrated, resolution calibrated -> the best decodable estimator, in
    bit/pixel; empty without a calibrated estimator.
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
    """A row for each image and quality, with what lies above each limit."""
    total = terms[(terms["term"] == "total") & (terms["order"] == "paper")]
    total = total.set_index(["image", "quality", "limit"])["bpp"]
    return [
        {"image": one.image, "width": one.width, "height": one.height, "quality": one.quality,
         "bpp": 8 * one.bytes / one.pixels, "psnr": one.psnr,
         "model_bpp": (one.latent_bits + one.side_bits) / one.pixels,
         "side_bpp": one.side_bits / one.pixels,
         "totals": [total[one.image, one.quality, limit] for limit in limits]}
        for one in latents.sort_values(["image", "quality"]).itertuples()
    ]  # fmt: skip


def data_uri(svg: bytes) -> str:
    """A figure as the source of an image."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def render(runs: list[dict], datasets: dict[str, dict], config: dict, versions: dict) -> str:
    """The page as HTML; everything that comes from outside is escaped.

    Parameters
    ----------
    runs : list of dict
        From :func:`run_content`.
    datasets : dict of dict
        Manifests by name.
    config : dict
        The complete config.
    versions : dict of str
        Versions of the packages.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = data_uri
    content = {"runs": runs, "datasets": datasets, "config": config, "versions": versions}
    text = yaml.safe_dump(config, sort_keys=True)
    return environment.get_template("template.html.j2").render(
        content, yaml=text, TERMS=TERMS, KINDS=KINDS
    )
