"""Figures of rates: bound curves, savings, the decomposition, and the rates along each axis."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdpipe.core.kinds import BoundKind, CurveRole, Information
from rdpipe.report.style import COLORS, DOUBLE, STYLES, TERM_COLORS, TOTAL, curve_colors, kind_label
from rdpipe.report.words import LATENT_MATCHED

LEGEND = {"loc": "outside lower center", "frameon": False, "fontsize": 6.5}
"""Place and look of the legend of curves."""
WIDE = 6.5
"""Width from which a legend of curves has two columns, inches."""


def bounds(points: pd.DataFrame) -> Figure:
    """Draw PSNR over bit/pixel; bars are 95 % intervals over images.

    Baselines, known sources and published curves are gray.
    """
    curves = list(points.groupby(["curve", "role", "kind"], sort=False))
    figure, axes = plt.subplots(figsize=size(len(curves)))
    colors = curve_colors([role for (_, role, _), _ in curves])
    for ((_, role, kind), curve), color in zip(curves, colors, strict=True):
        width = 2 if CurveRole.parse(role) is CurveRole.CODEC else 1.2
        style = {"color": color, "linewidth": width, **STYLES[BoundKind.parse(kind)]}
        axes.plot(
            curve["bpp"],
            curve["psnr"],
            label=f"{curve['label'].iloc[0]} ({kind_label(kind)})",
            **style,
        )
        if CurveRole.parse(role).belongs_to_codec:
            limits = curve["bpp_low"], curve["bpp_high"]
            axes.hlines(curve["psnr"], *limits, color=color, linewidth=0.7, alpha=0.5)
    measured = points[[CurveRole.parse(role).belongs_to_codec for role in points["role"]]]
    measured = measured[np.isfinite(measured["psnr"])]  # a lossless point has an infinite PSNR
    # intervals of few images may be many times as long as the curves
    rates, highest = measured["bpp"], measured[["bpp", "bpp_high"]].max().max()
    margin = 0.15 * (measured["psnr"].max() - measured["psnr"].min()) + 0.5
    axes.set(
        xlim=(0, 1.05 * min(highest, 1.5 * rates.max())),
        ylim=(measured["psnr"].min() - margin, measured["psnr"].max() + margin),
        xlabel="rate, bit/pixel",
        ylabel="PSNR, dB (mean over images)",
    )
    figure.legend(**LEGEND, ncols=legend_columns())
    return figure


def legend_columns() -> int:
    """Return the number of columns of a legend below a figure of the width that is set."""
    return 2 if plt.rcParams["figure.figsize"][0] >= WIDE else 1


def size(curves: int) -> tuple[float, float]:
    """Return width and height of a figure with a legend of some curves below it, inches."""
    width = plt.rcParams["figure.figsize"][0]
    rows = math.ceil(curves / legend_columns())
    return width, max(2.4, 0.47 * width) + 0.16 * rows


def savings(saved: pd.DataFrame) -> Figure:
    """Draw the bit/pixel that every curve saves against the codec at equal PSNR.

    Bars are 95 % intervals over images.
    """
    curves = list(saved.groupby(["curve", "role", "kind"], sort=False))
    figure, axes = plt.subplots(figsize=size(len(curves)))
    colors = curve_colors([role for (_, role, _), _ in curves])
    for ((_, _, kind), curve), color in zip(curves, colors, strict=True):
        errors = np.abs(curve[["saved_low", "saved_high"]].to_numpy().T - curve["saved"].to_numpy())
        axes.errorbar(
            curve["psnr"],
            curve["saved"],
            yerr=errors,
            color=color,
            elinewidth=0.7,
            label=f"{curve['label'].iloc[0]} ({kind_label(kind)})",
            **STYLES[BoundKind.parse(kind)],
        )
    axes.axhline(0, color="black", linewidth=1.2)
    axes.set(xlabel="PSNR, dB (mean over images)", ylabel="saved against the codec, bit/pixel")
    if curves:
        figure.legend(**LEGEND, ncols=legend_columns())
    return figure


def decomposition(terms: pd.DataFrame) -> Figure:
    """Draw waterfalls from real bytes to each limit, one panel for each limit and quality.

    Bars are in the paper's order. A diamond shows where the term would end by its Shapley value.
    """
    limits, qualities = (list(terms[key].unique()) for key in ("limit", "quality"))
    size = (max(DOUBLE, 0.8 + 1.6 * len(qualities)), 0.8 + 1.9 * len(limits))
    figure, grid = plt.subplots(
        len(limits), len(qualities), figsize=size, squeeze=False, sharex=True, sharey="row"
    )
    for row, limit in zip(grid, limits, strict=True):
        for axes, quality in zip(row, qualities, strict=True):
            panel = terms[(terms["limit"] == limit) & (terms["quality"] == quality)]
            waterfall(axes, panel)
            ratio = panel["latent_mse_ratio"].iloc[0]
            axes.set_title(f"quality {quality}\nlatent MSE ratio {ratio:.3f}")
        kind = kind_label(panel["kind"].iloc[0]).replace(", ", ",\n")
        row[0].set_ylabel(f"to “{limit}”\n({kind})\n{LATENT_MATCHED}, bit/pixel")
    return figure


def waterfall(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw the terms on top of each other, and their total; hatched terms cost bits."""
    paper, shapley = (
        panel[panel["order"] == order].set_index("term") for order in ("paper", "shapley")
    )
    names = list(paper.index)
    values = paper["bpp"].fillna(0.0).to_numpy()  # 0 for a term that was not measured
    starts = np.concatenate([[0.0], np.cumsum(values[:-1])[:-1], [0.0]])
    colors = [TERM_COLORS.get(name, TOTAL) for name in names]
    hatches = ["" if value >= 0 else "////" for value in values]
    axes.bar(names, values, bottom=starts, color=colors, hatch=hatches, edgecolor="w", width=0.7)
    ends = starts + values
    errors = np.abs(paper[["bpp_low", "bpp_high"]].to_numpy().T - values)
    axes.errorbar(names, ends, yerr=errors, fmt="none", ecolor="0.2", elinewidth=0.8, capsize=2)
    moved = [name for name in names if abs(shapley["bpp"][name] - paper["bpp"][name]) > 1e-12]
    shapley_ends = [starts[names.index(name)] + shapley["bpp"][name] for name in moved]
    axes.plot(moved, shapley_ends, "D", color="white", markeredgecolor="black", markersize=4)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.tick_params(axis="x", rotation=90)
    axes.grid(axis="x", visible=False)


def gaps(cells: pd.DataFrame) -> Figure:
    """Draw the rate of every estimator along each axis; hatched estimators are genies."""
    components = list(cells["component"].unique())
    figure, grid = plt.subplots(1, len(components), figsize=(DOUBLE, 2.8), squeeze=False)
    for axes, component in zip(grid[0], components, strict=True):
        panel = cells[cells["component"] == component]
        qualities = list(panel["quality"].unique())
        names = list(panel["estimator"].unique())
        for i, name in enumerate(names):
            bars = panel[panel["estimator"] == name]
            genie = Information.parse(bars["information"].iloc[0]) is Information.GENIE
            positions = np.arange(len(qualities)) + (i - (len(names) - 1) / 2) * 0.8 / len(names)
            axes.bar(
                positions,
                bars["bpp"],
                0.75 / len(names),
                color=COLORS[i % len(COLORS)],
                alpha=0.55 if genie else 1,
                hatch="///" if genie else None,
                label=f"{name}{' (genie)' if genie else ''}",
            )
        axes.set_xticks(range(len(qualities)), [f"q{quality}" for quality in qualities])
        axes.set(title=component, ylabel=f"latents, bit/pixel ({LATENT_MATCHED})")
        axes.grid(axis="x", visible=False)
        axes.legend(frameon=False, loc="upper left")
    return figure
