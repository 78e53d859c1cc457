"""Run time and peak memory of the jobs of each stage."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdpipe.core.process import PEAK_MESSAGE


def stage_times(benchmarks: Path, logs: Path) -> list[dict[str, Any]]:
    """Return run time and peak memory of each stage, from benchmarks and logs of its jobs.

    Snakemake adds the memory of the processes of a job, but samples it at intervals, so it misses
    short peaks. A job itself logs the peak of its largest process. The larger value counts.

    Parameters
    ----------
    benchmarks, logs : Path
        Folders of ``STAGE/**/*.jsonl``, and of logs with the same names.

    Returns
    -------
    list of dict
        ``stage``; number of ``jobs``; ``seconds`` of all jobs; ``longest`` job, seconds; and peak
        ``memory`` of a job, MiB.
    """
    jobs: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(benchmarks.rglob("*.jsonl")):
        name = file.relative_to(benchmarks).with_suffix("")
        for line in file.read_text().splitlines()[-1:]:
            record = json.loads(line)
            memory = max(_number(record, "max_rss"), _logged_peak(logs / f"{name}.log"))
            jobs.setdefault(name.parts[0], []).append((_number(record, "s"), memory))
    return [
        {
            "stage": stage,
            "jobs": len(records),
            "seconds": sum(seconds for seconds, _ in records),
            "longest": max(seconds for seconds, _ in records),
            "memory": max(memory for _, memory in records),
        }
        for stage, records in jobs.items()
    ]


def _number(record: Mapping[str, Any], key: str) -> float:
    """Return a number of a benchmark; 0 if a short job has none."""
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _logged_peak(log: Path) -> float:
    """Return the largest peak that the processes of a job logged, MiB; 0 if there is none."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    peaks = re.findall(f"^{PEAK_MESSAGE.format('([0-9]+)')}$", text, re.MULTILINE)
    return max(map(float, peaks), default=0.0)
