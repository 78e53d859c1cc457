"""Figures for a paper, as SVG, PDF and PNG, and their data as CSV.

The same tables give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from rdpipe.report import (
    draw_answer,
    draw_compare,
    draw_curves,
    draw_latents,
    draw_steps,
    draw_terms,
)
from rdpipe.report.style import LOOK

matplotlib.use("Agg")

FIGURES: dict[str, tuple[Any, ...]] = {
    "answer": (draw_answer.answer, "ladder", "points"),
    "bounds": (draw_curves.bounds, "points"),
    "savings": (draw_curves.savings, "savings"),
    "decomposition": (draw_curves.decomposition, "latent_decomposition"),
    "gaps": (draw_curves.gaps, "gaps"),
    "water": (draw_latents.water, "channels"),
    "calibration": (draw_latents.calibration, "calibration"),
    "residuals": (draw_latents.residuals, "residuals"),
    "maps": (draw_latents.maps, "maps"),
}
"""The function that draws each figure, and the names of its tables; CSV is the first one."""
COMPARISONS: dict[str, tuple[Any, ...]] = {
    "compare": (draw_compare.compare, "ladder", "points"),
    "terms": (draw_terms.terms, "ladder"),
}
"""The same for the figures of several codecs on one dataset."""
DETAILS: dict[str, tuple[Any, ...]] = {"steps": (draw_steps.steps, "steps")}
"""The same for figures of one codec that need stores besides those of the tables."""
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}
"""Metadata of each format, without what changes between runs."""


def render(
    name: str,
    suffixes: Sequence[str],
    tables: Mapping[str, pd.DataFrame],
    look: Mapping[str, Any] = LOOK,
) -> dict[str, bytes]:
    """Return the content of the files of a figure, which is drawn once.

    Parameters
    ----------
    name : str
        A name in :data:`FIGURES`, :data:`COMPARISONS` or :data:`DETAILS`.
    suffixes : sequence of {"svg", "pdf", "png", "csv"}
    tables : mapping of str to DataFrame
        Tables of one dataset, and of one codec or several, by the names beside the figure.
    look : mapping
        Settings of Matplotlib.

    Returns
    -------
    dict of str to bytes
        Content by suffix.
    """
    draw, *names = (FIGURES | COMPARISONS | DETAILS)[name]
    with matplotlib.rc_context({**look, "figure.constrained_layout.use": True}):
        figure = draw(*(tables[table] for table in names))
        if layout := figure.get_layout_engine():
            layout.execute(figure)
    files = {}
    with matplotlib.rc_context(dict(look)):
        figure.set_layout_engine(None)  # otherwise each file computes the layout again
        for suffix in suffixes:
            buffer = io.BytesIO()
            if suffix == "csv":
                tables[names[0]].to_csv(buffer, index=False, float_format="%.9g")
            else:
                figure.savefig(buffer, format=suffix, metadata=METADATA[suffix])
            files[suffix] = buffer.getvalue()
    plt.close(figure)
    return files
