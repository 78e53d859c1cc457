"""What a data set says about each of its images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """An image of a data set: a unique name, and the file it is in."""

    name: str
    file: str
