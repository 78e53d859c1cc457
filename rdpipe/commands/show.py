"""Print the answer of a run: rate, PSNR, and the ladder without rungs that change nothing."""

from __future__ import annotations

from pathlib import Path

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import CurveRole
from rdpipe.io import store
from rdpipe.report.terminal import answer_lines

BOUNDS = "bounds.zarr.zip"
"""The store of a run that has the tables."""


def run(results: Path, /) -> None:
    """Print the answer of a run in the terminal.

    Parameters
    ----------
    results : Path
        Folder of the results of a run, such as ``results``.

    Raises
    ------
    InputError
        If the folder has no results.
    """
    bounds = results / BOUNDS
    if not bounds.is_file():
        what = f"has no {BOUNDS}" if results.is_dir() else "is not a folder"
        raise InputError(f"{results} {what}; expected the folder of the results of a finished run")
    tables = {
        name: store.read(bounds, name).to_dataframe() for name in ("points", "ladder", "available")
    }
    codecs = tables["points"]["role"] == CurveRole.CODEC
    keys = ["dataset", "codec"]
    for (dataset, codec), points in tables["points"][codecs].groupby(keys, sort=False):
        ladder, available = (
            table[(table["dataset"] == dataset) & (table["codec"] == codec)]
            for table in (tables["ladder"], tables["available"])
        )
        print(f"{codec} on {dataset}")
        print(*answer_lines(points, ladder, available), "", sep="\n")
    if (page := results / "report.html").is_file():
        print(f"page: {page}")
