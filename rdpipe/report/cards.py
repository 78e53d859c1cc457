"""What to do: a card for each component of a codec, with what it saves already and what is left."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd

from rdpipe.analysis.ladder import TERMS
from rdpipe.core.axes import AXES, BASELINE_CELL, CellId
from rdpipe.core.kinds import BoundKind, CurveRole, Reconstruction
from rdpipe.report import answer
from rdpipe.report.ladder_text import NOT_MEASURED, cost, encoder_text, rate_name, rung_notes
from rdpipe.report.style import TERM_COLORS


class Component(NamedTuple):
    """A part of a codec: its terms, its name, what it is, and the section with the evidence."""

    terms: tuple[str, ...]
    name: str
    text: str
    section: str


COMPONENTS = (
    Component(("coder",), "Entropy coder", "Writes the quantized latents as bytes.", "tables"),
    Component(
        ("side",),
        "Side information",
        "Bits that tell the decoder means and variances before it decodes any latent.",
        "tables",
    ),
    Component(
        ("variance",),
        "Variance",
        "Predicts how far each latent lies from its mean: the scale of the prior.",
        "latents",
    ),
    Component(
        ("context",),
        "Context",
        "Predicts the value of each latent, from side information and from what is decoded.",
        "ladder",
    ),
    Component(
        ("encoder",),
        "Encoder",
        "Chooses the latents of an image; a search finds better ones for the same decoder.",
        "ladder",
    ),
    Component(
        ("quantization",),
        "Quantization",
        "Rounds the latents to values that can be coded; ideal noise would need fewer bits.",
        "curves",
    ),
    Component(
        ("decoder", "transforms"),
        "Transforms",
        "Turn the image into latents and back; they were trained for rounded latents.",
        "curves",
    ),
)
"""The components in the order of the ladder."""
WITHOUT = (
    ("variance", "variance", "one transmitted variance for each channel"),
    ("context", "mean", "a mean of 0, with such a variance"),
)
"""Terms whose estimators already save something, their modules, and against what."""


def cards(
    ladder: pd.DataFrame,
    earned: pd.DataFrame,
    available: pd.DataFrame,
    latents: pd.DataFrame,
    measure: str,
) -> list[dict[str, Any]]:
    """Return the cards of one codec.

    Parameters
    ----------
    ladder : DataFrame
        To one limit.
    earned, available, latents : DataFrame
        See :func:`rdpipe.report.page.run_content`.
    measure : str
        The quality that is equal.
    """
    points = ladder[ladder["quality"].notna()]
    savings = answer.earned_texts(earned, measure)
    codes = {c.terms: best_code(available, c.terms) for c in COMPONENTS}
    texts = {"side": side_text(latents)} | {
        term: f"of the bits needed without it, against {other}: {savings[module]}"
        for term, module, other in WITHOUT
        if module in savings
    }
    return [
        {
            **component._asdict(),
            "color": TERM_COLORS[component.terms[-1]],
            "earned": texts.get(component.terms[0], NOT_MEASURED),
            "left": [
                {"quality": int(quality), "texts": left_texts(rungs, component.terms)}
                for quality, rungs in points.groupby("quality")
            ],
            "code": code_text(codes[component.terms]),
            "seconds": seconds_text(codes[component.terms], points, component.terms),
        }
        for component in COMPONENTS
    ]


def side_text(latents: pd.DataFrame) -> str:
    """Return the share of side information in the bits of the model."""
    side = latents["side_bits"].sum()
    total = side + latents["latent_bits"].sum()
    if not total:
        return "nothing is coded"
    share = f"{100 * side / total:.1f} %"
    return f"costs {share} of the bits; what it saves is part of variance and context"


def left_texts(rungs: pd.DataFrame, terms: tuple[str, ...]) -> list[str]:
    """Return what the rungs of some terms save at one quality, in words."""
    of_terms = rungs[rungs["term"].isin(terms)]
    if of_terms.empty:
        return [f"{NOT_MEASURED}: no curve of this run changes it"]
    notes = rung_notes(rungs)
    return [left_text(rung, rungs, notes.get(rung["rung"], "")) for _, rung in of_terms.iterrows()]


def left_text(rung: pd.Series, rungs: pd.DataFrame, note: str) -> str:
    """Return what one of some rungs saves against the one before, with its interval and a note."""
    real = rungs["bpp"].iloc[0]
    saved, low, high = (rung[key] for key in ("saved", "saved_low", "saved_high"))
    if rung["remark"]:
        missing = rung["remark"].startswith(NOT_MEASURED)
        return NOT_MEASURED if missing else f"nothing shown: {rung['remark']}"
    if not math.isfinite(saved):
        return f"unknown: {rung['label']} does not reach this quality"
    share = f"{100 * saved / real:.1f} % of the {rate_name(rungs)}, " if real else ""
    interval = answer.NO_INTERVAL
    if math.isfinite(low + high):
        interval = f"95 % interval {low:.4f} to {high:.4f}"
    when = "today" if BoundKind.parse(rung["kind"]).is_realizable else "as a bound"
    if BoundKind.parse(rung["kind"]) is BoundKind.GENIE_AIDED:
        when = "genie-aided estimate, not a bound"
    unsure = f"; {answer.UNCERTAIN}" * (low <= 0 <= high)
    noted = f", {note}" * bool(note)
    costs = "costs bits: " * (saved < 0)
    return f"{costs}{share}{saved:.4f} bpp ({interval}), {when}{noted}{unsure}"


def best_code(available: pd.DataFrame, terms: tuple[str, ...]) -> pd.Series | None:
    """Return the real code of some terms that saves most over the curve, if there is one."""
    known = [row for _, row in available.dropna(subset=["bd_rate"]).iterrows()]
    codes = [row for row in known if term_of(row) in terms]
    return min(codes, key=lambda row: row["bd_rate"], default=None)


def code_text(best: pd.Series | None) -> str:
    """Return what the best real code of some terms saves over the curve, in words.

    It is compared with the codec's own bytes, so its own entropy coder is part of the change, and
    so is the prior of jointly trained transforms.
    """
    if best is None:
        return NOT_MEASURED
    counted = "real bytes" if BoundKind.parse(best["kind"]) is BoundKind.ACHIEVED else "code length"
    change, *ends = (best[f"bd_rate{end}"] for end in ("", "_low", "_high"))
    if change > 0:
        verb, saved = "costs", answer.saving_text(-change, *(-end for end in reversed(ends)))
    else:
        verb, saved = "saves", answer.saving_text(change, *ends)
    unsure = f"; {answer.UNCERTAIN}" * (ends[0] <= 0 <= ends[1])
    return f"{best['label']} {verb} {saved}, {counted}{unsure}"


def term_of(code: pd.Series) -> str:
    """Return the one term that a real code changes; empty if it changes more than one.

    A reconstruction that is not plain belongs to the quantizer.
    """
    if (term := TERMS.get(CurveRole.parse(code["role"]))) is not None:
        return term
    cell = CellId.parse(code["cell"])
    changed = [
        axis.term for axis in AXES if getattr(cell, axis.name) != getattr(BASELINE_CELL, axis.name)
    ]
    if cell.reconstruction is not Reconstruction.PLAIN and changed != ["quantization"]:
        return ""
    if not changed:
        return "coder"
    return changed[0] if len(changed) == 1 else ""


def seconds_text(best: pd.Series | None, points: pd.DataFrame, terms: tuple[str, ...]) -> str:
    """Return what the best real code of some terms costs the encoder, or its rung does.

    Without a real code, it is what their first rung with a known cost costs.
    """
    if best is not None and (text := whole_encoder(best)):
        return text
    rungs = points[points["term"].isin(terms) & (points["remark"] == "")]
    if best is not None:
        rungs = rungs[[name.partition(": ")[0] == best["cell"] for name in rungs["name"]]]
    costs = (cost(rung) or whole_encoder(rung) for _, rung in rungs.iterrows())
    return next((text for text in costs if text), NOT_MEASURED)


def whole_encoder(code: pd.Series) -> str:
    """Return the time of the whole encoder of a rung or code, in words; empty if not measured."""
    if not math.isfinite(code["encoder_seconds"]):
        return ""
    return f"{encoder_text(code)} s per megapixel for the whole encoder"
