"""Published curves, with their sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdpipe.analysis.curves import Curve
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.plugins import suggest
from rdpipe.core.specs import Spec
from rdpipe.io import compressai_json

COLUMNS = ("curve", "kind", "bpp", "psnr_db", "source")
"""Columns of a table; rate (bit/pixel) and PSNR are averages over the images of a dataset."""


class PublishedSpec(Spec, frozen=True, kw_only=True):
    """The published curves of one dataset.

    Parameters
    ----------
    tables : int
        Number of its tables.
    curves : list of str, optional
        Names of the curves; default: all.
    """

    tables: int
    curves: list[str] | None = None


def published_curves(
    requested: Mapping[str, PublishedSpec],
    files: Iterable[Path],
    images: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    measured: set[tuple[str, str]],
) -> list[Curve]:
    """Return the published curves of each dataset.

    Parameters
    ----------
    requested : mapping
        The requested curves, by dataset.
    files : iterable of Path
        The tables of all datasets, in the sorted order of the names of the datasets.
    images : mapping
        Number of pixels and names of the images, by dataset.
    measured : set of (str, str)
        Dataset and name of every measured curve. A published curve of the same name is called
        ``NAME (published)``.
    """
    remaining, curves = list(files), []
    for dataset, spec in sorted(requested.items()):
        tables, remaining = remaining[: spec.tables], remaining[spec.tables :]
        pixels, names = images[dataset]
        for name, rows in read_tables(tables, spec.curves).groupby("curve", sort=False):
            bits = pixels[:, None] * rows["bpp"].to_numpy()
            mse = np.tile(255**2 / 10 ** (rows["psnr_db"].to_numpy() / 10), (len(pixels), 1))
            source = "; ".join((rows["kind"] + ", " + rows["source"]).unique())
            points = list(range(len(rows))), bits, mse
            label = f"{name} (published)" if (dataset, name) in measured else str(name)
            labels = label, CurveRole.PUBLISHED, BoundKind.REFERENCE
            curves.append(Curve(dataset, "", *labels, *points, pixels, names, source))
    return curves


def read_tables(files: Sequence[Path], names: Sequence[str] | None = None) -> pd.DataFrame:
    """Read curves from tables.

    Parameters
    ----------
    files : sequence of Path
        CSV files with the columns ``COLUMNS`` and a row for each point, or JSON files in the format
        of CompressAI (:mod:`rdpipe.io.compressai_json`).
    names : sequence of str, optional
        Names of the curves; default: all.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If a column, a curve, a kind or a source is missing, two tables have a curve of the same
        name, or a number is not positive and finite.
    """
    tables = [check_table(file, read_table(Path(file))) for file in files]
    file_of: dict[str, Path] = {}
    for file, table in zip(files, tables, strict=True):
        for name in table["curve"].unique():
            if name in file_of:
                raise InputError(f"{file_of[name]} and {file} both have a curve {name!r}")
            file_of[name] = file
    for name in names or ():
        if name not in file_of:
            listed = ", ".join(map(str, files))
            raise InputError(f"{listed}: no curve {name!r}; {suggest(name, file_of)}")
    table = pd.concat(tables, ignore_index=True)
    return table[table["curve"].isin(list(file_of) if names is None else names)]


def read_table(file: Path) -> pd.DataFrame:
    """Read one table; the numbers of a CSV file remain text."""
    if file.suffix.lower() == ".json":
        name, description, bpp, psnr = compressai_json.read(file)
        source = ", ".join(filter(None, (description, file.name)))
        return pd.DataFrame(
            {
                "curve": name,
                "kind": "published codec",
                "bpp": bpp,
                "psnr_db": psnr,
                "source": source,
            }
        )
    try:
        return pd.read_csv(file, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error


def check_table(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with numbers, after checking that it is complete."""
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{file}: no column {missing[0]!r}; expected {', '.join(COLUMNS)}")
    if not (bad := table[(table[["kind", "source"]] == "").any(axis=1)]).empty:
        raise InputError(f"{file}: a row of {bad.iloc[0]['curve']!r} has no kind or no source")
    if (table["curve"] == "").any():
        raise InputError(f"{file}: a row has no name in the column 'curve'")
    for column in ("bpp", "psnr_db"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        if not (bad := table[~(np.isfinite(numbers) & (numbers > 0))]).empty:
            row = bad.iloc[0]
            raise InputError(
                f"{file}: {column} {row[column]!r} of {row['curve']!r} is not a positive, finite"
                " number"
            )
    return table[list(COLUMNS)].astype({"bpp": float, "psnr_db": float})
