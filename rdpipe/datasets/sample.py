"""The photographs that ship inside scikit-image: no network, no file of one's own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rdpipe.datasets.source import Source

CALIBRATION = ("brick.png", "camera.png", "clock_motion.png", "coins.png", "grass.png", "gravel.png",
               "hubble_deep_field.jpg", "ihc.png", "moon.png")  # fmt: skip
FILES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def find() -> list[Source]:
    """Five photographs between 451 x 300 and 741 x 500 pixels; the rocket is a JPEG."""
    return _shipped(FILES)


def find_calibration() -> list[Source]:
    """Nine other images, most of them grey, to fit estimators on."""
    return _shipped(CALIBRATION)


def _shipped(files: tuple[str, ...]) -> list[Source]:
    folder = Path(find_spec("skimage").origin).parent / "data"  # without the slow import
    return [Source(Path(file).stem, str(folder / file)) for file in files]
