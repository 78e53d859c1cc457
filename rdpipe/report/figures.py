"""Figures of one data set and codec; the same tables give the same bytes.

Colours are Okabe and Ito's, safe for colour-blind readers; what a curve may be called
(SCIENCE.md, section 5) shows in line and marker, so that a genie never looks like a bound.
"""

from __future__ import annotations

import io
from itertools import cycle

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from rdpipe.axes import GENIE

matplotlib.use("Agg")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = {
    "achieved": {"linestyle": "-", "marker": "o"},
    "achievable": {"linestyle": "--", "marker": "s"},
    "upper bound on R(D)": {"linestyle": "-.", "marker": "^"},
    "genie-aided estimate": {"linestyle": ":", "marker": "D", "markerfacecolor": "white"},
    "reference": {"linestyle": (0, (5, 1, 1, 1)), "marker": ""},
}
"""Line and marker of each kind of curve."""
LOOK = {
    "svg.hashsalt": "rdpipe",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
}


def render(name: str, suffix: str, tables: dict[str, pd.DataFrame]) -> bytes:
    """A figure as the bytes of a file.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    suffix : {"svg", "png"}
    tables : dict of DataFrame
        ``points``, ``decomposition`` and ``gaps`` of one data set and codec.
    """
    draw, table = FIGURES[name]
    with matplotlib.rc_context(LOOK):
        figure = draw(tables[table])
        buffer = io.BytesIO()
        metadata = {"svg": {"Date": None}, "png": {"Software": None}}[suffix]
        figure.savefig(buffer, format=suffix, dpi=150, metadata=metadata)
        plt.close(figure)
    return buffer.getvalue()


def bounds(points: pd.DataFrame):
    """Bound curves: PSNR over bpp, bars are 95 % intervals over images; anchors and references grey."""
    figure, axes = plt.subplots(figsize=(8.5, 5.2))
    colours, greys = cycle(COLOURS), cycle(("0.3", "0.5", "0.7"))
    for (codec, name, kind), curve in points.groupby(["codec", "curve", "kind"], sort=False):
        own, other = name == "codec", codec == "" or kind == "reference"
        colour = "black" if own else next(greys if other else colours)
        style = {"color": colour, "linewidth": 2.2 if own else 1.4, "markersize": 5, **STYLES[kind]}
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


def meaning(kind: str) -> str:
    """A kind, with the warning that belongs to it."""
    return f"{kind}, not a bound" if kind == GENIE else kind


def decomposition(terms: pd.DataFrame):
    """Waterfalls from real bytes to each limit, one panel for each limit and quality.

    Bars go in the paper's order; a diamond stands where the term would end by its Shapley value.
    """
    limits, qualities = (list(terms[key].unique()) for key in ("limit", "quality"))
    size = (1.2 + 2.5 * len(qualities), 1.0 + 2.5 * len(limits))
    figure, grid = plt.subplots(
        len(limits), len(qualities), figsize=size, squeeze=False, sharex=True, sharey="row"
    )
    for row, limit in zip(grid, limits):
        for axes, quality in zip(row, qualities):
            panel = terms[(terms["limit"] == limit) & (terms["quality"] == quality)]
            waterfall(axes, panel)
            axes.set_title(f"quality {quality}", fontsize=9)
        row[0].set_ylabel(f"to “{limit}”, bit/pixel\n({meaning(panel['kind'].iloc[0])})")
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
    figure, grid = plt.subplots(
        1, len(components), figsize=(4.2 * len(components), 3.4), squeeze=False
    )
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
        axes.legend(frameon=False, fontsize=8)
    return figure


FIGURES = {
    "bounds": (bounds, "points"),
    "decomposition": (decomposition, "decomposition"),
    "gaps": (gaps, "gaps"),
}
"""Figures by name: what draws each, and from which table."""
