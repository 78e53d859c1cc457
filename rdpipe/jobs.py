"""What jobs took: seconds and peak memory."""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path

PEAK = "peak memory: {} MiB"
"""What a job that succeeds writes to its log."""


def peak() -> int:
    """Most memory that this process had at a time, or one that it started and waited for; bytes.

    Linux counts in ``ru_maxrss`` what a process had before it became this program, so its share of the
    program that started it; ``VmHWM`` is of this program alone.
    """
    status = Path("/proc/self/status")
    own = re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.exists() else "")
    most = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    if own:
        most[0] = int(own[1])
    return max(most) * (1 if sys.platform == "darwin" else 1024)


def stage_times(benchmarks: Path, logs: Path) -> list[dict]:
    """How long each stage took and what it had of memory, from Snakemake's benchmarks and the jobs' logs.

    Snakemake adds up the processes of a job, but looks at them now and then, so that it misses a short
    peak; a job writes that of its largest process. The larger of the two counts.

    Parameters
    ----------
    benchmarks, logs : Path
        Folders of ``STAGE/**/*.jsonl`` and of logs of the same names.

    Returns
    -------
    list of dict
        ``stage``, ``jobs``, ``seconds`` in all, ``longest`` of a job and most ``memory``, MiB.
    """
    jobs: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(benchmarks.rglob("*.jsonl")):
        name = file.relative_to(benchmarks).with_suffix("")
        for line in file.read_text().splitlines()[-1:]:
            record = json.loads(line)
            memory = max(_number(record, "max_rss"), _peak(logs / f"{name}.log"))
            jobs.setdefault(name.parts[0], []).append((_number(record, "s"), memory))
    return [
        {"stage": stage, "jobs": len(done), "seconds": sum(seconds for seconds, _ in done),
         "longest": max(seconds for seconds, _ in done), "memory": max(memory for _, memory in done)}
        for stage, done in jobs.items()
    ]  # fmt: skip


def _number(record: dict, key: str) -> float:
    """A benchmark's number; 0 where a short job left none."""
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _peak(log: Path) -> float:
    """The largest peak that the processes of a job wrote to its log, MiB; 0 where they wrote none."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    said = re.findall(f"^{PEAK.format('([0-9]+)')}$", text, re.MULTILINE)
    return max(map(float, said), default=0.0)
