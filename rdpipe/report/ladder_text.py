"""The ladder and the terms of the decomposition at equal pictures, in words and in rows."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from rdpipe.core.kinds import BoundKind
from rdpipe.report.answer import at_least, doubt, interval_text, kind_phrase
from rdpipe.report.style import kind_label
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES

NOT_MEASURED = "not measured"
"""What is said of a term whose axis has only the codec's own estimator."""
OWN_DECODER = ("quantization", "transforms")
"""Terms whose rungs do not have a retuned decoder, whatever the rungs before have."""


def answer_sentence(ladder: pd.DataFrame) -> str:
    """Return how many of the bits are avoidable at equal pictures, and where they are lost.

    Genie-aided rungs are left out.

    Parameters
    ----------
    ladder : DataFrame
        From :func:`rdpipe.analysis.ladder.ladder_frame`, of one limit of one codec.
    """
    curve = over_the_curve(ladder).reset_index(drop=True)
    theory = curve[curve["kind"] != str(BoundKind.GENIE_AIDED)]
    known = theory[theory["total"].notna()]
    measure = MEASURE_NAMES[ladder["matched_at"].iloc[0]]
    if known.empty:
        return f"At equal {measure}, the ladder is not known over the curve: {reason(curve)}."
    best = known.loc[known["total"].idxmin()]
    if best["total"] >= 0:
        return (
            f"At equal {measure}, over the curve: no rung of the ladder needs fewer bits than the"
            " codec."
        )
    rungs = curve.loc[: best.name]
    steps = ", ".join(step_texts(rungs))
    return (
        f"At equal {measure}, over the curve: {claim(rungs)}."
        + f" This saving {doubt(best['total_high'])}." * (not best["total_high"] < 0)
        + f" Step by step, each of the bits that remain: {steps}." * bool(steps)
        + f" This is {kind_phrase(best['kind'])}."
    )


def claim(rungs: pd.DataFrame) -> str:
    """Return what the last of some rungs says about the bits of the codec, with its 95 % interval.

    A bound holds for the images of the run: "at least" is said of them. The interval is that of the
    mean over images from which they were drawn.
    Bits are called avoidable only if the interval is known and excludes 0.
    """
    best = rungs.iloc[-1]
    total, low, high = best["total"], best["total_low"], best["total_high"]
    if not high < 0:
        change = f"{total:+.1f} % ({interval_text(low, high)})"
        return f"the best rung, “{best['label']}”, changes the rate by {change}"
    changed = rungs["term"][rungs["remark"] == ""].tolist()
    transforms = "retrained" if "transforms" in changed else "the codec's own"
    is_retuned = "decoder" in changed and changed[-1] not in OWN_DECODER
    decoder = ", a retuned decoder" if is_retuned else ""
    latents = " and refined latents" if best["refinement_seconds"] else ""
    means = f"with {transforms} transforms{decoder}{latents}"
    others = f"of images like these, {-high:.1f} to {-low:.1f} % (95 % interval)"
    saved = at_least(-total)
    if BoundKind.parse(best["kind"]) is BoundKind.UPPER_BOUND:
        return f"{saved} of the bits of these images are avoidable {means}; {others}"
    saved = saved.removeprefix("at least ")
    return f"{saved} of the bits of these images can be saved {means}; {others}"


def step_texts(steps: pd.DataFrame) -> list[str]:
    """Return what each rung saves of the bits of the rung before, in words.

    The first rung, and rungs that stay where they are, have nothing to say. The prior is left out
    if it makes less than 0.05 %.
    """
    notes = rung_notes(steps)
    return [
        f"{TERM_NAMES[row.term]}{in_parentheses(notes.get(row.rung, ''))} {-row.change:.1f} %"
        for row in steps.itertuples()
        if not row.remark and math.isfinite(row.change)
        if row.term != "prior" or abs(row.change) >= 0.05
    ]


def rate_name(rungs: pd.DataFrame) -> str:
    """Return what the rate of the first rung is: real bytes, or the length of a code."""
    first = BoundKind.parse(rungs["kind"].iloc[0])
    return "real bytes" if first is BoundKind.ACHIEVED else "code length"


def rung_notes(rungs: pd.DataFrame) -> dict[int, str]:
    """Return a note on each rung without the refined latents or decoder of the last, by number.

    The test channel is measured with the codec's own latents and decoder, whatever the rungs before
    have; its step is therefore smaller than that of the quantizer alone.

    Parameters
    ----------
    rungs : DataFrame
        Rungs of one ladder, at one quality or over the curve.
    """
    notes, refined, retuned = {}, False, False
    for row in rungs.itertuples():
        if row.remark or not (math.isfinite(row.bpp) or math.isfinite(row.log_rate)):
            continue
        parts = ["refined latents"] * (refined and not row.refinement_seconds)
        parts += ["retuned decoder"] * (retuned and row.term == "quantization")
        if parts:
            notes[row.rung] = f"without the {' and the '.join(parts)}"
        refined, retuned = bool(row.refinement_seconds), row.term == "decoder"
    return notes


def in_parentheses(note: str) -> str:
    """Return a note as it follows a name; empty if there is none."""
    return f" ({note})" if note else ""


def reason(curve: pd.DataFrame) -> str:
    """Return why a ladder has no rates over the curve."""
    unknown = curve[curve["log_rate"].isna()]
    if unknown["rung"].min() > 0:
        return f"“{unknown['name'].iloc[0]}” does not reach the codec's quality everywhere"
    return "it needs positive rates, and another quality of the picture at each point of the codec"


def over_the_curve(ladder: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a ladder that hold over the curve."""
    return ladder[ladder["quality"].isna()]


def ladder_rows(ladder: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each rung, with its values over the curve and a cell for each quality."""
    rows, notes = [], rung_notes(over_the_curve(ladder))
    for number, rung in ladder.groupby("rung", sort=False):
        curve = over_the_curve(rung).iloc[0]
        points = rung[rung["quality"].notna()]
        kind = BoundKind.parse(curve["kind"])
        rows.append(
            {
                "name": curve["name"],
                "label": curve["label"],
                "term": TERM_NAMES.get(curve["term"], ""),
                "kind": kind_label(kind),
                "genie": kind is BoundKind.GENIE_AIDED,
                "remark": "; ".join(
                    filter(None, (curve["remark"], notes.get(number, ""), cost(curve)))
                ),
                "seconds": encoder_text(curve),
                **{key: curve[key] for key in ("change", "change_low", "change_high", "total")},
                "cells": points[["bpp", "saved"]].to_dict("records"),
            }
        )
    return rows


def encoder_text(rung: pd.Series) -> str:
    """Return the time of the encoder of a rung, seconds per megapixel, if it was measured."""
    seconds = rung["encoder_seconds"]
    return f"{seconds:.3g}" if math.isfinite(seconds) else NOT_MEASURED


def cost(rung: pd.Series) -> str:
    """Return what the encoder of a rung costs, in words; empty if its latents are not refined."""
    seconds = rung["refinement_seconds"]
    return f"adds {seconds:.3g} s per megapixel to the encoder" if seconds else ""


def term_rows(terms: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each term, with cells for each quality and for the curve.

    ``absent`` is said in the place of a number that is not known.

    Parameters
    ----------
    terms : DataFrame
        The decomposition to one limit, at equal pictures: bit/pixel for each quality, and ln(rate)
        over the curve.
    """
    rows = []
    for term, table in terms.groupby("term", sort=False):
        orders = dict(list(table.groupby("order")))
        curve = {name: order[order["quality"].isna()].iloc[0] for name, order in orders.items()}
        points = {name: order[order["quality"].notna()] for name, order in orders.items()}
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
        absent = NOT_MEASURED if table["bpp"].isna().all() else "unknown"
        rows.append({"term": term, "cells": cells, "curve": percent, "absent": absent})
    return rows
