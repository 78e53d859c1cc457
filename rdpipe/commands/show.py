"""Print the answer of a run: rate, PSNR, and the ladder without rungs that change nothing.

The workflow ends with it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rdpipe.core.kinds import CurveRole
from rdpipe.report.dominant_text import dominant_sentences
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
    runs = read_runs(results, ("ladder", "available", "image_points"))
    for (dataset, _), tables in runs.items():
        points = tables["points"]
        codec_points = points[points["role"] == CurveRole.CODEC]
        print(f"{tables['ladder']['codec_label'].iloc[0]} on {dataset}")
        warnings = (f"Warning: {text}" for text in dominant_sentences(tables["image_points"]))
        lines = answer_lines(codec_points, tables["ladder"], tables["available"])
        print(*lines, *warnings, "", sep="\n")
    if (page := results / "report.html").is_file():
        written = datetime.fromtimestamp(page.stat().st_mtime).isoformat(" ", "seconds")
        print(f"report: {page.absolute()} (written {written})")
