"""Sentences on latent-matched figures, which compare rates at equal distortion of the latents.

They are not savings at equal PSNR, and are nowhere called a BD-rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rdpipe.core.axes import BASELINE_CELL, PAPER_ORDER, CellId
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.style import kind_label
from rdpipe.report.words import LATENT_MATCHED, TERM_NAMES, range_text

PARTS = {"variance": "variance", "quantization": "quantizer", "context": "context model"}
"""Part of the codec that a limit without a term keeps."""


def to_limit(panel: pd.DataFrame, cell: CellId) -> str:
    """Return the terms to one limit at one quality.

    Parameters
    ----------
    panel : DataFrame
        The terms in the paper's order.
    cell : CellId
        The limit.
    """
    rows = panel.set_index("term")
    unchanged = [
        axis.term
        for axis in PAPER_ORDER
        if getattr(cell, axis.name) == getattr(BASELINE_CELL, axis.name)
    ]
    always = {"side", *(axis.term for axis in PAPER_ORDER)}.difference(unchanged)
    parts = [
        f"{TERM_NAMES[term]} {row.bpp:.3f}" + (interval_text(row) if row.bpp else "")
        for term, row in rows.drop("total").dropna(subset="bpp").iterrows()
        if abs(row.bpp) >= 5e-4 or term in always
    ]
    total = rows.loc["total", ["bpp", "bpp_low", "bpp_high"]]
    side = "above"
    if total.bpp < 0:  # the limit is a loose bound
        total = -total.rename({"bpp_low": "bpp_high", "bpp_high": "bpp_low"})
        side = "below"
    return (
        f"{total.bpp:.3f} bpp{interval_text(total)} {side}"
        f" “{panel['limit'].iloc[0]}” ({kind_label(panel['kind'].iloc[0])}): {', '.join(parts)}."
        + unchanged_sentence(unchanged)
    )


def interval_text(row: pd.Series) -> str:
    """Return the 95 % interval of a term; empty if it is not known, as with one image."""
    if not math.isfinite(row["bpp_low"] + row["bpp_high"]):
        return ""
    return f" ({row['bpp_low']:.3f} to {row['bpp_high']:.3f})"


def unchanged_sentence(terms: Sequence[str]) -> str:
    """Return what a limit cannot show, because it keeps some parts of the codec."""
    if not terms:
        return ""
    parts = " and ".join(PARTS[term] for term in terms)
    return f" This limit keeps the codec's own {parts}, so it cannot show losses there."


def over_the_curve(points: pd.DataFrame, terms: pd.DataFrame, limit: str) -> str:
    """Return the share of the bits above one limit, over all qualities."""
    codec = points[points["role"] == CurveRole.CODEC].set_index("quality")
    paper = terms[(terms["order"] == "paper") & (terms["limit"] == limit)]
    total = paper[paper["term"] == "total"].set_index("quality")["bpp"]
    share = (total / codec["bpp"]).dropna() * 100
    return (
        f"At {range_text(codec['bpp'])} bpp, {share_text(share)} “{limit}”"
        f" ({kind_label(paper['kind'].iloc[0])}), {distortion_text(paper['latent_mse_ratio'])}."
    )


def share_text(share: pd.Series) -> str:
    """Return how much of the bits lies above a limit, per cent, or below a loose bound."""
    if share.empty:
        return "an unknown share of the bits lies above"
    if share.max() < 0:
        return f"the codec lies {range_text(-share, '.0f')} % of its bits below"
    if share.min() < 0:
        return (
            f"the codec lies between {-share.min():.0f} % of its bits below and"
            f" {share.max():.0f} % above"
        )
    return f"{range_text(share, '.0f')} % of the bits lie above"


def genie_sentence(terms: pd.DataFrame, limit: str) -> str:
    """Return at which qualities a genie-aided limit needs more bits than a decodable one.

    Empty if it needs fewer everywhere, or if the limit is decodable.
    """
    kinds = terms.drop_duplicates("limit").set_index("limit")["kind"].map(BoundKind.parse)
    if kinds[limit] is not BoundKind.GENIE_AIDED:
        return ""
    paper = terms[(terms["order"] == "paper") & (terms["term"] == "total")]
    total = paper.pivot(index="quality", columns="limit", values="bpp")
    for decodable, kind in kinds.items():
        worse = total.index[total[limit] < total[decodable]]
        if kind is not BoundKind.GENIE_AIDED and len(worse):
            qualities = ", ".join(f"q{quality}" for quality in worse)
            return (
                f"At {qualities} it needs more bits than “{decodable}”, although it uses the"
                " latents themselves. It is therefore not a limit on what a better estimate could"
                " save."
            )
    return ""


def distortion_text(ratios: pd.Series) -> str:
    """Return at which distortion of the latents rates are compared."""
    low, high = ratios.min(), ratios.max()
    if max(abs(low - 1), abs(high - 1)) < 1e-3:
        return "at equal distortion of the latents"
    return f"at {range_text(ratios)} times the codec's distortion of the latents"


def largest_change(changes: pd.DataFrame) -> Any | None:
    """Return the row of the term whose closing saves most; None if none saves bits."""
    terms = changes[(changes["term"] != "total") & (changes["latent_matched_change"] < 0)]
    return None if terms.empty else terms.loc[terms["latent_matched_change"].idxmin()]


def change_sentence(changes: pd.DataFrame) -> str:
    """Return the largest latent-matched change on the way to one limit.

    Parameters
    ----------
    changes : DataFrame
        The latent-matched changes to this limit.
    """
    if changes["latent_matched_change"].isna().all():
        return "Changes over the curve are unknown: they need two qualities or more."
    row = largest_change(changes)
    if row is None:
        return "Closing any term saves nothing over the curve: the codec's own cell is the best."
    change = [row[f"latent_matched_change{bound}"] for bound in ("", "_low", "_high")]
    ratios = changes[["latent_mse_ratio_min", "latent_mse_ratio_max"]].stack()
    return (
        f"Largest {LATENT_MATCHED} term: {TERM_NAMES[row['term']]}; closing it changes the rate by"
        f" {change[0]:+.1f} %"
        + (f" ({change[1]:+.1f} to {change[2]:+.1f} %)" if math.isfinite(sum(change)) else "")
        + f", {distortion_text(ratios)}. This is not a saving at equal PSNR."
    )


def change_summary(changes: pd.DataFrame) -> dict[str, Any]:
    """Return the largest latent-matched term and its change for the comparison of codecs."""
    row = largest_change(changes)
    if row is None:
        return {"term": "none", "change": None}
    return {"term": row["term"], "change": row["latent_matched_change"]}
