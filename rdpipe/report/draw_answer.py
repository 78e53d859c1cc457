"""The answer as one figure: what each term is worth, and the curves of codec and bound."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rdpipe.analysis.measures import MS_SSIM, PSNR
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.ladder_text import rate_name
from rdpipe.report.overview import known_rungs, parts
from rdpipe.report.style import GRAYS, STYLES
from rdpipe.report.words import MEASURE_NAMES

PALE = 0.4
"""Opacity of a step whose 95 % interval includes 0 or is not known."""
NARROW = 5.0
"""Width below which one panel stands above the other, inches."""
Rungs = dict[int, pd.DataFrame]
"""The rungs of one codec, by quality."""


def answer(ladder: pd.DataFrame, points: pd.DataFrame) -> Figure:
    """Draw the steps of the ladder to the first limit, and the curves of its ends.

    Solid steps are realizable (achieved or achievable), hatched ones hold as a bound.

    Parameters
    ----------
    ladder, points : DataFrame
        Of one codec on one dataset; the points include those of baselines.
    """
    rungs = rungs_to_first_limit(ladder)
    width = plt.rcParams["figure.figsize"][0]
    if width >= NARROW:
        shape: dict[str, Any] = {"ncols": 2, "figsize": (width, 2.7), "width_ratios": (1, 1.15)}
    else:
        shape = {"nrows": 2, "figsize": (width, 4.8)}
    figure, (left, right) = plt.subplots(**shape)
    draw_steps(left, rungs)
    draw_ends(right, rungs, points)
    return figure


def rungs_to_first_limit(ladder: pd.DataFrame) -> Rungs:
    """Return the rungs of one codec down to its best bound, by quality."""
    ladder = ladder[ladder["limit"] == ladder["limit"].iloc[0]]
    return {
        int(quality): known_rungs(table)
        for quality, table in ladder[ladder["quality"].notna()].groupby("quality")
    }


def draw_steps(axes: Axes, rungs: Rungs) -> None:
    """Draw what each step saves at each quality; steps that cost bits lie left of zero."""
    names, uncertain = dict[str, Any](), False
    for row, table in enumerate(rungs.values()):
        ends = {True: 0.0, False: 0.0}  # of steps that save, and of those that cost bits
        for part in parts(table, table["bpp"].max() or 1.0):
            saves, percent = part["percent"] >= 0, part["percent"]
            look = {"facecolor": part["color"], "hatch": None, "edgecolor": "white"}
            if not part["realizable"]:
                look |= {"facecolor": "white", "hatch": "//////", "edgecolor": part["color"]}
            alpha = 1.0 if part["certain"] else PALE
            axes.barh(row, percent, 0.62, ends[saves], linewidth=0.6, alpha=alpha, **look)
            uncertain = uncertain or alpha < 1
            ends[saves] += percent
            label = part["name"] + ("" if part["realizable"] else ", as a bound")
            label += part["note"].replace(" (", "\n(")
            names.setdefault(label, Patch(label=label, linewidth=0.6, **look))
    labels = [f"q{q}, {table['bpp'].iloc[0]:.2f} bpp" for q, table in rungs.items()]
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    first = next(iter(rungs.values()))
    axes.set_xlabel(f"saved at equal {measure_of(rungs)}, % of the {rate_name(first)}")
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.grid(axis="y", visible=False)
    if uncertain:
        label = "pale: interval includes 0\nor is not known"
        names[label] = Patch(label=label, facecolor="0.3", alpha=PALE)
    if names:
        axes.legend(
            handles=[*names.values()],
            loc="lower center",
            bbox_to_anchor=(0.4, 1.0),
            ncols=2,
            frameon=False,
        )


def measure_of(rungs: Rungs) -> str:
    """Return the name of the quality that is equal, in a sentence."""
    return MEASURE_NAMES[matched_at(rungs)]


def matched_at(rungs: Rungs) -> str:
    """Return the name of the quality that is equal, as in tables."""
    measure: str = next(iter(rungs.values()))["matched_at"].iloc[0]
    return measure


def quality_axis(rungs: Rungs) -> tuple[str, str]:
    """Return the column of the quality that is equal, and the label of its axis."""
    similar = matched_at(rungs) == MS_SSIM.name
    column, label = ("ms_ssim", MS_SSIM.label) if similar else ("psnr", PSNR.label)
    return column, f"{label}, dB (mean over images)"


def bound_rates(rungs: Rungs) -> list[float]:
    """Return the rate of the last rung at each quality; NaN where it is not an upper bound."""
    last = [table.iloc[-1] for table in rungs.values()]
    return [
        rung["bpp"] if BoundKind.parse(rung["kind"]) is BoundKind.UPPER_BOUND else math.nan
        for rung in last
    ]


def draw_shared(axes: Axes, points: pd.DataFrame, column: str) -> None:
    """Draw baselines and published curves in gray; they do not widen the axes."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    shared = points[points["role"].isin([CurveRole.BASELINE, CurveRole.PUBLISHED])]
    for (name, kind), table in shared.groupby(["label", "kind"], sort=False):
        gray = GRAYS[len(axes.lines) % len(GRAYS)]
        look = {**STYLES[BoundKind.parse(kind)], "markersize": 2.5}
        axes.plot(table["bpp"], table[column], color=gray, linewidth=0.8, label=name, **look)


def draw_ends(axes: Axes, rungs: Rungs, points: pd.DataFrame) -> None:
    """Draw the codec, the last realizable rung, the bound, and the baselines, with their names.

    The quality is the measure that is equal. Where the last rung is not an upper bound, the bound
    has no point.
    """
    column, label = quality_axis(rungs)
    codec = points[points["role"] == CurveRole.CODEC].set_index("quality")
    quality = codec[column].loc[list(rungs)]
    realizable = [
        table[[BoundKind.parse(kind).is_realizable for kind in table["kind"]]].iloc[-1]
        for table in rungs.values()
    ]
    bounds = bound_rates(rungs)
    own_kind = BoundKind.parse(next(iter(rungs.values()))["kind"].iloc[0])
    curves = [("codec", [table["bpp"].iloc[0] for table in rungs.values()], own_kind)]
    if any(rung["rung"] for rung in realizable):
        bpp = [rung["bpp"] for rung in realizable]
        curves.append(("realizable rungs", bpp, BoundKind.ACHIEVABLE))
    if any(map(math.isfinite, bounds)):
        curves.append(("best bound", bounds, BoundKind.UPPER_BOUND))
        axes.fill_betweenx(quality, bounds, curves[0][1], color="0.5", alpha=0.2, linewidth=0)
    for name, bpp, kind in curves:
        axes.plot(bpp, quality, color="black", label=name, **STYLES[kind])
    draw_shared(axes, points, column)
    axes.set(xlabel="rate, bit/pixel", ylabel=label)
    axes.legend(loc="lower right", frameon=False)
