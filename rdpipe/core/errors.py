"""The error that a user can correct, and the description of any other in one line."""

import sysconfig
import traceback
from pathlib import Path

LONGEST = 200
"""Number of characters of an error message that are shown."""
PACKAGE = Path(__file__).parents[1]
"""Folder of rdpipe."""
LIBRARIES = {"site-packages", "dist-packages"}
"""Names of the folders of installed libraries."""
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


class InputError(ValueError):
    """An invalid input.

    The message names the invalid value and the allowed ones. The command line prints the message
    alone, without a traceback, and ends with status 2.
    """


def describe(error: BaseException) -> str:
    """Return the type of an error, its message and the line of the user's code, in one line.

    The line is the innermost one that is neither in rdpipe nor in a library. Without one, it is
    that of the library; an error of rdpipe's own has none.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_own(f)]
    place = [f for f in frames if not _is_in_library(f)] or frames
    message = " ".join(str(error).split())
    if len(message) > LONGEST:
        message = message[:LONGEST] + "..."
    where = f" ({Path(place[-1].filename).name}, line {place[-1].lineno})" if place else ""
    return f"{type(error).__name__}: {message}{where}"


def _is_own(frame: traceback.FrameSummary) -> bool:
    return PACKAGE in Path(frame.filename).parents


def _is_in_library(frame: traceback.FrameSummary) -> bool:
    file = Path(frame.filename)
    return bool(LIBRARIES & set(file.parts)) or STANDARD_LIBRARY in file.parents
