"""Print the answer of a run: rate, PSNR, and the ladder without rungs that change nothing."""

from __future__ import annotations

from pathlib import Path

from rdpipe.core.kinds import CurveRole
from rdpipe.report.run_tables import read_runs
from rdpipe.report.terminal import answer_lines


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
    for (dataset, codec), tables in read_runs(results, ("ladder", "available")).items():
        points = tables["points"]
        own = points[points["role"] == CurveRole.CODEC]
        print(f"{codec} on {dataset}")
        print(*answer_lines(own, tables["ladder"], tables["available"]), "", sep="\n")
    if (page := results / "report.html").is_file():
        print(f"page: {page}")
