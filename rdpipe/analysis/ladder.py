"""The ladder: curves from a codec's real bytes to its best bound, each of which changes one thing.

Every rung stands at the quality of the codec's own pictures. Over the curve, a rung is the mean of
the logarithm of its rate over a range of qualities; differences of rungs therefore add up exactly,
and so do the terms of the decomposition. See ``docs/explanation/science.md``, section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.intervals import jackknife_interval, left_out_means
from rdpipe.analysis.log_rate import common_range, log_rate, log_rates
from rdpipe.analysis.measured_curves import Run, stack
from rdpipe.analysis.measures import CURVE_MEASURES
from rdpipe.analysis.rates import cell_bits, select_cell
from rdpipe.core.axes import CellId, axis_named, corners
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.metrics import MEASURES

LADDER_ORDER = ("variance", "mean", "quantizer")
"""The axes in the order of the rungs: what a decoder can do first, the test channel last."""
TERMS = {
    CurveRole.REFINED: "encoder",
    CurveRole.RETUNED: "decoder",
    CurveRole.JOINT: "transforms",
}
"""What a curve that belongs to a codec changes, by its role."""
LADDER_COLUMNS = (
    "dataset",
    "codec",
    "limit",
    "rung",
    "name",
    "term",
    "kind",
    "matched_at",
    "quality",
    "bpp",
    "bpp_low",
    "bpp_high",
    "saved",
    "saved_low",
    "saved_high",
    "log_rate",
    "change",
    "change_low",
    "change_high",
    "total",
    "total_low",
    "total_high",
    "encoder_seconds",
    "refinement_seconds",
    "remark",
)
"""Columns of :func:`ladder_frame`."""


class RefinedRun(NamedTuple):
    """A codec whose latents were refined, or whose weights were fine-tuned, for rounding.

    Parameters
    ----------
    name : str
    run, simulations : mapping
        Tables of ``extract_latents`` and stores of ``simulate``, by quality.
    term : str
        What it changes.
    """

    name: str
    run: Run
    simulations: Run
    term: str = "encoder"


class Rung(NamedTuple):
    """One curve of a ladder.

    Parameters
    ----------
    name : str
        The curve, or what the rate is.
    term : str
        What it changes against the rung before.
    kind : BoundKind
        What it may be called.
    bpp : array of shape (image, quality)
        Complete rate.
    quality : array of shape (image, quality)
        Quality of the picture, dB.
    remark : str
        Why nothing changes, if nothing does.
    seconds : float
        Processor time that the refinement of its latents adds to the encoder, seconds per
        megapixel; 0 if they are not refined.
    """

    name: str
    term: str
    kind: BoundKind
    bpp: Values
    quality: Values
    remark: str = ""
    seconds: float = 0.0


def rungs(
    run: Run,
    simulations: Run,
    limit: CellId,
    refined: Sequence[RefinedRun] = (),
    bounds: Sequence[Curve] = (),
    measure: str = "psnr",
    seconds: Mapping[str, float] = MappingProxyType({}),
) -> list[Rung]:
    """Return the rungs from the real bytes of a codec to a limit, and to bounds beyond it.

    An axis along which the limit's estimator saves nothing keeps the codec's own.

    Parameters
    ----------
    run, simulations : mapping
        Tables of ``extract_latents`` and stores of ``simulate``, by quality.
    limit : CellId
    refined : sequence of RefinedRun
        The codec with latents that were refined, or weights that were fine-tuned, for rounding.
    bounds : sequence of Curve
        Curves of networks that were trained as a bound or for another quantizer than rounding, and
        of latents that were refined for the test channel, in the order of the rungs.
    measure : str
        The quality that the cells have in common.
    seconds : mapping of str to float
        Processor time of the refinement of all refined latents, seconds per megapixel.
    """
    tables = list(run.values())
    own_kind = BoundKind.ACHIEVED if stack(run, "real").all() else BoundKind.ACHIEVABLE
    counted = "real bytes" if own_kind is BoundKind.ACHIEVED else "code length"
    pixels = tables[0]["pixels"].values[:, None]
    quality = MEASURES[measure](stack(run, "mse"), stack(run, "ms_ssim"))
    model_bits = stack(run, "latent_bits") + stack(run, "side_bits")
    ladder = [
        Rung(counted, "", own_kind, 8 * stack(run, "bytes") / pixels, quality),
        Rung("model's bits", "coder", BoundKind.ACHIEVABLE, model_bits / pixels, quality),
    ]
    *chosen, last = choose_cells(run, simulations, limit, quality)
    for cell, term, remark in chosen:
        ladder.append(cell_rung(run, simulations, cell, quality)._replace(term=term, remark=remark))
    for codec in refined:
        rung = refined_rung(codec, chosen[-1][0], measure)
        ladder.append(better(ladder[-1], rung._replace(seconds=seconds.get(codec.name, 0.0))))
    achieved = [curve for curve in bounds if curve.kind.is_realizable]
    for curve in achieved:
        ladder.append(better(ladder[-1], curve_rung(curve, measure, seconds)))
    cell, term, remark = last
    rung = cell_rung(run, simulations, cell, quality)._replace(term=term, remark=remark)
    ladder.append(better(ladder[-1], rung) if refined or achieved else rung)
    for curve in (curve for curve in bounds if curve.kind is BoundKind.UPPER_BOUND):
        ladder.append(better(ladder[-1], curve_rung(curve, measure, seconds)))
    return ladder


def curve_rung(curve: Curve, measure: str, seconds: Mapping[str, float]) -> Rung:
    """Return the rung of a curve that belongs to a codec, see :func:`rungs`."""
    quality = CURVE_MEASURES[measure].of_images(curve)
    term = "encoder" if curve.name in seconds else TERMS[curve.role]
    return Rung(
        curve.name, term, curve.kind, curve.bpp, quality, seconds=seconds.get(curve.name, 0.0)
    )


def cell_rung(run: Run, simulations: Run, cell: CellId, quality: Values) -> Rung:
    """Return the rung of a simulated cell, without what it changes."""
    first = next(iter(simulations.values()))
    kind = BoundKind.parse(select_cell(first, cell)["kind"].item(), str(cell))
    return Rung(str(cell), "", kind, cell_bpp(run, simulations, cell), quality)


def refined_rung(codec: RefinedRun, cell: CellId, measure: str) -> Rung:
    """Return the rung of a cell of a codec with refined latents, or with other weights."""
    at = {quality: select_cell(table, cell) for quality, table in codec.simulations.items()}
    quality = MEASURES[measure](stack(at, "mse"), stack(at, "ms_ssim"))
    rung = cell_rung(codec.run, codec.simulations, cell, quality)
    return rung._replace(name=f"{codec.name}: {cell}", term=codec.term)


def better(before: Rung, rung: Rung) -> Rung:
    """Return a rung if it needs fewer bits than the one before, which otherwise stays."""
    low, high = common_range([before.quality, rung.quality])
    logs = [log_rate(x.bpp.mean(0), x.quality.mean(0), low, high) for x in (before, rung)]
    change = 100 * math.expm1(logs[1] - logs[0])
    if change < 0:
        return rung
    remark = (
        f"{rung.name} has no common range of quality"
        if math.isnan(change)
        else f"{rung.name} would need {change:+.2f} % against the rung before"
    )
    return before._replace(term=rung.term, remark=remark)


def choose_cells(
    run: Run, simulations: Run, limit: CellId, quality: Values
) -> list[tuple[CellId, str, str]]:
    """Return the cells of the rungs, the term of each, and a remark.

    Over the curve, an estimator of the limit replaces the codec's own only if it saves bits.
    """
    cells, moved = corners(limit), frozenset[str]()
    chosen = [(cells[moved], "prior", "")]
    low, high = common_range([quality])

    def of_cell(cell: CellId) -> float:
        bpp = cell_bpp(run, simulations, cell)
        return log_rate(bpp.mean(0), quality.mean(0), low, high)

    for axis in LADDER_ORDER:
        candidate, remark = cells[moved | {axis}], ""
        if candidate == cells[moved]:
            remark = "not measured: the limit has the codec's own"
        else:
            change = 100 * math.expm1(of_cell(candidate) - of_cell(cells[moved]))
            if change < 0:
                moved |= {axis}
            elif math.isnan(change):
                remark = f"{candidate} does not reach the codec's quality everywhere"
            else:
                remark = f"{candidate} would need {change:+.2f} % against the rung before"
        chosen.append((cells[moved], axis_named(axis).term, remark))
    return chosen


def cell_bpp(run: Run, simulations: Run, cell: CellId) -> Values:
    """Return the complete rate of a simulated cell over (image, quality), bit/pixel."""
    columns = [
        cell_bits(select_cell(simulations[quality], cell), table).values / table["pixels"].values
        for quality, table in run.items()
    ]
    return np.stack(columns, 1)


def at_quality(bpp: Values, quality: Values, target: Values) -> Values:
    """Return the rate of a curve at other qualities, by PCHIP of its logarithm; NaN outside."""
    order = np.argsort(quality)
    if len(bpp) < 2 or not (np.diff(quality[order]) > 0).all() or not (bpp > 0).all():
        return np.where(np.isclose(target, quality[0]) if len(bpp) == 1 else False, bpp[0], np.nan)
    curve = PchipInterpolator(quality[order], np.log(bpp[order]), extrapolate=False)
    rates: Values = np.exp(curve(target))
    return rates


def ladder_frame(
    labels: Mapping[str, Any],
    ladder: Sequence[Rung],
    qualities: Sequence[int],
    seconds: Mapping[str, float] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return the rows of one ladder.

    Parameters
    ----------
    labels : mapping
        ``dataset``, ``codec``, ``limit`` and ``matched_at``.
    ladder : sequence of Rung
        From :func:`rungs`.
    qualities : sequence of int
        Qualities of the codec.
    seconds : mapping of str to float
        Time of the encoder of rungs by name, seconds per megapixel; see
        :func:`rdpipe.analysis.encoder_times.encoder_seconds`.

    Returns
    -------
    DataFrame
        A row for each rung and quality, with ``bpp`` at the codec's quality, ``saved``, what it
        saves against the rung before, and ``total``, its change against the real bytes, per cent;
        and a row for each rung over the curve (no ``quality``), with ``log_rate``, and the
        ``change`` against the rung before and ``total`` against the real bytes, per cent of the
        rate. Differences of ``log_rate`` add up; per cent multiply. All have 95 % intervals over
        images, paired over images.
    """
    rows = []
    whole = over_the_curve(ladder)
    target = ladder[0].quality
    before = real = rates_at(ladder[0], target)
    for number, (rung, of_curve) in enumerate(zip(ladder, whole, strict=True)):
        common = {
            **labels,
            "rung": number,
            "name": rung.name,
            "term": rung.term,
            "kind": str(rung.kind),
            "encoder_seconds": seconds.get(rung.name, math.nan),
            "refinement_seconds": rung.seconds,
            "remark": rung.remark,
        }
        rates = rates_at(rung, target)
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing is coded
            total = 100 * (rates / real - 1)
        columns = {"bpp": rates, "saved": before - rates, "total": total}
        ends = {
            name: jackknife_interval(values[0], values[1:], len(target))
            for name, values in columns.items()
        }
        for i, quality in enumerate(qualities):
            row = {**common, "quality": quality}
            for name, values in columns.items():
                low, high = ends[name]
                row |= {name: values[0, i], f"{name}_low": low[i], f"{name}_high": high[i]}
            rows.append(row)
        rows.append({**common, "quality": None, **of_curve})
        before = rates
    return pd.DataFrame(rows, columns=list(LADDER_COLUMNS))


def rates_at(rung: Rung, target: Values) -> Values:
    """Return the mean rate of a rung at the codec's qualities, bit/pixel.

    Parameters
    ----------
    rung : Rung
        Interpolated if its pictures have other qualities.
    target : array of shape (image, quality)
        Quality of the codec's pictures, dB.

    Returns
    -------
    array of shape (1 + group, quality)
        Of all images, and of all but those of one group; NaN outside the qualities of the rung.
    """
    bpp, quality, at = (
        np.concatenate([values.mean(0)[None], left_out_means(values)])
        for values in (rung.bpp, rung.quality, target)
    )
    if rung.quality is target:
        return bpp
    return np.stack([at_quality(*curve) for curve in zip(bpp, quality, at, strict=True)])


def over_the_curve(ladder: Sequence[Rung]) -> list[dict[str, float]]:
    """Return the columns of each rung over the curve, see :func:`ladder_frame`."""
    low, high = common_range([rung.quality for rung in ladder])
    logs = [log_rates(rung.bpp, rung.quality, low, high) for rung in ladder]
    images, columns = len(ladder[0].bpp), []
    for i, ((value,), left_out) in enumerate(logs):
        row = {"log_rate": float(value)}
        for name, j in (("change", i - 1), ("total", 0)) if i else ():
            (other,), other_left_out = logs[j]
            ends = jackknife_interval(value - other, left_out - other_left_out, images)
            changes = [100 * math.expm1(float(x)) for x in (value - other, *ends)]
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), changes, strict=True))
        columns.append(row)
    return columns
