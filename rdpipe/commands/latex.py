"""Print the tables of a finished run in LaTeX."""

from __future__ import annotations

from pathlib import Path

from rdpipe.report.answer import common_measure
from rdpipe.report.latex import bd_rate_table, ladder_table
from rdpipe.report.run_tables import read_runs


def run(results: Path, /) -> None:
    """Print the ladder and the BD-rates of a run as LaTeX tables.

    Parameters
    ----------
    results : Path
        Folder of the results of a run, such as ``results``.

    Raises
    ------
    InputError
        If the folder has no results.
    """
    for (dataset, _), tables in read_runs(results, ("ladder", "bd_rates")).items():
        ladder = tables["ladder"]
        codec = ladder["codec_label"].iloc[0]
        for limit in ladder["limit"].unique():
            print(f"% {codec} on {dataset}, to {limit}")
            print(ladder_table(ladder[ladder["limit"] == limit]), "", sep="\n")
        print(f"% {codec} on {dataset}")
        print(bd_rate_table(tables["bd_rates"], common_measure(ladder)), "", sep="\n")
