"""Draw a figure of a finished run again, for a paper."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically
from rdpipe.report.figures import render
from rdpipe.report.run_tables import read_runs
from rdpipe.report.savings import savings
from rdpipe.report.style import DOUBLE, FONTS, LOOK, WIDTHS

DRAWN = ("answer", "bounds", "savings")
"""The figures that need nothing but the tables of ``trace_bounds``."""
FORMATS = ("pdf", "png", "svg")
"""Formats of figures."""


def run(
    results: Path,
    out: Path,
    /,
    figure: str = "answer",
    preset: str = "ieee-double",
    font: str = "sans",
    outlined: bool = False,
    curves: str = "",
    codec: str = "",
    dataset: str = "",
) -> None:
    """Draw a figure of a finished run for a paper.

    Parameters
    ----------
    results : Path
        Folder of the results of a run, such as ``results``.
    out : Path
        The figure to write; its suffix is pdf, svg or png.
    figure : str
        ``answer``, ``bounds`` or ``savings``.
    preset : str
        Width: ``iclr`` or ``neurips`` (5.5 inches), ``ieee`` (one column) or ``ieee-double``.
    font : str
        ``sans`` or ``serif``.
    outlined : bool
        In SVG, draw text as paths, which need no font. PDF embeds its fonts.
    curves : str
        Curves besides the codec's own, separated by commas; NAME=LABEL gives one another name. All
        curves if it is empty.
    codec : str
        Name of the codec; the first one if it is empty.
    dataset : str
        Name of the dataset; needed if the codec was measured on several.

    Raises
    ------
    InputError
        If a name is not known, or the dataset is needed; lists the known ones.
    """
    suffix = out.suffix[1:]
    choices = (("figure", figure, DRAWN), ("preset", preset, WIDTHS), ("font", font, FONTS))
    for what, name, known in (*choices, ("suffix", suffix, FORMATS)):
        check(what, name, known)
    runs = read_runs(results, ("ladder", "image_points"))
    codec = codec or next(iter(runs))[1]
    check("codec", codec, dict.fromkeys(name for _, name in runs))
    by_dataset = {name: tables for (name, other), tables in runs.items() if other == codec}
    if len(by_dataset) > 1 and not dataset:
        raise InputError(
            f"{codec!r} was measured on several datasets; expected --dataset with one of:"
            f" {', '.join(by_dataset)}"
        )
    dataset = dataset or next(iter(by_dataset))
    check("dataset", dataset, by_dataset)
    tables = by_dataset[dataset]
    labels = curve_labels(tables["points"], curves)
    for name in ("points", "image_points"):  # a published curve has no points of images
        tables[name] = chosen(tables[name], labels)
    tables["savings"] = savings(tables["points"], tables["image_points"])
    scale = {"figure.figsize": (WIDTHS[preset], 3.0 * WIDTHS[preset] / DOUBLE)}
    look = {**LOOK, **scale, **FONTS[font]} | ({"svg.fonttype": "path"} if outlined else {})
    content = render(figure, [suffix], tables, look)[suffix]
    write_atomically(out, lambda temporary: temporary.write_bytes(content))
    print(f"wrote {out}")


def check(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known.

    Raises
    ------
    InputError
        Lists the known names.
    """
    if name not in known:
        raise InputError(f"{name!r} is not a {what}; expected one of: {', '.join(known)}")


def curve_labels(points: pd.DataFrame, curves: str) -> dict[str, str]:
    """Return the labels in ``--curves`` by the names of the curves; empty for all curves.

    Raises
    ------
    InputError
        If there is no such curve.
    """
    labels = dict(curve.partition("=")[::2] for curve in curves.split(",")) if curves else {}
    for name in labels:
        check("curve", name, points["curve"].unique())
    return labels


def chosen(points: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """Return the points of the codec and of some curves, under their labels."""
    if not labels:
        return points
    selected = points[points["curve"].isin(labels) | (points["role"] == "codec")]
    return selected.replace({"curve": {name: label for name, label in labels.items() if label}})
