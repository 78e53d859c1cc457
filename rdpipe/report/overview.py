"""The top of the page: the rate of the codec as one bar, from its real bytes down to its bound.

Every bar is one quality of one codec, at equal pictures. Its parts are the steps of the ladder.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from rdpipe.core.kinds import BoundKind
from rdpipe.report import answer
from rdpipe.report.ladder_text import claim, in_parentheses, rate_name, rung_notes
from rdpipe.report.style import TERM_COLORS
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES

SMALLEST = 0.0005
"""Share of the rate below which a step is not drawn."""


def overview(
    points: pd.DataFrame,
    ladder: pd.DataFrame,
    codes: pd.DataFrame,
    available: pd.DataFrame,
) -> list[dict[str, Any]]:
    """Return the sentence and the bar of each quality of one codec.

    Parameters
    ----------
    points : DataFrame
        The codec's own points.
    ladder : DataFrame
        From :func:`rdpipe.analysis.ladder.ladder_frame`, to one limit.
    codes, available : DataFrame
        Real bytes at each quality, and what real codes save over the curve.
    """
    views = []
    for point in points.itertuples():
        rungs = known_rungs(ladder[ladder["quality"] == point.quality])
        of_quality = codes[codes["quality"] == point.quality] if len(codes) else codes
        sentences = (
            answer.rate_text(point, ladder["matched_at"].iloc[0]),
            avoidable_sentence(rungs),
            today_sentence(available),
        )
        views.append(
            {"quality": point.quality, "text": " ".join(sentences), **bar(rungs, of_quality)}
        )
    longest = max(view["scale"] for view in views)
    return [{**view, "height": view["scale"] / longest} for view in views]


def known_rungs(rungs: pd.DataFrame) -> pd.DataFrame:
    """Return the rungs at one quality down to the lowest rate that is not genie-aided."""
    known = rungs[(rungs["kind"] != str(BoundKind.GENIE_AIDED)) & rungs["bpp"].notna()]
    known = known.reset_index(drop=True)
    return known.loc[: known["bpp"].idxmin()]


def bar(rungs: pd.DataFrame, codes: pd.DataFrame) -> dict[str, Any]:
    """Return the parts of a bar and its rates; lengths are shares of the bar, ``scale`` its bpp."""
    scale = rungs["bpp"].max() or 1.0  # of a codec that codes nothing
    real, bound = rungs["bpp"].iloc[0], rungs["bpp"].iloc[-1]
    last = rungs.iloc[-1]
    lengths = [{"name": f"codec, {rate_name(rungs)}", "bpp": real, "length": real / scale}]
    if (code := best_code(codes)) is not None:
        bpp = code["real_bpp"]
        name = f"best real code, {code['label']}"
        lengths.append({"name": name, "bpp": bpp, "length": min(1.0, bpp / scale)})
    if len(rungs) > 1:
        name = f"{last['kind']}, {last['label']}"
        lengths.append({"name": name, "bpp": bound, "length": bound / scale})
    for length in lengths:
        change = 100 * (length["bpp"] / (real or 1.0) - 1)
        length["change"] = f" ({change:+.1f} %)" if length is not lengths[0] else ""
    return {
        "scale": scale,
        "counted": rate_name(rungs),
        "parts": parts(rungs, scale),
        "rest": {"length": bound / scale, "percent": 100 * bound / (real or 1.0)},
        "saved": 100 * (1 - bound / (real or 1.0)),
        "lengths": lengths,
    }


def parts(rungs: pd.DataFrame, scale: float) -> list[dict[str, Any]]:
    """Return the steps between the rungs of one quality; a negative one costs bits.

    A step is certain if its 95 % interval is known and excludes 0.
    """
    notes = rung_notes(rungs)
    real = rungs["bpp"].iloc[0] or 1.0
    pairs = zip(rungs["bpp"][:-1], rungs[1:].itertuples(), strict=True)
    return [
        {
            "name": TERM_NAMES[rung.term],
            "note": in_parentheses(notes.get(rung.rung, "")),
            "color": TERM_COLORS[rung.term],
            "realizable": BoundKind.parse(rung.kind).is_realizable,
            "certain": bool(rung.saved_low > 0 or rung.saved_high < 0),
            "start": 1 - max(before, rung.bpp) / scale,
            "length": abs(before - rung.bpp) / scale,
            "percent": 100 * (before - rung.bpp) / real,
        }
        for before, rung in pairs
        if abs(before - rung.bpp) >= SMALLEST * real
    ]


def best_code(codes: pd.DataFrame) -> pd.Series | None:
    """Return the row with the fewest real bytes; None if no code saves bits in real bytes."""
    saving = codes[codes["real_saving"] > 0] if len(codes) else codes
    return None if saving.empty else saving.loc[saving["real_bpp"].idxmin()]


def avoidable_sentence(rungs: pd.DataFrame) -> str:
    """Return what the last rung says of the codec's bits at one quality."""
    measure = MEASURE_NAMES[rungs["matched_at"].iloc[0]]
    if len(rungs) == 1:
        return f"No rung of the ladder needs fewer bits at the same {measure}."
    doubt = answer.doubt(rungs["total_high"].iloc[-1])
    uncertain = f": this {doubt}" * bool(doubt)
    return f"At the same {measure}, {claim(rungs)}{uncertain}."


def today_sentence(available: pd.DataFrame) -> str:
    """Return what real codes save over the curve, in one sentence."""
    if available.empty:
        return "What can be saved today was not measured."
    if available["bd_rate"].isna().all():
        return "What can be saved today is not known over the curve."
    code = answer.best_available(available)
    if code is None:
        return "No code that could be built today and was measured saves bits."
    real = BoundKind.parse(code["kind"]) is BoundKind.ACHIEVED
    when = "exist today" if real else "could be built today (code length)"
    if not code["bd_rate_high"] < 0:
        return f"The saving of codes that {when} {answer.doubt(code['bd_rate_high'])}."
    saved = answer.saving_text(code["bd_rate"], code["bd_rate_low"], code["bd_rate_high"])
    return (
        f"A decoder and encoder that {when} save {saved} on average over the curve,"
        f"{' in real bytes,' * real} with {code['label']}."
    )
