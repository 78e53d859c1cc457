"""Published curves, with their sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rdpipe.io import compressai_json as results_json
from rdpipe.analysis.curves import Curve
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import suggest

COLUMNS = ("curve", "kind", "bpp", "psnr_db", "source")


def curves(
    wanted: dict[str, dict],
    files: list[Path],
    images: dict[str, tuple[np.ndarray, np.ndarray]],
    taken: set[tuple[str, str]],
) -> list[Curve]:
    """The published curves that are wanted of each data set.

    Parameters
    ----------
    wanted : dict
        Of each data set, ``tables`` (how many of the files are its own) and ``curves`` (names, or None
        for all).
    files : list of Path
        Their tables, data set after data set in the order of their names.
    images : dict
        Of each data set, pixels and names of its images.
    taken : set of (str, str)
        Data set and name of every measured curve; a published one of that name is called
        ``NAME (published)``.
    """
    found, files = [], list(files)
    for dataset, want in sorted(wanted.items()):
        tables, files = files[: want["tables"]], files[want["tables"] :]
        pixels, names = images[dataset]
        for name, rows in read(tables, want["curves"]).groupby("curve", sort=False):
            bits = pixels[:, None] * rows["bpp"].to_numpy()
            mse = np.tile(255**2 / 10 ** (rows["psnr_db"].to_numpy() / 10), (len(pixels), 1))
            source = "; ".join((rows["kind"] + ", " + rows["source"]).unique())
            points = list(range(len(rows))), bits, mse
            name = f"{name} (published)" if (dataset, name) in taken else name
            found.append(Curve(dataset, "", name, "reference", *points, pixels, names, source))
    return found


def read(files: list[Path], names: list[str] | None = None) -> pd.DataFrame:
    """The rows of some curves of some tables.

    Parameters
    ----------
    files : list of Path
        CSV with the columns ``COLUMNS``: a row for each point, bit/pixel and dB, both averaged over the
        images of a data set; or JSON of CompressAI's (:mod:`rdpipe.io.compressai_json`).
    names : list of str, optional
        Of the curves; all of them unless given.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If a column, a curve, a kind or a source is missing, two tables have a curve of the same name, or
        a number is not positive and finite.
    """
    tables = [check(file, table_of(Path(file))) for file in files]
    owner = {}
    for file, table in zip(files, tables):
        for name in table["curve"].unique():
            if name in owner:
                raise InputError(f"{owner[name]} and {file} both have a curve {name!r}")
            owner[name] = file
    for name in names or ():
        if name not in owner:
            raise InputError(f"{', '.join(map(str, files))}: no curve {name!r}; {suggest(name, owner)}")
    table = pd.concat(tables, ignore_index=True)
    return table[table["curve"].isin(list(owner) if names is None else names)]


def table_of(file: Path) -> pd.DataFrame:
    """One table as it stands, its numbers still text."""
    if file.suffix.lower() == ".json":
        name, description, bpp, psnr = results_json.read(file)
        kind, source = "published codec", ", ".join(filter(None, (description, file.name)))
        return pd.DataFrame(
            {"curve": name, "kind": kind, "bpp": bpp, "psnr_db": psnr, "source": source}
        )
    try:
        return pd.read_csv(file, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error


def check(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A table with numbers in it, if it has all that it must have."""
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{file}: no column {missing[0]!r}; wanted are {', '.join(COLUMNS)}")
    if not (bad := table[(table[["kind", "source"]] == "").any(axis=1)]).empty:
        raise InputError(f"{file}: a row of {bad.iloc[0]['curve']!r} has no kind or no source")
    for column in ("bpp", "psnr_db"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        if not (bad := table[~(np.isfinite(numbers) & (numbers > 0))]).empty:
            one = bad.iloc[0]
            raise InputError(
                f"{file}: {column} {one[column]!r} of {one['curve']!r} is no positive number"
            )
    return table[list(COLUMNS)].astype({"bpp": float, "psnr_db": float})
