"""What the benchmarks share: alternating measurements, timing, and the figures of the table."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Options:
    """Options of a run.

    Parameters
    ----------
    images : Path
        Folder of the images.
    rounds : int
        Number of rounds of each measurement.
    work : Path
        Folder of temporary files.
    cores : int
        Number of cores of the workflow.
    config : Path
        Config of the workflow.
    """

    images: Path
    rounds: int
    work: Path
    cores: int
    config: Path


@dataclass
class Figure:
    """One line of the table.

    Parameters
    ----------
    name : str
        What is measured.
    reference : str
        What it is compared with.
    target : str
        A bound of the ratio, such as ``<= 0.9`` or ``>= 1.4``.
    ratios : list of float
        Measurement divided by reference, one per round.
    note : str
        Further results.
    """

    name: str
    reference: str
    target: str
    ratios: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        bound = float(self.target[2:])
        return self.median <= bound if self.target.startswith("<=") else self.median >= bound


def alternate(
    rounds: int, first: Callable[[], Any], second: Callable[[], Any]
) -> list[tuple[Any, Any]]:
    """Return the results of two functions that are called alternately, one pair per round."""
    return [(first(), second()) for _ in range(rounds)]


def processor_seconds(
    function: Callable[[], Any], least_seconds: float = 0.5, least_calls: int = 3
) -> float:
    """Return the least processor time of a call, after one call to warm up.

    The function is called at least ``least_calls`` times, and until all calls together have taken
    ``least_seconds``. Processor time is insensitive to other processes; both sides of a ratio use
    the same number of threads.
    """
    function()
    times: list[float] = []
    while len(times) < least_calls or sum(times) < least_seconds:
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def run_command(*words: object, **options: Any) -> tuple[float, float]:
    """Run a command; return its wall-clock seconds and its processor seconds.

    If it fails, its output is shown and the benchmarks end.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [str(word) for word in words]
    process = subprocess.run(command, capture_output=True, text=True, **options)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{process.stdout[-2000:]}\n{process.stderr[-4000:]}")
    return wall, sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime"))


def run_python(*words: object) -> tuple[float, float]:
    """Run this Python interpreter on one thread; see :func:`run_command`."""
    return run_command(sys.executable, *words, env={**os.environ, "OMP_NUM_THREADS": "1"})


def image_files(folder: Path) -> list[Path]:
    """Return the images below a folder, sorted."""
    suffixes = (".png", ".jpg", ".jpeg")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
    if not files:
        sys.exit(f"{folder}: no images in this folder")
    return files
