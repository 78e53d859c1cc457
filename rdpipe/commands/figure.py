"""Draw a figure of a finished run again, for a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically
from rdpipe.report.answer import common_measure
from rdpipe.report.draw_steps import step_gains
from rdpipe.report.figures import COMPARISONS, DETAILS, render
from rdpipe.report.labels import with_labels
from rdpipe.report.run_tables import Tables, read_labels, read_runs
from rdpipe.report.savings import savings
from rdpipe.report.style import DOUBLE, FONTS, LOOK, WIDTHS

DRAWN = ("answer", "bounds", "savings", *COMPARISONS)
"""The figures that need nothing but the tables of ``trace_bounds``."""
KNOWN = (*DRAWN, *DETAILS)
"""All figures."""
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
        ``answer``, ``bounds``, ``savings``; ``steps``, what refined latents save over the number of
        steps; or of several codecs: ``compare`` and ``terms``.
    preset : str
        Width: ``iclr`` or ``neurips`` (5.5 inches), ``ieee`` (one column) or ``ieee-double``.
    font : str
        ``sans`` or ``serif``.
    outlined : bool
        In SVG, draw text as paths, which need no font. PDF embeds its fonts.
    curves : str
        Curves besides the codec's own, separated by commas; NAME=LABEL gives one another name than
        the config. All curves if it is empty.
    codec : str
        Name of the codec; the first one if it is empty. For figures of several codecs, names
        separated by commas; all codecs if it is empty.
    dataset : str
        Name of the dataset; needed if the codecs were measured on several.

    Raises
    ------
    InputError
        If a name is not known, or the dataset is needed; lists the known ones.
    """
    suffix = out.suffix[1:]
    choices = (("figure", figure, KNOWN), ("preset", preset, WIDTHS), ("font", font, FONTS))
    for what, name, known in (*choices, ("suffix", suffix, FORMATS)):
        check(what, name, known)
    tables = chosen_tables(results, figure, codec, dataset)
    names = curve_labels(tables["points"], curves)
    for name in ("points", "image_points"):  # a published curve has no points of images
        tables[name] = chosen(tables[name], names)
    if figure == "steps":
        measure = common_measure(tables["ladder"])
        tables["steps"] = step_gains(results, tables["bd_rates"], measure)
    if figure == "savings":
        tables["savings"] = savings(tables["points"], tables["image_points"])
    labels = {name: label for name, label in names.items() if label}
    tables = with_labels(tables, {**read_labels(results), **labels})
    scale = {"figure.figsize": (WIDTHS[preset], 3.0 * WIDTHS[preset] / DOUBLE)}
    look = {**LOOK, **scale, **FONTS[font]} | ({"svg.fonttype": "path"} if outlined else {})
    content = render(figure, [suffix], tables, look)[suffix]
    write_atomically(out, lambda temporary: temporary.write_bytes(content))
    print(f"wrote {out}")


def chosen_tables(results: Path, figure: str, codec: str, dataset: str) -> Tables:
    """Return the tables of the codecs and the dataset that a figure shows.

    Says which codec was chosen if there are several and none is given.
    """
    names = ("ladder", "image_points", *(["bd_rates"] if figure in DETAILS else []))
    runs = read_runs(results, names)
    known = list(dict.fromkeys(name for _, name in runs))
    if figure in COMPARISONS:
        codecs = codec.split(",") if codec else known
    else:
        codecs = [codec or known[0]]
        if not codec and len(known) > 1:
            print(f"{known[0]} is drawn; choose with --codec, one of: {', '.join(known)}")
    for name in codecs:
        check("codec", name, known)
    datasets = list(dict.fromkeys(name for name, other in runs if other in codecs))
    if len(datasets) > 1 and not dataset:
        raise InputError(
            f"{', '.join(map(repr, codecs))} measured on several datasets; expected --dataset with"
            f" one of: {', '.join(datasets)}"
        )
    dataset = dataset or datasets[0]
    check("dataset", dataset, datasets)
    selected = [runs[dataset, name] for name in codecs if (dataset, name) in runs]
    return {
        name: pd.concat([tables[name] for tables in selected]).drop_duplicates()
        for name in selected[0]
    }


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


def chosen(points: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the points of the codec and of some curves; of all curves without any."""
    return points[points["curve"].isin(names) | (points["role"] == "codec") | (not names)]
