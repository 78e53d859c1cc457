"""What the C library does with memory that is freed, and the most that a process had."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from pathlib import Path

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``."""


def keep_freed() -> None:
    """Let what is freed be used again, rather than go back to the system.

    glibc maps every large block anew and the system clears each of its pages, which costs a stage whose
    tensors are large and short-lived a tenth of its time. Elsewhere than on glibc nothing
    is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)  # never


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
