"""Published curves, with their sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rdpipe.errors import InputError
from rdpipe.plugins import nearest

COLUMNS = ("curve", "kind", "bpp", "psnr_db", "source")


def read(file: Path, names: list[str] | None = None) -> pd.DataFrame:
    """The rows of some curves of a table.

    Parameters
    ----------
    file : Path
        CSV with the columns ``COLUMNS``: a row for each point, bit/pixel and dB, both averaged over the
        images of a data set.
    names : list of str, optional
        Of the curves; all of them unless given.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If a column, a curve, a kind or a source is missing, or a number is not positive and finite.
    """
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{file}: no column {missing[0]!r}; wanted are {', '.join(COLUMNS)}")
    known = list(table["curve"].unique())
    for name in names or ():
        if name not in known:
            raise InputError(f"{file}: no curve {name!r}; {nearest(name, known)}")
    table = table[table["curve"].isin(known if names is None else names)]
    if not (bad := table[(table[["kind", "source"]] == "").any(axis=1)]).empty:
        raise InputError(f"{file}: a row of {bad.iloc[0]['curve']!r} has no kind or no source")
    for column in ("bpp", "psnr_db"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        if not (bad := table[~(np.isfinite(numbers) & (numbers > 0))]).empty:
            one = bad.iloc[0]
            raise InputError(
                f"{file}: {column} {one[column]!r} of {one['curve']!r} is no positive number"
            )
    return table.astype({"bpp": float, "psnr_db": float})
