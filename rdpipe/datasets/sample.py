"""The photographs that are installed with scikit-image; no download is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rdpipe.core.errors import InputError
from rdpipe.datasets.source import Source

CALIBRATION_FILES = (
    "brick.png",
    "camera.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
)
FILES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def find() -> list[Source]:
    """Return five photographs of 451 x 300 to 741 x 500 pixels; the rocket is a JPEG file.

    Raises
    ------
    InputError
        If scikit-image is not installed.
    """
    return _installed_images(FILES)


def find_calibration() -> list[Source]:
    """Return nine other images, most of them gray, on which estimators can be fitted.

    Raises
    ------
    InputError
        If scikit-image is not installed.
    """
    return _installed_images(CALIBRATION_FILES)


def _installed_images(files: tuple[str, ...]) -> list[Source]:
    package = find_spec("skimage")  # without the slow import
    if package is None or package.origin is None:
        raise InputError("the sample photographs need scikit-image; install rdpipe[workflow]")
    folder = Path(package.origin).parent / "data"
    return [Source(Path(file).stem, str(folder / file)) for file in files]
