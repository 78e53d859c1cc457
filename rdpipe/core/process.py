"""Threads and memory of the running process."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables from which numerical libraries read their number of threads."""
USAGE_MESSAGE = "time: {:.1f} s, of the processor: {:.1f} s, peak memory: {} MiB"
"""Last line that a successful job writes to its log."""
USAGE_PATTERN = r"^time: ([0-9.]+) s, of the processor: [0-9.]+ s, peak memory: ([0-9]+) MiB$"
"""Regular expression of that line; its groups are the wall-clock time and the peak memory."""
TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of ``mallopt`` in glibc."""


def limit_threads(count: int) -> None:
    """Set the number of threads of PyTorch and of numerical libraries that are loaded later.

    The last bits of a sum depend on the number of threads. The function sets the number directly in
    PyTorch if that is already loaded; libraries that are loaded later, and child processes, read it
    from the environment.
    """
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


@contextmanager
def single_thread() -> Iterator[None]:
    """Run PyTorch on one thread inside the block, as every job of the workflow does."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_memory() -> int:
    """Return the peak memory of this process, or of a child it has waited for, in bytes.

    On Linux ``ru_maxrss`` includes memory from before this program was loaded; ``VmHWM`` does not.
    """
    status = Path("/proc/self/status")
    peak_line = re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.exists() else "")
    peaks = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    if peak_line:
        peaks[0] = int(peak_line[1])
    return max(peaks) * (1 if sys.platform == "darwin" else 1024)


def usage_message(seconds: float) -> str:
    """Return the line on what this process, and children that it waited for, have used.

    Parameters
    ----------
    seconds : float
        Wall-clock time.
    """
    times = os.times()
    processor = times.user + times.system + times.children_user + times.children_system
    return USAGE_MESSAGE.format(seconds, processor, peak_memory() >> 20)


def retain_freed_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system.

    glibc maps every large block again and the system clears its pages, which costs a stage with
    large, short-lived tensors a tenth of its time. Other C libraries are left unchanged.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)  # never trim
