"""What jobs took: seconds and peak memory."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rdpipe.core.process import PEAK_MESSAGE

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
    said = re.findall(f"^{PEAK_MESSAGE.format('([0-9]+)')}$", text, re.MULTILINE)
    return max(map(float, said), default=0.0)
