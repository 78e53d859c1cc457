"""The error that a user can correct, and the description of any other in one line."""

import sys
import sysconfig
import traceback
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

LONGEST = 200
"""Number of characters of an error message that are shown."""
PACKAGE = Path(__file__).parents[1]
"""Folder of rdpipe."""
LIBRARIES = {"site-packages", "dist-packages"}
"""Names of the folders of installed libraries."""
GENERATED = ("<frozen ", "<string>")
"""How names of files begin that do not exist: the import system, and methods of dataclasses."""
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
DEPENDENCIES = {
    *("rdpipe", "compressai", "constriction", "imagecodecs", "msgspec", "numpy", "pandas", "PIL"),
    *("pytorch_msssim", "scipy", "skimage", "torch", "torchvision", "xarray", "zarr"),
}
"""Packages that rdpipe calls: an error in them may be rdpipe's fault."""
_of_user: set[Path] = set()
"""Folders of packages, and modules, that the user names."""


class InputError(ValueError):
    """An invalid input.

    The message names the invalid value and the allowed ones. The command line prints the message
    alone, without a traceback, and ends with status 2.
    """


def describe(error: BaseException) -> str:
    """Return the type of an error, its message and the line of the user's code, in one line.

    If the user's code has no part in it, the line is that of the library that raised it. An error
    of rdpipe has none.
    """
    frames = _frames(error)
    place = user_line(error) or (frames[-1] if frames else None)
    message = " ".join(str(error).split())
    if len(message) > LONGEST:
        message = message[:LONGEST] + "..."
    where = f" ({Path(place.filename).name}, line {place.lineno})" if place else ""
    return f"{type(error).__name__}: {message}{where}"


def attribute_to_user(module: str) -> None:
    """Let a module that the user names, and the rest of its package, be the user's code.

    It may be an installed package, but none that rdpipe itself depends on. Packages without
    ``__init__.py`` may be shared with others, so only the part that is named is the user's.
    """
    names = module.split(".")
    if names[0] in sys.stdlib_module_names or names[0] in DEPENDENCIES:
        return
    for name in accumulate(names, "{}.{}".format):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            return
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            _of_user.add(file.parent if spec.submodule_search_locations else file)
            return


def user_line(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost line of an error that is neither in rdpipe nor in a library."""
    lines = [frame for frame in _frames(error) if not _is_in_library(frame)]
    return lines[-1] if lines else None


def is_of_user(error: BaseException) -> bool:
    """Return whether the user's code, or a library that it called, raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    ours_or_users = [frame for frame in frames if _is_ours(frame) or not _is_in_library(frame)]
    return bool(ours_or_users) and not _is_ours(ours_or_users[-1])


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the lines of an error that are not in rdpipe, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not _is_ours(frame)]


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return PACKAGE in Path(frame.filename).parents


def _is_in_library(frame: traceback.FrameSummary) -> bool:
    file = Path(frame.filename)
    if not _of_user.isdisjoint((file, *file.parents)):
        return False
    generated = frame.filename.startswith(GENERATED)
    return generated or bool(LIBRARIES & set(file.parts)) or STANDARD_LIBRARY in file.parents
