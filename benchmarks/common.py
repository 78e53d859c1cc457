"""What all benchmarks share: A and B by turns, several rounds, median and spread."""

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

EMBEDDED = "the embedded sample photographs"


@dataclass
class Options:
    """Where the images are, how often to measure, and a folder for what is made on the way."""

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
    what, against : str
    aim : str
        ``<= 0.9`` or ``>= 1.4``.
    ratios : list of float
        One for each round.
    note : str
        What else was seen.
    """

    what: str
    against: str
    aim: str
    ratios: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        bound = float(self.aim[2:])
        return self.median <= bound if self.aim.startswith("<=") else self.median >= bound


def by_turns(rounds: int, first: Callable, second: Callable) -> list[tuple]:
    """What both return, measured one after the other, ``rounds`` times."""
    return [(first(), second()) for _ in range(rounds)]


def seconds(function: Callable, least: float = 0.5, calls: int = 3) -> float:
    """Least processor time of a call, of ``calls`` or as many as take ``least`` seconds, after one to warm up.

    Of the processor, not the clock: other processes take the clock's, and both sides have the same threads.
    """
    function()
    times = []
    while len(times) < calls or sum(times) < least:
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def command(*words, **options) -> tuple[float, float]:
    """Seconds of a command, on the clock and of processors; its output is shown where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **options)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return wall, sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime"))


def python(*words) -> tuple[float, float]:
    """The same of this interpreter on one thread."""
    return command(sys.executable, *words, env={**os.environ, "OMP_NUM_THREADS": "1"})


def files(folder: Path) -> list[Path]:
    """Images of a folder."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return found or sys.exit(f"{folder}: no images in there")
