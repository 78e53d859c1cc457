"""The figures for a paper, as SVG, PDF and PNG, and the CSV behind each; the same tables give the same bytes."""

from __future__ import annotations

import io

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from rdpipe.report import draw_curves, draw_latents
from rdpipe.report.style import LOOK

matplotlib.use("Agg")

FIGURES = {
    "bounds": (draw_curves.bounds, "points"),
    "savings": (draw_curves.savings, "savings"),
    "decomposition": (draw_curves.decomposition, "decomposition"),
    "gaps": (draw_curves.gaps, "gaps"),
    "water": (draw_latents.water, "channels"),
    "calibration": (draw_latents.calibration, "calibration"),
    "residuals": (draw_latents.residuals, "residuals"),
    "maps": (draw_latents.maps, "maps"),
}
"""Figures by name: what draws each, and from which table."""
METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


def render(name: str, suffixes: list[str], tables: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    """A figure, drawn and laid out once, and the table behind it, as the bytes of files.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    suffixes : list of {"svg", "pdf", "png", "csv"}
    tables : dict of DataFrame
        Those of :data:`FIGURES`, of one data set and codec.

    Returns
    -------
    dict of bytes
        By suffix.
    """
    draw, table = FIGURES[name]
    with matplotlib.rc_context({**LOOK, "figure.constrained_layout.use": True}):
        figure = draw(tables[table])
        figure.get_layout_engine().execute(figure)
    files = {}
    with matplotlib.rc_context(LOOK):
        figure.set_layout_engine(None)  # else every file has it laid out anew, which takes as long again
        for suffix in suffixes:
            buffer = io.BytesIO()
            if suffix == "csv":
                tables[table].to_csv(buffer, index=False, float_format="%.9g")
            else:
                figure.savefig(buffer, format=suffix, metadata=METADATA[suffix])
            files[suffix] = buffer.getvalue()
    plt.close(figure)
    return files
