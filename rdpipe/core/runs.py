"""The identity of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import xarray as xr


class RunId(NamedTuple):
    """A codec at one quality on one dataset."""

    dataset: str
    codec: str
    quality: int

    @classmethod
    def from_coordinates(cls, table: xr.Dataset) -> RunId:
        """Return the run that the scalar coordinates of a store name."""
        return cls(*(table[field].item() for field in cls._fields))

    def coordinates(self) -> dict[str, str | int]:
        """Return the run as scalar coordinates of a store."""
        return self._asdict()
