"""What the page's script is given: numbers for the charts, as JSON that no text can break out of."""

from __future__ import annotations

import json
import math

import pandas as pd

from rdpipe.report.frames import steps
from rdpipe.report.style import COLOURS, WEB_STYLES, colour_curves, meaning


def to_json(value) -> str:
    """Compact JSON for a ``script`` element: NaN is null, and no ``<`` or ``&`` is left."""
    text = json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value):
    """The same with numbers of at most seven digits, and None for those that are not finite."""
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def run_payload(tables: dict[str, pd.DataFrame], limits: dict) -> dict:
    """Charts of one codec on one data set; a list of numbers for each column.

    Parameters
    ----------
    tables : dict of DataFrame
        ``points``, ``savings``, ``decomposition``, ``gaps``, ``channels``, ``calibration`` and
        ``residuals`` of this data set and codec.
    limits : dict
        Cells by name.
    """
    points = tables["points"]
    return {
        "curves": curves(points),
        "savings": {
            name: columns(table, "psnr", "bpp", "saved", "saved_low", "saved_high")
            for name, table in tables["savings"].groupby("curve", sort=False)
        },
        "terms": {
            limit: {
                str(quality): waterfall(panel) for quality, panel in table.groupby("quality", sort=False)
            }
            for limit, table in tables["decomposition"].groupby("limit", sort=False)
        },
        "gaps": [
            {"component": component, "information": information, "estimator": estimator,
             **columns(table, "quality", "bpp")}
            for (component, estimator, information), table in tables["gaps"].groupby(
                ["component", "estimator", "information"], sort=False
            )
        ],
        "channels": {
            str(quality): columns(table, "channel", "second_moment", "predicted", "bits", *steps(limits))
            | {"level": table["level"].iloc[0]}
            for quality, table in tables["channels"].groupby("quality", sort=False)
        },
        "calibration": {
            str(quality): columns(table, "predicted", "actual", "actual_low", "actual_high", "count")
            for quality, table in tables["calibration"].groupby("quality", sort=False)
        },
        "residuals": {
            str(quality): {
                name: columns(one, "normalised", "density", "gaussian")
                for name, one in table.groupby("class", sort=False)
            }
            for quality, table in tables["residuals"].groupby("quality", sort=False)
        },
    }  # fmt: skip


def columns(table: pd.DataFrame, *names: str) -> dict[str, list]:
    """Some columns as lists."""
    return {name: table[name].tolist() for name in names}


def curves(points: pd.DataFrame) -> list[dict]:
    """Every curve with its kind, its look and its points."""
    grouped = list(points.groupby(["codec", "curve", "kind"], sort=False))
    colours = colour_curves([key for key, _ in grouped])
    return [
        {
            "name": name,
            "kind": meaning(kind),
            "own": name == "codec",
            "ours": codec != "",
            "colour": colour,
            "source": table["source"].iloc[0],
            **WEB_STYLES[kind],
            **columns(table, "quality", "bpp", "bpp_low", "bpp_high", "psnr", "psnr_of_mean_mse"),
        }
        for ((codec, name, kind), table), colour in zip(grouped, colours)
    ]


def waterfall(panel: pd.DataFrame) -> dict:
    """The terms at one quality, in the paper's order, and where Shapley's would end."""
    paper, shapley = (panel[panel["order"] == order] for order in ("paper", "shapley"))
    kind = meaning(paper["kind"].iloc[0])
    return columns(paper, "term", "bpp", "bpp_low", "bpp_high") | {
        "shapley": shapley["bpp"].tolist(),
        "kind": kind,
        "up": COLOURS[0],
        "down": COLOURS[1],
    }
