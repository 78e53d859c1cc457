"""Figures of rates: bound curves, what they save, the decomposition, the gaps along each axis."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from rdpipe.report.style import COLOURS, DOUBLE, STYLES, colour_curves, meaning


def bounds(points: pd.DataFrame):
    """Bound curves: PSNR over bpp, bars are 95 % intervals over images; anchors and references grey."""
    figure, axes = plt.subplots(figsize=(DOUBLE, 4.2))
    curves = list(points.groupby(["codec", "curve", "kind"], sort=False))
    for ((codec, name, kind), curve), colour in zip(curves, colour_curves([k for k, _ in curves])):
        own, other = name == "codec", codec == "" or kind == "reference"
        style = {"color": colour, "linewidth": 2 if own else 1.2, **STYLES[kind]}
        axes.plot(curve["bpp"], curve["psnr"], label=f"{name}\n({meaning(kind)})", **style)
        if not other:
            axes.hlines(curve["psnr"], curve["bpp_low"], curve["bpp_high"], color=colour,
                        linewidth=0.7, alpha=0.5)  # fmt: skip
    ours = points[(points["codec"] != "") & (points["kind"] != "reference")]
    ours = ours[np.isfinite(ours["psnr"])]  # a lossless point is not on the page
    margin = 0.15 * (ours["psnr"].max() - ours["psnr"].min()) + 0.5
    axes.set(xlim=(0, 1.05 * ours["bpp_high"].max()),
             ylim=(ours["psnr"].min() - margin, ours["psnr"].max() + margin),
             xlabel="rate, bit/pixel", ylabel="PSNR, dB (mean over images)")  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelspacing=0.9)
    return figure


def savings(saved: pd.DataFrame):
    """What every curve saves against the codec at equal PSNR, bit/pixel; bars are 95 % intervals."""
    figure, axes = plt.subplots(figsize=(DOUBLE, 3.4))
    curves = list(saved.groupby(["curve", "kind"], sort=False))
    own = [("" if kind == "achieved" else "codec", name, kind) for (name, kind), _ in curves]
    for ((name, kind), curve), colour in zip(curves, colour_curves(own)):
        errors = np.abs(curve[["saved_low", "saved_high"]].to_numpy().T - curve["saved"].to_numpy())
        axes.errorbar(curve["psnr"], curve["saved"], yerr=errors, color=colour, elinewidth=0.7,
                      label=f"{name}\n({meaning(kind)})", **STYLES[kind])  # fmt: skip
    axes.axhline(0, color="black", linewidth=1.2)
    axes.set(xlabel="PSNR, dB (mean over images)", ylabel="saved against the codec, bit/pixel")
    if curves:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelspacing=0.9)
    return figure


def decomposition(terms: pd.DataFrame):
    """Waterfalls from real bytes to each limit, one panel for each limit and quality.

    Bars go in the paper's order; a diamond stands where the term would end by its Shapley value.
    """
    limits, qualities = (list(terms[key].unique()) for key in ("limit", "quality"))
    size = (max(DOUBLE, 0.8 + 1.6 * len(qualities)), 0.8 + 1.9 * len(limits))
    figure, grid = plt.subplots(
        len(limits), len(qualities), figsize=size, squeeze=False, sharex=True, sharey="row"
    )
    for row, limit in zip(grid, limits):
        for axes, quality in zip(row, qualities):
            panel = terms[(terms["limit"] == limit) & (terms["quality"] == quality)]
            waterfall(axes, panel)
            axes.set_title(f"quality {quality}")
        kind = meaning(panel["kind"].iloc[0]).replace(", ", ",\n")
        row[0].set_ylabel(f"to “{limit}”\n({kind})\nbit/pixel")
    return figure


def waterfall(axes, panel: pd.DataFrame) -> None:
    """Terms one on top of the other, and their total."""
    paper, shapley = (
        panel[panel["order"] == order].set_index("term") for order in ("paper", "shapley")
    )
    names = list(paper.index)
    values = paper["bpp"].to_numpy()
    starts = np.concatenate([[0.0], np.cumsum(values[:-1])[:-1], [0.0]])
    colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in values[:-1]] + ["0.35"]
    axes.bar(names, values, bottom=starts, color=colours, width=0.7)
    ends = starts + values
    errors = np.abs(paper[["bpp_low", "bpp_high"]].to_numpy().T - values)
    axes.errorbar(names, ends, yerr=errors, fmt="none", ecolor="0.2", elinewidth=0.8, capsize=2)
    moved = [name for name in names if abs(shapley["bpp"][name] - paper["bpp"][name]) > 1e-12]
    axes.plot(moved, [starts[names.index(n)] + shapley["bpp"][n] for n in moved], "D", color="white",
              markeredgecolor="black", markersize=4)  # fmt: skip
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.tick_params(axis="x", rotation=90)
    axes.grid(axis="x", visible=False)


def gaps(cells: pd.DataFrame):
    """Along each axis: the rate of every estimator at every quality; hatched ones are genies."""
    components = list(cells["component"].unique())
    figure, grid = plt.subplots(1, len(components), figsize=(DOUBLE, 2.8), squeeze=False)
    for axes, component in zip(grid[0], components):
        panel = cells[cells["component"] == component]
        qualities = list(panel["quality"].unique())
        names = list(panel["estimator"].unique())
        for i, name in enumerate(names):
            bars = panel[panel["estimator"] == name]
            genie = bars["information"].iloc[0] == "genie"
            at = np.arange(len(qualities)) + (i - (len(names) - 1) / 2) * 0.8 / len(names)
            axes.bar(at, bars["bpp"], 0.75 / len(names), color=COLOURS[i % len(COLOURS)],
                     alpha=0.55 if genie else 1, hatch="///" if genie else None,
                     label=f"{name}{' (genie)' if genie else ''}")  # fmt: skip
        axes.set_xticks(range(len(qualities)), [f"q{quality}" for quality in qualities])
        axes.set(title=component, ylabel="latents, bit/pixel")
        axes.grid(axis="x", visible=False)
        axes.legend(frameon=False, loc="upper left")
    return figure
