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


def render(name: str, suffix: str, tables: dict[str, pd.DataFrame]) -> bytes:
    """A figure, or the table behind it, as the bytes of a file.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    suffix : {"svg", "pdf", "png", "csv"}
    tables : dict of DataFrame
        Those of :data:`FIGURES`, of one data set and codec.
    """
    draw, table = FIGURES[name]
    if suffix == "csv":
        return tables[table].to_csv(index=False, float_format="%.9g").encode()
    with matplotlib.rc_context(LOOK):
        figure = draw(tables[table])
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=300, metadata=METADATA[suffix])
        plt.close(figure)
    return buffer.getvalue()
