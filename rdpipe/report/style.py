"""Look of the page and the figures: colors, lines and markers, and the label of each kind of curve.

Readers with protanopia, deuteranopia or tritanopia can distinguish the colors: any two differ by a
CIEDE2000 of 15 or more, of 10 on a dark page (``tests/report/test_style.py``). Line and marker show
the kind of a curve, too, so a genie-aided estimate never looks like a bound. For the kinds see
``docs/explanation/science.md``, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rdpipe.core.kinds import BoundKind, CurveRole

TERM_COLORS = {
    "coder": "#7d4d4a",
    "prior": "#ababab",
    "side": "#807288",
    "variance": "#c12210",
    "context": "#cba815",
    "encoder": "#749468",
    "quantization": "#0050a0",
    "decoder": "#00b9f3",
    "transforms": "#4867ff",
}
"""Color of each term, on the page and in the figures."""
TOTAL = "#5a5a5a"
"""Color of a total, and of what belongs to no term or to several."""
LIGHTER = 0.3
"""Share of white that is mixed into a color on a dark page."""
COLORS = (
    "#0050a0",
    "#749468",
    "#c12210",
    "#cba815",
    "#4867ff",
    "#7d4d4a",
    "#00b9f3",
    "#807288",
)
"""Colors of the curves of a codec; neighbors differ in lightness, too."""
GRAYS = ("#5a5a5a", "#7a7a7a", "#9a9a9a")
"""Colors of baselines, known sources and published curves."""
STYLES: dict[BoundKind, dict[str, Any]] = {
    BoundKind.ACHIEVED: {"linestyle": "-", "marker": "o"},
    BoundKind.ACHIEVABLE: {"linestyle": "--", "marker": "s"},
    BoundKind.UPPER_BOUND: {"linestyle": "-.", "marker": "^"},
    BoundKind.GENIE_AIDED: {"linestyle": ":", "marker": "D", "markerfacecolor": "white"},
    BoundKind.REFERENCE: {"linestyle": (0, (5, 1, 1, 1)), "marker": "x"},
}
"""Line and marker of each kind of curve, for Matplotlib."""
WEB_STYLES: dict[BoundKind, dict[str, str]] = {
    BoundKind.ACHIEVED: {"dash": "solid", "symbol": "circle"},
    BoundKind.ACHIEVABLE: {"dash": "dash", "symbol": "square"},
    BoundKind.UPPER_BOUND: {"dash": "dashdot", "symbol": "triangle-up"},
    BoundKind.GENIE_AIDED: {"dash": "dot", "symbol": "diamond-open"},
    BoundKind.REFERENCE: {"dash": "longdashdot", "symbol": "x-thin-open"},
}
"""Line and marker of each kind of curve, for Plotly."""
CLIP = 99.8
"""Percentile of the values of a map at which its colors end."""
SHOWN = 24
"""Number of images of a dataset that the page shows, the first ones: all of Kodak."""
SINGLE, DOUBLE = 3.5, 7.16
"""Width of one and of two columns of a paper, inches."""
WIDTHS = {"iclr": 5.5, "neurips": 5.5, "ieee": SINGLE, "ieee-double": DOUBLE}
"""Width of a figure in each kind of paper, inches."""
FONTS: dict[str, dict[str, Any]] = {
    "sans": {},
    "serif": {"font.family": "serif", "mathtext.fontset": "dejavuserif"},
}
"""Settings of Matplotlib for each font."""
LOOK: dict[str, Any] = {
    "figure.figsize": (DOUBLE, 3.0),
    "figure.dpi": 300,  # of PNG files, and of the layout that all formats share
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
"""Settings of Matplotlib."""


def kind_label(kind: str) -> str:
    """Return the text for a kind, with the warning that belongs to it.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    known = BoundKind.parse(kind)
    return f"{known}, not a bound" if known is BoundKind.GENIE_AIDED else str(known)


def curve_colors(roles: Iterable[str]) -> list[str]:
    """Return the colors of the curves of one dataset and codec, by their role.

    The codec's own curve is black; baselines, known sources and published curves are gray.
    """
    colors, of_codec, grays = [], 0, 0
    for role in map(CurveRole.parse, roles):
        if role is CurveRole.CODEC:
            colors.append("#000000")
        elif role.belongs_to_codec:
            colors.append(COLORS[of_codec % len(COLORS)])
            of_codec += 1
        else:
            colors.append(GRAYS[grays % len(GRAYS)])
            grays += 1
    return colors
