"""The answer as lines of text: a table of the ladder, one column for each quality."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from rdpipe.analysis.measures import MS_SSIM
from rdpipe.core.kinds import BoundKind
from rdpipe.report.ladder_text import (
    NOT_MEASURED,
    encoder_text,
    over_the_curve,
    rate_name,
    rung_notes,
)
from rdpipe.report.overview import known_rungs, today_sentence
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES, without_sign_of_zero

SMALLEST = 0.05
"""Change of the rate below which a rung is left out, per cent."""
FOOTNOTE = "*"
"""Mark of a rung with the codec's own latents or decoder again, and of the note that says so."""
WIDTH = 28
"""Width of the first column."""


def answer_lines(
    points: pd.DataFrame, ladder: pd.DataFrame, available: pd.DataFrame
) -> Iterator[str]:
    """Yield the lines on one codec: rate and PSNR, the rungs that change something, and today.

    Parameters
    ----------
    points, ladder, available : DataFrame
        The points of the codec's own curve, its ladders, of which the first is shown, and what
        real codes save.
    """
    ladder = ladder[ladder["limit"] == ladder["limit"].iloc[0]]
    theory = ladder[ladder["kind"] != str(BoundKind.GENIE_AIDED)]
    notes = rung_notes(over_the_curve(theory))
    yield line("", [f"q{quality}" for quality in points["quality"]], "over the curve")
    yield line("PSNR, dB", [f"{value:.2f}" for value in points["psnr"]])
    if ladder["matched_at"].iloc[0] == MS_SSIM.name:
        yield line("MS-SSIM, dB", [f"{value:.2f}" for value in points["ms_ssim"]])
    yield line(f"{rate_name(theory)}, bpp", [f"{value:.3f}" for value in points["bpp"]])
    for _, rung in theory[theory["rung"] > 0].groupby("rung", sort=False):
        yield from rung_lines(rung, FOOTNOTE * (rung["rung"].iloc[0] in notes))
    yield from total_lines(points, theory)
    missing = [
        TERM_NAMES[row.term]
        for row in over_the_curve(ladder).itertuples()
        if row.remark.startswith(NOT_MEASURED)
    ]
    if missing:
        yield f"not measured: {', '.join(missing)}"
    measure = MEASURE_NAMES[ladder["matched_at"].iloc[0]]
    yield f"Per cent of the bits of the row before, at equal {measure}; 95 % interval over images."
    yield "s/MP: processor seconds of the whole encoder per megapixel, the search for a step aside."
    yield from (f"{FOOTNOTE} {note}" for note in dict.fromkeys(notes.values()))
    yield today_sentence(available)


def rung_lines(rung: pd.DataFrame, mark: str = "") -> Iterator[str]:
    """Yield the line of a rung with a mark after its name, if it changes something."""
    points = rung[rung["quality"].notna()]
    curve = over_the_curve(rung).iloc[0]
    changes = [-100 * row.saved / (row.bpp + row.saved) for row in points.itertuples()]
    if not any(abs(change) >= SMALLEST for change in (*changes, curve["change"])):
        return
    when = "bound"
    if BoundKind.parse(curve["kind"]).is_realizable:
        seconds = encoder_text(curve)
        cost = "not timed" if seconds == NOT_MEASURED else f"{seconds} s/MP"
        when = f"today, {cost}"
    name = f"  {TERM_NAMES[curve['term']]} {mark}"
    yield line(name, map(percent, changes), interval(curve, "change"), when)


def total_lines(points: pd.DataFrame, ladder: pd.DataFrame) -> Iterator[str]:
    """Yield the rates of the lowest rungs, and what they save against the real bytes."""
    best = [
        known_rungs(ladder[ladder["quality"] == quality]).iloc[-1] for quality in points["quality"]
    ]
    curve = over_the_curve(ladder)
    last = curve.loc[curve["total"].idxmin()] if curve["total"].notna().any() else None
    yield line("best rung, bpp", [f"{rung['bpp']:.3f}" for rung in best])
    totals = [percent(rung["total"] if rung["rung"] else 0.0) for rung in best]
    yield line(
        f"against the {rate_name(ladder)}", totals, "" if last is None else interval(last, "total")
    )


def line(name: str, values: Iterator[str] | list[str], curve: str = "", when: str = "") -> str:
    """Return the cells of a row in columns."""
    cells = "".join(f"{value:>9}" for value in values)
    return f"{name:{WIDTH}}{cells}   {curve:32}{when}".rstrip()


def percent(change: float) -> str:
    """Return a change of the rate, or a question mark if it is not known."""
    return without_sign_of_zero(f"{change:+.1f} %") if math.isfinite(change) else "?"


def interval(row: pd.Series, name: str) -> str:
    """Return a change over the curve with its interval."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    ends = f" ({low:+.1f} to {high:+.1f} %)" if math.isfinite(low + high) else ""
    return percent(row[name]) + without_sign_of_zero(ends)
