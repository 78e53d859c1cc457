"""Tables of a finished run, for commands that show or draw them again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import CurveRole
from rdpipe.io import store
from rdpipe.report.labels import NO_LABELS, Labels, with_labels

BOUNDS = "bounds.zarr.zip"
"""The store of a run that has the tables."""
LABELS = "labels.json"
"""The file of a run that has the labels of its config."""
SHARED = (CurveRole.BASELINE, CurveRole.PUBLISHED)
"""Roles of curves that all codecs of a dataset share."""
Tables = dict[str, pd.DataFrame]
"""Tables by name."""


def read_runs(results: Path, names: Iterable[str]) -> dict[tuple[str, str], Tables]:
    """Return the tables of each analyzed codec, by dataset and codec.

    Parameters
    ----------
    results : Path
        Folder of the results of a run.
    names : iterable of str
        Groups of the store of ``trace_bounds``; points of shared curves are those of every codec.
        Curves have a ``label``, which the config of the run may state.

    Raises
    ------
    InputError
        If the folder has no results.
    """
    bounds = results / BOUNDS
    if not bounds.is_file():
        what = f"has no {BOUNDS}" if results.is_dir() else "is not a folder"
        raise InputError(f"{results} {what}; expected the folder of the results of a finished run")
    tables = {name: store.read(bounds, name).to_dataframe() for name in ("points", *names)}
    points = tables["points"]
    runs = points[points["role"] == CurveRole.CODEC][["dataset", "codec"]].drop_duplicates()
    labels = read_labels(results)
    return {
        (dataset, codec): select_run(tables, dataset, codec, labels)
        for dataset, codec in runs.itertuples(index=False)
    }


def read_labels(results: Path) -> Labels:
    """Return the labels in the config of a run; none before its report is made.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    file = results / LABELS
    if not file.is_file():
        return NO_LABELS
    try:
        labels: Labels = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: {error}; delete it and run the workflow again") from error
    return labels


def select_run(tables: Tables, dataset: str, codec: str, labels: Labels = NO_LABELS) -> Tables:
    """Return the rows of one codec, and of the curves that all codecs of the dataset share.

    Curves have their ``label``.
    """
    selected = {}
    for name, table in tables.items():
        rows = table["codec"] == codec
        if "role" in table:
            rows |= table["role"].isin(SHARED) & (table["codec"] == "")
        selected[name] = table[(table["dataset"] == dataset) & rows]
    return with_labels(selected, labels)
