"""Run time and peak memory of the jobs of each stage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rdpipe.core.process import USAGE_PATTERN


def stage_times(logs: Path) -> list[dict[str, Any]]:
    """Return run time and peak memory of each stage, from the logs of its jobs.

    Parameters
    ----------
    logs : Path
        Folder of ``STAGE/**/*.log``. A job that has succeeded ends its log with its usage; several
        processes of one training each write it.

    Returns
    -------
    list of dict
        ``stage``; number of ``jobs``; ``seconds`` of all jobs; ``longest`` job, seconds; and peak
        ``memory`` of a process, MiB.
    """
    jobs: dict[str, list[tuple[float, int]]] = {}
    for log in sorted(logs.rglob("*.log")):
        matches = re.findall(USAGE_PATTERN, log.read_text(errors="replace"), re.MULTILINE)
        if matches:
            seconds, memory = zip(*matches, strict=True)
            usage = max(map(float, seconds)), max(map(int, memory))
            jobs.setdefault(log.relative_to(logs).with_suffix("").parts[0], []).append(usage)
    return [
        {
            "stage": stage,
            "jobs": len(usages),
            "seconds": sum(seconds for seconds, _ in usages),
            "longest": max(seconds for seconds, _ in usages),
            "memory": max(memory for _, memory in usages),
        }
        for stage, usages in jobs.items()
    ]
