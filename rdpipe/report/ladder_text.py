"""The ladder and the terms of the decomposition at equal pictures, in words and in rows."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from rdpipe.core.kinds import BoundKind
from rdpipe.report.style import kind_label
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES

NOT_MEASURED = "not measured"
"""What is said of a term whose axis has only the codec's own estimator."""


def answer_sentence(ladder: pd.DataFrame) -> str:
    """Return how many of the bits are avoidable at equal pictures, and where they are lost.

    Parameters
    ----------
    ladder : DataFrame
        From :func:`rdpipe.analysis.ladder.ladder_frame`, of one limit of one codec.
    """
    curve = over_the_curve(ladder)
    theory = curve[curve["kind"] != str(BoundKind.GENIE_AIDED)]
    known = theory[theory["total"].notna()]
    measure = MEASURE_NAMES[ladder["matched_at"].iloc[0]]
    if known.empty:
        return f"At equal {measure}, the ladder is not known over the curve: {reason(curve)}."
    best = known.loc[known["total"].idxmin()]
    steps = curve.loc[: best.name]
    parts = [
        f"{TERM_NAMES[row.term]} {-row.change:.1f} %"
        for row in steps.itertuples()
        if math.isfinite(row.change) and row.term != "prior"
    ]
    low, high = -best["total_high"], -best["total_low"]
    interval = f" (95 % interval {low:.1f} to {high:.1f} %)" if math.isfinite(low + high) else ""
    kind = BoundKind.parse(best["kind"])
    if best["total"] >= 0:
        return f"At equal {measure}, no rung of the ladder needs fewer bits than the codec."
    transform = "retrained transforms" if best["term"] == "transforms" else "this transform"
    claim = (
        f"at least {-best['total']:.1f} % of these bits are avoidable with {transform}"
        if kind is BoundKind.UPPER_BOUND
        else f"{-best['total']:.1f} % of these bits can be saved today"
    )
    return (
        f"At equal {measure}, {claim}{interval}; step by step, each of what remains:"
        f" {', '.join(parts)}. This is {_article(kind_label(kind))}."
    )


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def reason(curve: pd.DataFrame) -> str:
    """Return why a ladder has no rates over the curve."""
    unknown = curve[curve["log_rate"].isna()]
    name = unknown["name"].iloc[0] if len(unknown) else "the codec"
    return f"“{name}” does not reach the codec's quality everywhere, or its quality does not rise"


def over_the_curve(ladder: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a ladder that hold over the curve."""
    return ladder[ladder["quality"].isna()]


def ladder_rows(ladder: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each rung, with its values over the curve and a cell for each quality."""
    rows = []
    for _, rung in ladder.groupby("rung", sort=False):
        curve = over_the_curve(rung).iloc[0]
        points = rung[rung["quality"].notna()]
        kind = BoundKind.parse(curve["kind"])
        rows.append(
            {
                "name": curve["name"],
                "term": TERM_NAMES.get(curve["term"], ""),
                "kind": kind_label(kind),
                "genie": kind is BoundKind.GENIE_AIDED,
                "remark": curve["remark"],
                **{key: curve[key] for key in ("change", "change_low", "change_high", "total")},
                "cells": points[["bpp", "saved"]].to_dict("records"),
            }
        )
    return rows


def term_rows(terms: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each term, with cells for each quality and for the curve.

    Parameters
    ----------
    terms : DataFrame
        The decomposition to one limit, at equal pictures: bit/pixel for each quality, and ln(rate)
        over the curve.
    """
    rows = []
    for term, table in terms.groupby("term", sort=False):
        orders = {order: rows for order, rows in table.groupby("order")}
        curve = {order: rows[rows["quality"].isna()].iloc[0] for order, rows in orders.items()}
        points = {order: rows[rows["quality"].notna()] for order, rows in orders.items()}
        cells = [
            {"paper": row.bpp, "low": row.bpp_low, "high": row.bpp_high, "shapley": shapley}
            for row, shapley in zip(
                points["paper"].itertuples(), points["shapley"]["bpp"], strict=True
            )
        ]
        percent = {
            name: 100 * curve[order][column]
            for name, order, column in (
                ("paper", "paper", "log_rate"),
                ("low", "paper", "log_rate_low"),
                ("high", "paper", "log_rate_high"),
                ("shapley", "shapley", "log_rate"),
            )
        }
        rows.append({"term": term, "cells": cells, "curve": percent})
    return rows
