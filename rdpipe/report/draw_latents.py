"""Figures of the latents: water-filling, calibration, residuals, and maps over an image."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdpipe.report.frames import unplaced_remark
from rdpipe.report.style import CLIP, COLORS, DOUBLE, SINGLE, TERM_COLORS

Panels = list[tuple[Axes, pd.DataFrame]]
LOW = 1e-9
"""Lower end of areas on a logarithmic axis, squared latent units."""


def quality_panels(table: pd.DataFrame, width: float, height: float) -> tuple[Figure, Any, Panels]:
    """Return a figure with a panel for each quality, at most four in a row.

    Parameters
    ----------
    table : DataFrame
        Rows of all qualities.
    width, height : float
        Width of the figure and height of a row, inches.

    Returns
    -------
    figure : Figure
    grid : array of Axes
    panels : list of (Axes, DataFrame)
        The rows of each quality.
    """
    qualities = list(table["quality"].unique())
    columns = min(4, len(qualities))
    rows = -(-len(qualities) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(width, height * rows), squeeze=False, sharex=True, sharey=True
    )
    for axes in grid.flat[len(qualities) :]:
        axes.set_visible(False)
    panels = []
    for axes, quality in zip(grid.flat, qualities, strict=False):
        axes.set_title(f"quality {quality}")
        panels.append((axes, table[table["quality"] == quality]))
    return figure, grid, panels


def label_panels(figure: Figure, grid: Any, x: str, y: str) -> None:
    """Label the axes at the margins, and add one legend for all panels."""
    for row in grid:
        row[0].set_ylabel(y)
    for axes in grid[-1]:
        axes.set_xlabel(x)
    handles = grid.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=6, frameon=False)


def water(channels: pd.DataFrame) -> Figure:
    """Draw the second moment of the residuals of each channel, sorted, over the water level.

    Channels below the line are not coded, and their distortion is their variance; the distortion of
    all others is the water level, which differs between channels if they are weighted. Crosses are
    the mean variance that the codec predicts.
    """
    if channels.empty:
        return empty_figure("nothing is coded")
    figure, grid, panels = quality_panels(channels, DOUBLE, 2.3)
    for axes, panel in panels:
        panel = panel.sort_values("second_moment", ascending=False)
        rank, edges = np.arange(len(panel)), np.arange(len(panel) + 1) - 0.5
        actual, theta = panel["second_moment"].to_numpy(), panel["theta"].to_numpy()
        covered, blue = np.minimum(actual, theta), TERM_COLORS["quantization"]
        axes.stairs(covered, edges, baseline=LOW, fill=True, color=blue, alpha=0.25)
        line = {"baseline": None, "linewidth": plt.rcParams["lines.linewidth"]}
        axes.stairs(actual, edges, color="black", label="second moment", **line)
        look: dict[str, Any] = {"color": TERM_COLORS["variance"], "markersize": 2.5}
        axes.plot(rank, panel["predicted"], "x", label="predicted", **look)
        axes.stairs(theta, edges, color=blue, linestyle="--", label="water level", **line)
    shown = channels[["second_moment", "predicted", "theta"]].to_numpy()
    shown = shown[np.isfinite(shown)]
    grid[0, 0].set(yscale="log", ylim=(max(shown.min(), 1e-6) / 2, 2 * max(shown.max(), 1e-6)))
    label_panels(figure, grid, "channel, by second moment", "squared latent units")
    return figure


def empty_figure(message: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(SINGLE, 1.0))
    axes.set_title(message)
    axes.set_axis_off()
    return figure


def calibration(bins: pd.DataFrame) -> Figure:
    """Draw actual over predicted scale, root mean square, with 95 % intervals over images."""
    figure, axes = plt.subplots(figsize=(SINGLE, 3.0))
    axes.set(xlabel="predicted scale", ylabel="actual scale")
    if bins.empty:
        axes.set_title("no bin of scale has enough elements")
        return figure
    ends = [bins[["predicted", "actual"]].min().min(), bins[["predicted", "actual"]].max().max()]
    axes.plot(ends, ends, color="0.5", linewidth=0.8, label="as predicted")
    for i, (quality, panel) in enumerate(bins.groupby("quality", sort=False)):
        actual = panel["actual"].to_numpy()
        errors = np.abs(panel[["actual_low", "actual_high"]].to_numpy().T - actual)
        axes.errorbar(
            panel["predicted"],
            actual,
            yerr=errors,
            marker="osD^v<>p"[i % 8],
            markersize=3,
            color=COLORS[i % len(COLORS)],
            elinewidth=0.6,
            linewidth=0.8,
            label=f"quality {quality}",
        )
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False)
    return figure


def residuals(densities: pd.DataFrame) -> Figure:
    """Draw the density of r / sigma by predicted scale, and the Gaussian that codes it."""
    if densities.empty:
        return empty_figure("nothing is coded")
    figure, grid, panels = quality_panels(densities, DOUBLE, 2.3)
    for axes, panel in panels:
        for i, (name, rows) in enumerate(panel.groupby("class", sort=False)):
            shown = rows[rows["density"] > 0]
            axes.plot(shown["normalized"], shown["density"], color=COLORS[i], label=name)
        gaussian = panel.drop_duplicates("normalized")
        density = gaussian["normalized"], gaussian["gaussian"]
        axes.plot(*density, color="black", linestyle=":", linewidth=1.6, label="Gaussian")
        axes.set(yscale="log", ylim=(1e-5, 5), xlim=(-8, 8))
    label_panels(figure, grid, "residual / predicted scale", "density")
    return figure


def maps(table: pd.DataFrame) -> Figure:
    """Draw bits and gaps over one image: a row for each quality, a column for each map.

    A remark below says how many of the bits have no place in the image.
    """
    names, qualities = list(table["map"].unique()), list(table["quality"].unique())
    figure, grid = plt.subplots(
        len(qualities), len(names), figsize=(DOUBLE, 0.4 + 1.3 * len(qualities)), squeeze=False
    )
    for row, quality in zip(grid, qualities, strict=True):
        for axes, name in zip(row, names, strict=True):
            rows = table[(table["quality"] == quality) & (table["map"] == name)]
            values = rows.pivot(index="row", columns="column", values="bpp").to_numpy()
            is_rate, high = name == names[0], np.percentile(np.abs(values), CLIP)
            colors = "cividis" if is_rate else "PuOr_r"
            image = axes.imshow(values, colors, vmin=0 if is_rate else -high, vmax=high)
            color_bar = figure.colorbar(image, ax=axes, shrink=0.55, pad=0.02)
            color_bar.ax.tick_params(labelsize=5)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"quality {quality}\nbit/pixel")
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name.replace(" gap, to ", " gap,\nto "), fontsize=6)
    if remark := unplaced_remark(table["unplaced"]):
        figure.supxlabel(remark, fontsize=6)
    return figure
