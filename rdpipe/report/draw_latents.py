"""Figures of the latents: the water-filling picture, calibration, residuals, maps over an image."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from rdpipe.report.style import CLIP, COLOURS, DOUBLE, SINGLE


def panels(table: pd.DataFrame, width: float, height: float):
    """A panel for each quality, at most four in a row, and the rows of each."""
    qualities = list(table["quality"].unique())
    columns = min(4, len(qualities))
    rows = -(-len(qualities) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(width, height * rows), squeeze=False, sharex=True, sharey=True
    )
    for axes in grid.flat[len(qualities) :]:
        axes.set_visible(False)
    for axes, quality in zip(grid.flat, qualities):
        axes.set_title(f"quality {quality}")
    return figure, grid, [(a, table[table["quality"] == q]) for a, q in zip(grid.flat, qualities)]


def label(figure, grid, x: str, y: str) -> None:
    """Axis labels at the margins, and one legend for all panels."""
    for row in grid:
        row[0].set_ylabel(y)
    for axes in grid[-1]:
        axes.set_xlabel(x)
    handles = grid.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=6, frameon=False)


def water(channels: pd.DataFrame):
    """Second moment of the residuals of each channel, sorted, over the test channel's water level.

    What lies below the line is not sent and distorts by its variance; all others distort by the
    level. Crosses are the mean variance that the codec predicts.
    """
    figure, grid, each = panels(channels, DOUBLE, 2.3)
    for axes, panel in each:
        panel = panel.sort_values("second_moment", ascending=False)
        rank, level = np.arange(len(panel)), panel["level"].iloc[0]
        axes.fill_between(rank, np.minimum(panel["second_moment"], level), 1e-9, step="mid",
                          color=COLOURS[0], alpha=0.25, linewidth=0)  # fmt: skip
        axes.step(rank, panel["second_moment"], where="mid", color="black", label="second moment")
        axes.plot(rank, panel["predicted"], "x", color=COLOURS[1], markersize=2.5, label="predicted")
        axes.axhline(level, color=COLOURS[0], linestyle="--", label="water level")
        low = max(panel[["second_moment", "predicted"]].min().min(), 1e-6)
        axes.set(yscale="log", ylim=(low / 2, 2 * panel[["second_moment", "predicted"]].max().max()))
    label(figure, grid, "channel, by second moment", "squared latent units")
    return figure


def calibration(bins: pd.DataFrame):
    """Predicted scale against the actual one, root of the mean square, with 95 % intervals over images."""
    figure, axes = plt.subplots(figsize=(SINGLE, 3.0))
    axes.set(xlabel="predicted scale", ylabel="actual scale")
    if bins.empty:
        axes.set_title("no scale has elements enough")
        return figure
    ends = [bins[["predicted", "actual"]].min().min(), bins[["predicted", "actual"]].max().max()]
    axes.plot(ends, ends, color="0.5", linewidth=0.8, label="as predicted")
    for i, (quality, panel) in enumerate(bins.groupby("quality", sort=False)):
        actual = panel["actual"].to_numpy()
        errors = np.abs(panel[["actual_low", "actual_high"]].to_numpy().T - actual)
        axes.errorbar(panel["predicted"], actual, yerr=errors, marker="osD^v<>p"[i % 8], markersize=3,
                      color=COLOURS[i % len(COLOURS)], elinewidth=0.6, linewidth=0.8,
                      label=f"quality {quality}")  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False)
    return figure


def residuals(densities: pd.DataFrame):
    """Density of r / sigma, by predicted scale, against the Gaussian that codes it."""
    figure, grid, each = panels(densities, DOUBLE, 2.3)
    for axes, panel in each:
        for i, (name, one) in enumerate(panel.groupby("class", sort=False)):
            shown = one[one["density"] > 0]
            axes.plot(shown["normalised"], shown["density"], color=COLOURS[i], label=name)
        gaussian = panel.drop_duplicates("normalised")
        axes.plot(gaussian["normalised"], gaussian["gaussian"], color="black", linestyle=":",
                  linewidth=1.6, label="Gaussian")  # fmt: skip
        axes.set(yscale="log", ylim=(1e-5, 5), xlim=(-8, 8))
    label(figure, grid, "residual / predicted scale", "density")
    return figure


def maps(table: pd.DataFrame):
    """Bits and gaps over one image: a row for each quality, a column for each map."""
    names, qualities = list(table["map"].unique()), list(table["quality"].unique())
    figure, grid = plt.subplots(
        len(qualities), len(names), figsize=(DOUBLE, 0.4 + 1.3 * len(qualities)), squeeze=False
    )
    for row, quality in zip(grid, qualities):
        for axes, name in zip(row, names):
            one = table[(table["quality"] == quality) & (table["map"] == name)]
            values = one.pivot(index="row", columns="column", values="bpp").to_numpy()
            spent, most = name == names[0], np.percentile(np.abs(values), CLIP)
            shown = axes.imshow(values, "cividis" if spent else "PuOr_r", vmin=0 if spent else -most, vmax=most)
            colours = figure.colorbar(shown, ax=axes, shrink=0.55, pad=0.02)
            colours.ax.tick_params(labelsize=5)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"quality {quality}\nbit/pixel")
    for axes, name in zip(grid[0], names):
        axes.set_title(name.replace(" gap, to ", " gap,\nto "), fontsize=6)
    return figure
