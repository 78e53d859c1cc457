"""How the page and the figures look: colours, lines and markers, and what a kind is called.

Colours are Okabe and Ito's, safe for colour-blind readers; what a curve may be called
(SCIENCE.md, section 5) shows in line and marker too, so that a genie never looks like a bound.
"""

from __future__ import annotations

from rdpipe.core.axes import GENIE

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#3A7FA8", "#E69F00", "#000000")
GREYS = ("#5a5a5a", "#7a7a7a", "#9a9a9a")
STYLES = {
    "achieved": {"linestyle": "-", "marker": "o"},
    "achievable": {"linestyle": "--", "marker": "s"},
    "upper bound on R(D)": {"linestyle": "-.", "marker": "^"},
    "genie-aided estimate": {"linestyle": ":", "marker": "D", "markerfacecolor": "white"},
    "reference": {"linestyle": (0, (5, 1, 1, 1)), "marker": "x"},
}
"""Line and marker of each kind of curve, as Matplotlib has them."""
WEB_STYLES = {
    "achieved": {"dash": "solid", "symbol": "circle"},
    "achievable": {"dash": "dash", "symbol": "square"},
    "upper bound on R(D)": {"dash": "dashdot", "symbol": "triangle-up"},
    "genie-aided estimate": {"dash": "dot", "symbol": "diamond-open"},
    "reference": {"dash": "longdashdot", "symbol": "x-thin-open"},
}
"""The same, as Plotly has them."""
CLIP = 99.8
"""Percentile of the values of a map at which its colours end."""
SHOWN = 24
"""Images of a data set that a page shows, its first ones: all of Kodak."""
SINGLE, DOUBLE = 3.5, 7.16
"""Width of one column of a paper, and of two, inches."""
LOOK = {
    "figure.dpi": 300,  # of PNGs, and of the layout that all formats share
    "svg.hashsalt": "rdpipe",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
}


def meaning(kind: str) -> str:
    """A kind, with the warning that belongs to it."""
    return f"{kind}, not a bound" if kind == GENIE else kind


def colour_curves(curves: list[tuple[str, str, str]]) -> list[str]:
    """Colours of curves of one data set and codec: the codec's own black, other codecs grey.

    Parameters
    ----------
    curves : list of (codec, curve, kind)
        ``codec`` is empty for those that are not of the codec.
    """
    colours, ours, others = [], 0, 0
    for codec, name, kind in curves:
        if name == "codec":
            colours.append("#000000")
        elif codec == "" or kind == "reference":
            colours.append(GREYS[others % len(GREYS)])
            others += 1
        else:
            colours.append(COLOURS[ours % len(COLOURS)])
            ours += 1
    return colours
