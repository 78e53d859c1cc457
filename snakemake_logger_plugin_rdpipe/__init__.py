"""Progress of a run, one line for each finished job: a logger plug-in of Snakemake.

Snakemake finds this package by its name. ``rdpipe run`` requests it by ``--logger rdpipe``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

TARGETS = {"all", "everything"}
"""Rules that run nothing."""
SHOWN = ("Nothing to be done", "Creating conda environment", "Downloading and installing")
"""Beginnings of the messages without an event that are shown."""
RESTART = r"Trying to restart job (\d+)\."
"""The message that a failed job is run once more."""
LOG_FILE = "Complete log(s): "
"""Beginning of the message with the path of Snakemake's complete log."""


class Job(NamedTuple):
    """A job that runs."""

    rule: str
    label: str
    start: float


class LogHandler(LogHandlerBase):
    """Handler that prints progress; it leaves dry runs and verbose runs to Snakemake's own."""

    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Start with no job."""
        self.progress = Progress()

    @property
    def writes_to_stream(self) -> bool:
        """Whether this handler replaces Snakemake's."""
        settings = self.common_settings
        flags = ("dryrun", "printshellcmds", "verbose", "debug_dag")
        return not any(getattr(settings, flag) for flag in flags)

    def emit(self, record: logging.LogRecord) -> None:
        """Print what is said about an event, if anything."""
        if not self.writes_to_stream:
            return
        try:
            for line in self.progress.lines(record):
                print(line, file=sys.stderr, flush=True)
        except Exception:  # the thread of the log must go on
            self.handleError(record)


class Progress:
    """What has finished, what waits, and how long jobs of each rule took, in seconds."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.total = 0
        self.running: dict[int, Job] = {}
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.start: float | None = None
        self.has_failed = False
        self.grouped: set[int] = set()

    def lines(self, record: Any) -> Iterator[str]:
        """Yield the lines that are shown for a record of Snakemake's log."""
        match getattr(record, "event", None):
            case LogEvent.RUN_INFO:
                yield from self.plan(record.stats)
            case LogEvent.JOB_INFO:
                label = job_label(record.rule_name, record.wildcards)
                self.running[record.jobid] = Job(record.rule_name, label, record.created)
                self.start = self.start or record.created
            case LogEvent.JOB_FINISHED:
                yield from self.finish(self.running.pop(record.job_id), record.created)
            case LogEvent.GROUP_ERROR:
                yield from self.fail_group([info["jobid"] for info in record.job_error_info])
            case LogEvent.JOB_ERROR if record.jobid in self.grouped:
                pass  # it may have succeeded
            case LogEvent.JOB_ERROR:
                self.has_failed = True
                yield f"FAILED {self.running[record.jobid].label}: {last_line(record.log)}"
            case _:
                yield from self.message(record)

    def fail_group(self, jobs: list[int]) -> Iterator[str]:
        """Yield the line of a group of jobs, of which Snakemake does not know which has failed."""
        self.has_failed = True
        self.grouped.update(jobs)
        labels = [self.running[job].label for job in jobs if job in self.running]
        yield f"FAILED one of {len(jobs)} jobs of a group: {'; '.join(labels)} (see their logs)"

    def plan(self, stats: Mapping[str, int]) -> Iterator[str]:
        """Yield the number of jobs; the counts are by rule, with their total."""
        self.waiting.update(
            {rule: n for rule, n in stats.items() if rule not in {*TARGETS, "total"}}
        )
        self.total = self.waiting.total()
        yield f"{self.total} job{'s' * (self.total != 1)}"

    def finish(self, job: Job, now: float) -> Iterator[str]:
        """Yield the line of a finished job."""
        if job.rule in TARGETS:
            return
        self.waiting[job.rule] -= 1
        self.times[job.rule].append(now - job.start)
        done = self.total - self.waiting.total()
        left = self.seconds_left(now)
        end = "" if left is None else f", about {clock(left)} left"
        yield f"{done}/{self.total} {job.label} {clock(now - job.start)}{end}"

    def seconds_left(self, now: float) -> float | None:
        """Return the time until the end, if jobs take as long as others of their rule.

        As many run at once as did so far. Rules of which none has finished take the mean time; None
        if they have most of the jobs, or if nothing is left.
        """
        known = sum(count for rule, count in self.waiting.items() if rule in self.times)
        if known <= self.waiting.total() / 2:
            return None
        finished = [time for times in self.times.values() for time in times]
        work = sum(
            count * mean(self.times.get(rule, finished)) for rule, count in self.waiting.items()
        )
        at_once = sum(finished) / max(now - (self.start or now), 1e-3)
        return work / max(at_once, 1e-3)

    def message(self, record: Any) -> Iterator[str]:
        """Yield a message of another kind: warnings, errors, and what the user waits for."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            if "CalledProcessError" not in text:  # the event of its job says what failed
                yield text
        elif restarted := re.fullmatch(RESTART, text):
            yield f"trying again: {self.running[int(restarted[1])].label}"
        elif text.startswith(SHOWN) or (self.has_failed and text.startswith(LOG_FILE)):
            yield text


def job_label(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return the name of a job: its rule and what it is run on."""
    shown = {"quality": "q{}", "shard": "shard {}"}
    words = [
        shown.get(name, "{}").format(value)
        for name, value in wildcards.items()
        if (name, value) != ("shard", "0")  # most data sets have one
    ]
    return " ".join([rule, *words])


def last_line(logs: list[str]) -> str:
    """Return the last line of the log of a job, with the path of the log."""
    if not logs:
        return "it has no log"
    file = Path(logs[0])
    lines = file.read_text(errors="replace").split("\n") if file.is_file() else []
    written = [line.strip() for line in lines if line.strip()]
    return f"{written[-1] if written else 'it wrote nothing'} ({file})"


def clock(seconds: float) -> str:
    """Return a time as ``12 s``, ``2:10`` or ``1:02:10``.

    Examples
    --------
    >>> clock(11.6), clock(130), clock(3730)
    ('12 s', '2:10', '1:02:10')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def mean(values: list[float]) -> float:
    """Return the mean of some values."""
    return sum(values) / len(values)
