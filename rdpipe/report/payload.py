"""Numbers for the charts of the page, as JSON from which no text can break out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.answer import Lever, levers
from rdpipe.report.common_range import of_measure
from rdpipe.report.frames import Limits, mapped_steps
from rdpipe.report.savings import column_of, image_savings, savings
from rdpipe.report.style import SHOWN, TERM_COLORS, TOTAL, WEB_STYLES, curve_colors, kind_label
from rdpipe.report.words import MEASURE_NAMES

if TYPE_CHECKING:
    from rdpipe.report.page import RunTables


def to_json(value: Any) -> str:
    """Return compact JSON for a ``script`` element: NaN is null, and no ``<`` or ``&`` is left."""
    text = json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    """Return the value with floats of at most seven digits, and None if they are not finite."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def run_payload(tables: RunTables, limits: Limits, measure: str) -> dict[str, Any]:
    """Return the data of the charts of one codec on one dataset.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        See :func:`rdpipe.report.page.run_content`.
    limits : mapping of str to CellId
    measure : str
        The quality that is equal in the levers.
    """
    decomposition = tables["latent_decomposition"]
    best = best_curves(levers(tables["bd_rates"], measure))
    avoidable = image_savings(tables["image_points"], best.get("bound", ""), measure)
    channel_columns = ("channel", "second_moment", "predicted", "bits", *mapped_steps(limits))
    scale_columns = ("predicted", "actual", "actual_low", "actual_high", "count")
    return {
        "qualities": [int(quality) for quality in decomposition["quality"].unique()],
        "measure": MEASURE_NAMES[measure],
        "levers": lever_bars(
            in_real_bytes(levers(tables["bd_rates"], measure), tables["available"])
        ),
        "changes": tables["latent_matched"].to_dict("records"),
        "curves": curves(tables["points"], of_measure(tables["bd_rates"], measure)),
        "best": best,
        "savings": {
            column_of(name): savings_of(tables["points"], tables["image_points"], name)
            for name in drawn_measures(tables["points"])
        },
        "terms": {
            limit: {
                str(quality): waterfall(panel)
                for quality, panel in table.groupby("quality", sort=False)
            }
            for limit, table in decomposition.groupby("limit", sort=False)
        },
        "images": {
            str(quality): image_points(table, avoidable)
            for quality, table in tables["latents"].groupby("quality", sort=False)
        },
        "channels": {
            str(quality): columns(table, *channel_columns, "theta")
            for quality, table in tables["channels"].groupby("quality", sort=False)
        },
        "calibration": {
            str(quality): columns(table, *scale_columns)
            for quality, table in tables["calibration"].groupby("quality", sort=False)
        },
        "residuals": {
            str(quality): {
                name: columns(rows, "normalized", "density", "gaussian")
                for name, rows in table.groupby("class", sort=False)
            }
            for quality, table in tables["residuals"].groupby("quality", sort=False)
        },
    }


def drawn_measures(points: pd.DataFrame) -> list[str]:
    """Return the measures of quality in which the codec has a curve."""
    codec_points = points[points["role"] == CurveRole.CODEC]
    return [name for name in MEASURE_NAMES if codec_points[column_of(name)].notna().any()]


def savings_of(
    points: pd.DataFrame, image_points: pd.DataFrame, measure: str
) -> dict[str, dict[str, list[Any]]]:
    """Return what each curve saves at equal quality in one measure, see :func:`savings`."""
    table = savings(points, image_points, measure)
    table = table.rename(columns={column_of(measure): "at"})
    return {
        name: columns(rows, "at", "bpp", "saved", "saved_low", "saved_high")
        for name, rows in table.groupby("curve", sort=False)
    }


def image_points(
    latents: pd.DataFrame, avoidable: Mapping[tuple[str, int], float]
) -> dict[str, list[float]]:
    """Return bit/pixel, PSNR and avoidable per cent of each image that is shown, by its name."""
    return {
        row.image: [
            8 * row.bytes / row.pixels,
            row.psnr,
            avoidable.get((row.image, row.quality), math.nan),
        ]
        for row in latents.head(SHOWN).itertuples()
    }


def columns(table: pd.DataFrame, *names: str) -> dict[str, list[Any]]:
    """Return some columns as lists."""
    return {name: table[name].tolist() for name in names}


def in_real_bytes(changes: list[Lever], available: pd.DataFrame) -> list[Lever]:
    """Return levers with the change of their real bytes, where they were written and decoded.

    Otherwise a code has that of its code length. The largest saving comes first.

    Parameters
    ----------
    changes : list of Lever
    available : DataFrame
        See :func:`rdpipe.analysis.available.available_frame`.
    """
    written = available[available["kind"] == str(BoundKind.ACHIEVED)].set_index("cell")
    rates = written[["bd_rate", "bd_rate_low", "bd_rate_high"]].dropna()
    changed = [
        lever._replace(kind=BoundKind.ACHIEVED, **rates.loc[lever.curve])
        if lever.curve in rates.index
        else lever
        for lever in changes
    ]
    return sorted(changed, key=lambda lever: lever.bd_rate)


def lever_bars(changes: list[Lever]) -> list[dict[str, Any]]:
    """Return the levers that save bits at equal quality."""
    return [
        {
            "curve": lever.label,
            "kind": kind_label(lever.kind),
            "change": lever.change,
            "color": TERM_COLORS.get(lever.term, TOTAL),
            "real": lever.kind is not BoundKind.UPPER_BOUND,
            "bd_rate": lever.bd_rate,
            "bd_rate_low": lever.bd_rate_low,
            "bd_rate_high": lever.bd_rate_high,
        }
        for lever in changes
        if lever.bd_rate < 0
    ]


def best_curves(changes: list[Lever]) -> dict[str, str]:
    """Return the curves that save most at equal quality: the ``bound`` and the real ``code``."""
    best: dict[str, str] = {}
    for lever in changes:
        if lever.bd_rate < 0:
            best.setdefault("bound" if lever.kind is BoundKind.UPPER_BOUND else "code", lever.curve)
    return best


def curves(points: pd.DataFrame, bd_rates: pd.DataFrame) -> list[dict[str, Any]]:
    """Return every curve with its kind, its look and its points.

    ``codec`` marks the codec's own curve; ``measured`` the curves that belong to the codec, which
    set the range of the chart; ``shared`` the curves that are compared with every codec; ``genie``
    those that are not shown at first. The BD-rates are those in one measure.
    """
    rates = bd_rates.set_index(["curve", "role"])["bd_rate"]
    groups = list(points.groupby(["curve", "role", "kind"], sort=False))
    colors = curve_colors([role for (_, role, _), _ in groups])
    shared = (CurveRole.BASELINE, CurveRole.PUBLISHED)
    shown = ("quality", "bpp", "bpp_low", "bpp_high", *map(column_of, MEASURE_NAMES))
    return [
        {
            "name": name,
            "label": table["label"].iloc[0],
            "kind": kind_label(kind),
            "genie": BoundKind.parse(kind) is BoundKind.GENIE_AIDED,
            "bd_rate": float(rates.get((name, role), math.nan)),
            "codec": CurveRole.parse(role) is CurveRole.CODEC,
            "measured": CurveRole.parse(role).belongs_to_codec,
            "shared": CurveRole.parse(role) in shared,
            "color": color,
            "source": table["source"].iloc[0],
            **WEB_STYLES[BoundKind.parse(kind)],
            **columns(table, *shown),
        }
        for ((name, role, kind), table), color in zip(groups, colors, strict=True)
    ]


def waterfall(panel: pd.DataFrame) -> dict[str, Any]:
    """Return the terms at one quality in the paper's order, with their Shapley values."""
    paper, shapley = (panel[panel["order"] == order] for order in ("paper", "shapley"))
    return columns(paper, "term", "bpp", "bpp_low", "bpp_high") | {
        "shapley": shapley["bpp"].tolist(),
        "kind": kind_label(paper["kind"].iloc[0]),
        "ratio": float(paper["latent_mse_ratio"].iloc[0]),
        "color": [TERM_COLORS.get(term, TOTAL) for term in paper["term"]],
    }
