"""The answer in words: what holds at equal quality of the pictures, PSNR or MS-SSIM.

All numbers are rates and PSNRs of the codec, BD-rates of curves that were simulated through the
decoder or measured, and savings of codes that decode to the codec's own pictures.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd

from rdpipe.analysis.available import NEGLIGIBLE
from rdpipe.analysis.ladder import TERMS
from rdpipe.analysis.measures import MS_SSIM
from rdpipe.core.axes import BASELINE_CELL, PAPER_ORDER, CellId
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.common_range import common_range_text, of_measure
from rdpipe.report.style import kind_label
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES

OWN_PRIOR_CELL = BASELINE_CELL.replace(quantizer="codec")
"""Cell with the code length of the codec's own prior."""
CODER_TERMS = {
    OWN_PRIOR_CELL: TERM_NAMES["coder"],
    BASELINE_CELL: f"{TERM_NAMES['coder']} and {TERM_NAMES['prior']}",
}
"""What the cells without another estimator change in the codec's real bytes."""
UNCERTAIN = "cannot be distinguished from 0 with these images"
"""What is said of a saving whose 95 % interval includes 0."""
UNKNOWN = "needs more images to be certain"
"""What is said of a saving whose 95 % interval is not known."""
NO_INTERVAL = "no 95 % interval"
"""What stands in the place of an interval that is not known."""

CHANGES = {
    CurveRole.JOINT: "joint training",
    CurveRole.RETUNED: "retuned decoder",
    CurveRole.REFINED: "refined latents",
}
"""What a curve changes in the codec, by its role; cells have names that say it."""
OWN_TRANSFORMS = (CurveRole.CELL, CurveRole.REFINED)
"""Roles of curves with the codec's own transforms."""
MEANS = {
    CurveRole.JOINT: "with retrained transforms",
    CurveRole.RETUNED: "with a retuned decoder",
    CurveRole.REFINED: "with refined latents",
}
"""With what a bound saves bits, by its role."""
CODE_MEANS = {
    CurveRole.JOINT: "the whole codec, fine-tuned",
    CurveRole.RETUNED: "the codec's own latents, read by a retuned decoder",
    CurveRole.REFINED: "refined latents, read by the codec's own decoder",
}
"""By what means a code saves bits that is not a cell of the codec, by its role."""


class Lever(NamedTuple):
    """A curve that belongs to a codec, as a change of the codec at equal quality.

    ``label`` is the name that people use. ``bd_rate`` and its 95 % interval are per cent; negative
    saves bits. ``overlap`` is the share of the codec's range of quality over which it is measured,
    and ``measure`` the measure of quality.
    """

    curve: str
    label: str
    role: CurveRole
    kind: BoundKind
    change: str
    bd_rate: float
    bd_rate_low: float
    bd_rate_high: float
    overlap: float
    measure: str

    @property
    def term(self) -> str:
        """The one term that the curve changes; empty if it changes several."""
        if self.role in TERMS:
            return TERMS[self.role]
        return self.change if self.change in TERM_NAMES else ""

    @property
    def is_uncertain(self) -> bool:
        """Whether the 95 % interval includes 0 or is not known."""
        return not self.bd_rate_high < 0


def doubt(high: float) -> str:
    """Return what is said of a saving that is not certain; empty if it is.

    Parameters
    ----------
    high : float
        Upper end of the 95 % interval of the change of the rate; NaN if it is not known.
    """
    if math.isnan(high):
        return UNKNOWN
    return "" if high < 0 else UNCERTAIN


def common_measure(ladders: pd.DataFrame) -> str:
    """Return the quality at which cells were simulated, which the sentences are about.

    Parameters
    ----------
    ladders : DataFrame
        From :func:`rdpipe.analysis.ladder.ladder_frame`, of one codec or more.
    """
    return str(ladders["matched_at"].iloc[0])


def rate_text(point: Any, measure: str) -> str:
    """Return rate and PSNR of a codec at one quality, and its MS-SSIM if it is the measure.

    ``point`` is a row of the points.
    """
    similarity = f", MS-SSIM {point.ms_ssim:.2f} dB" if measure == MS_SSIM.name else ""
    return f"{point.bpp:.3f} bpp at {point.psnr:.2f} dB{similarity}."


def levers(bd_rates: pd.DataFrame, measure: str) -> list[Lever]:
    """Return the curves of a codec without genie-aided estimates, the largest saving first.

    Parameters
    ----------
    bd_rates : DataFrame
        Those of one codec on one dataset. Curves without a BD-rate are left out.
    measure : str
        The measure of the quality that is equal.
    """
    curves = [
        Lever(
            row.curve,
            row.label,
            CurveRole.parse(row.role),
            BoundKind.parse(row.kind),
            change_of(row.curve, row.role),
            row.bd_rate,
            row.bd_rate_low,
            row.bd_rate_high,
            row.overlap,
            measure,
        )
        for row in of_measure(bd_rates, measure).dropna(subset=["bd_rate"]).itertuples()
        if CurveRole.parse(row.role).belongs_to_codec
    ]
    decodable = [lever for lever in curves if lever.kind is not BoundKind.GENIE_AIDED]
    return sorted(decodable, key=lambda lever: lever.bd_rate)


def change_of(curve: str, role: str) -> str:
    """Return what a curve changes in the codec, in words."""
    if (known := CHANGES.get(CurveRole.parse(role))) is not None:
        return known
    cell = CellId.parse(curve)
    if cell in CODER_TERMS:
        return CODER_TERMS[cell]
    changed = [
        axis.term
        for axis in PAPER_ORDER
        if getattr(cell, axis.name) != getattr(BASELINE_CELL, axis.name)
    ]
    return " and ".join(changed)


def best_bound(bd_rates: pd.DataFrame, measure: str) -> Lever | None:
    """Return the upper bound on R(D) with the lowest BD-rate; None if there is none."""
    bounds = [lever for lever in levers(bd_rates, measure) if lever.kind is BoundKind.UPPER_BOUND]
    return bounds[0] if bounds else None


def bound_sentence(bd_rates: pd.DataFrame, measure: str) -> str:
    """Return what the best upper bound on R(D) says about the codec, over the curve.

    Parameters
    ----------
    bd_rates : DataFrame
        Those of one codec on one dataset.
    measure : str
        The measure of the quality that is equal.
    """
    bound, label = best_bound(bd_rates, measure), MEASURE_NAMES[measure]
    if bound is None:
        reason = _no_bound(of_measure(bd_rates, measure))
        return f"At equal {label}, no upper bound on R(D) is known over the curve: {reason}."
    rate = f"a BD-rate of {bd_rate_text(bound)}{common_range(bound)}"
    if bound.bd_rate >= 0:
        return (
            f"At equal {label}, no upper bound on R(D) lies below the codec over the curve; the"
            f" best one, “{bound.curve}”, has {rate}."
        )
    means = MEANS.get(bound.role, "with the codec's own transforms")
    if bound.is_uncertain:
        saving = f"This saving, {means}, {doubt(bound.bd_rate_high)}."
    else:
        amount = at_least(-bound.bd_rate)
        saving = f"In theory, {amount} of the bits are avoidable, {means}."
    return (
        f"At equal {label}, over the curve: the best upper bound on R(D), “{bound.curve}”, has"
        f" {rate}. {saving}"
    )


def _no_bound(bd_rates: pd.DataFrame) -> str:
    """Return why no upper bound on R(D) has a BD-rate, in one measure."""
    bounds = bd_rates[bd_rates["kind"] == str(BoundKind.UPPER_BOUND)]
    if bounds.empty:
        return "that needs a simulated curve with the test channel"
    row = bounds.iloc[0]
    return f"the BD-rate of “{row['curve']}” is not defined, {row['reason']}"


def at_least(saving: float) -> str:
    """Return a positive share of the bits that can be avoided, per cent."""
    text = f"{saving:.1f} %"
    return "some, but less than 0.1 %," if text == "0.0 %" else f"at least {text}"


def lever_sentence(bd_rates: pd.DataFrame, measure: str) -> str:
    """Return what the largest lever with the codec's own transforms is worth; empty if unknown.

    The parameters are those of :func:`bound_sentence`.
    """
    label = MEASURE_NAMES[measure]
    cells = [lever for lever in levers(bd_rates, measure) if lever.role in OWN_TRANSFORMS]
    if not cells:
        return ""
    lever = cells[0]
    if lever.bd_rate >= 0:
        return (
            "With the codec's own transforms, no simulated curve needs fewer bits at equal"
            f" {label} than the codec."
        )
    if lever.is_uncertain:
        worth = f"whose BD-rate is {bd_rate_text(lever)}"
    elif f"{lever.bd_rate:.1f}" == "-0.0":
        worth = f"worth less than 0.1 % at equal {label}"
    else:
        changes = lever.bd_rate, lever.bd_rate_low, lever.bd_rate_high
        worth = f"worth {saving_text(*changes)} at equal {label}"
    return (
        f"Largest lever with the codec's own transforms: {lever.change} (“{lever.curve}”,"
        f" {kind_label(lever.kind)}), {worth}{common_range(lever)}."
        + f" This saving {doubt(lever.bd_rate_high)}."
        * lever.is_uncertain
    )


def earned_sentence(earned: pd.DataFrame, measure: str) -> str:
    """Return what the codec's variance and mean already save; empty if it was not simulated.

    The parameters are those of :func:`earned_texts`.
    """
    texts = [f"the {name} {text}" for name, text in earned_texts(earned, measure).items()]
    if not texts:
        return ""
    return (
        f"What modules of the codec already save at equal {MEASURE_NAMES[measure]}, of the bits"
        f" that it would need without: {', '.join(texts)} (against one transmitted variance for"
        " each channel, and then also a mean of 0, which needs no side information)."
    )


def earned_texts(earned: pd.DataFrame, measure: str) -> dict[str, str]:
    """Return the saving of each module, per cent of the bits without it, with its interval.

    Parameters
    ----------
    earned : DataFrame
        From :func:`rdpipe.analysis.earned.earned_frame`, for one codec on one dataset.
    measure : str
        The measure of the quality that is equal.
    """
    texts = {}
    for row in of_measure(earned, measure).itertuples():
        if math.isnan(row.bd_rate):
            texts[row.module] = f"is not defined over the curve ({row.reason})"
            continue
        saving = saving_text(row.bd_rate, row.bd_rate_low, row.bd_rate_high)
        texts[row.module] = " ".join(
            filter(None, [saving, common_range_text(row.overlap, measure)])
        )
    return texts


def common_range(lever: Lever) -> str:
    """Return the range of quality that a lever shares with the codec, if it is small."""
    text = common_range_text(lever.overlap, lever.measure)
    return f", {text}" if text else ""


def best_available(available: pd.DataFrame) -> Any | None:
    """Return the row of the code that saves most at equal pictures; None if no code saves bits."""
    saving = available[available["bd_rate"] < -NEGLIGIBLE]
    return None if saving.empty else saving.loc[saving["bd_rate"].idxmin()]


def available_sentence(available: pd.DataFrame, measure: str) -> str:
    """Return what a real code saves today at equal pictures.

    Parameters
    ----------
    available : DataFrame
        From :func:`rdpipe.analysis.available.available_frame`, for one codec on one dataset.
    measure : str
        The measure of the quality that is equal.
    """
    if available.empty:
        return (
            "Available today: not measured; the config has no other variance that a decoder knows."
        )
    if available["bd_rate"].isna().all():
        return (
            "Available today: unknown over the curve, which needs two qualities or more with"
            f" different {MEASURE_NAMES[measure]} and positive rates."
        )
    code = best_available(available)
    if code is None:
        return "Available today: nothing; no measured code needs fewer bits at equal pictures."
    real = BoundKind.parse(code["kind"]) is BoundKind.ACHIEVED
    counted = "in real bytes" if real else "by code length"
    saved = saving_text(code["bd_rate"], code["bd_rate_low"], code["bd_rate_high"], digits=2)
    means, pictures = describe_code(code), f"at equal {MEASURE_NAMES[measure]}"
    if has_own_pictures(code):
        pictures = "which decodes to the codec's own pictures"
    return (
        f"Available today: {saved} {counted}, by {code['cell']}{means}, {pictures}."
        + f" This saving {doubt(code['bd_rate_high'])}." * (not code["bd_rate_high"] < 0)
    )


def describe_code(code: pd.Series) -> str:
    """Return by what means a real code saves bits, if its name does not say it."""
    if (means := CODE_MEANS.get(CurveRole.parse(code["role"]))) is not None:
        return f" ({means})"
    if code["cell"] == str(BASELINE_CELL):
        return " (its own variance, and rdpipe's range coder)"
    return ""


def has_own_pictures(code: pd.Series) -> bool:
    """Return whether a real code decodes to the codec's own pictures."""
    if CurveRole.parse(code["role"]) in CODE_MEANS:
        return False
    cell = CellId.parse(code["cell"])
    return cell == BASELINE_CELL.replace(variance=cell.variance)


def limit_sentence(bd_rates: pd.DataFrame, cell: CellId, measure: str) -> str:
    """Return the BD-rate of a limit, if its curve was simulated."""
    rates = of_measure(bd_rates, measure)
    curve = rates[rates["curve"] == str(cell)].dropna(subset=["bd_rate"])
    if curve.empty:
        return ""
    row = curve.iloc[0]
    interval = interval_text(row["bd_rate_low"], row["bd_rate_high"])
    details = ["BD-rate", interval, common_range_text(row["overlap"], measure)]
    return (
        f"At equal {MEASURE_NAMES[measure]}, through the codec's own decoder, the rate of this"
        f" limit is {row['bd_rate']:+.1f} % ({'; '.join(filter(None, details))}); it is"
        f" {kind_phrase(row['kind'])}."
    )


def equal_picture_summary(
    bd_rates: pd.DataFrame, available: pd.DataFrame, measure: str
) -> dict[str, Any]:
    """Return best bound and available saving for the comparison of codecs."""
    bound, code = best_bound(bd_rates, measure), best_available(available)
    nothing = 0.0 if available["bd_rate"].notna().any() else None
    return {
        "bound": "none" if bound is None else bound.label,
        "bd_rate": None if bound is None else bound.bd_rate,
        "available": nothing if code is None else -code["bd_rate"],
    }


def bd_rate_text(lever: Lever) -> str:
    """Return a BD-rate with its interval."""
    interval = interval_text(lever.bd_rate_low, lever.bd_rate_high)
    return f"{lever.bd_rate:+.1f} % ({interval})"


def interval_text(low: float, high: float) -> str:
    """Return the 95 % interval of a BD-rate, or that there is none."""
    if not math.isfinite(low + high):
        return NO_INTERVAL
    return f"95 % interval {low:+.1f} to {high:+.1f} %"


def saving_text(change: float, low: float, high: float, digits: int = 1) -> str:
    """Return a change of the rate as a saving with its interval, per cent."""
    interval = NO_INTERVAL
    if math.isfinite(low + high):
        interval = f"{-high:.{digits}f} to {-low:.{digits}f} %"
    return f"{-change:.{digits}f} % ({interval})"


def kind_phrase(kind: str) -> str:
    """Return the label of a kind, with its indefinite article if it is a noun."""
    label = kind_label(kind)
    if BoundKind.parse(kind).is_realizable:
        return label
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"
