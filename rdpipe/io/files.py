"""Write a file completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, save: Callable[[Path], object]) -> None:
    """Write a temporary file and rename it into place.

    Parameters
    ----------
    path : Path
        The file to write. Its folder is created if it does not exist.
    save : callable
        Writes the file whose path it receives.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
