"""Attempts of a job: Snakemake tries every failed job again, whatever its error was.

The first attempt leaves a note beside its output if no other attempt in the same run can help::

    attempt 1    rdpipe STAGE: CUDA out of memory; ...               .OUTPUT.failed
    attempt 2    rdpipe STAGE: CUDA out of memory; ...; not tried again
    next run     the job runs
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rdpipe.core.device import memory_message
from rdpipe.core.errors import InputError

RUN = "RDPIPE_RUN"
"""Environment variable with the identifier of the run of the workflow that started a job."""


@contextmanager
def once_if_hopeless(out: Path | Sequence[Path] | None) -> Iterator[None]:
    """Refuse the block if it has exhausted the memory of a card in this run of the workflow before.

    Jobs that a user starts, and those that share a card, have no run.

    Parameters
    ----------
    out : Path or sequence of Path, optional
        Outputs of the job; the note is beside the first.

    Raises
    ------
    InputError
        If it has.
    """
    run = os.environ.get(RUN)
    if not out or not run:
        yield
        return
    first = out if isinstance(out, Path) else out[0]
    note = first.with_name(f".{first.name}.failed")
    if note.exists():
        of_run, _, earlier = note.read_text().partition("\n")
        if of_run == run:
            raise InputError(f"{earlier}; not tried again")
        note.unlink()
    try:
        yield
    except RuntimeError as error:
        if message := memory_message(error):
            note.write_text(f"{run}\n{message}")
        raise
