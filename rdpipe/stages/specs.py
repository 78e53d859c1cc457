"""Fields that the specifications of several stages share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rdpipe.core.axes import AXES, CellId
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.runs import RunId
from rdpipe.core.specs import Spec

Entry = dict[str, Any]
"""A config entry: ``use`` and ``args``, both optional."""
Entries = dict[str, Entry]
"""Config entries by name."""


class DatasetSpec(Spec, frozen=True, kw_only=True):
    """A dataset.

    Parameters
    ----------
    name : str
        Name in the config.
    entry : dict
        ``use`` and ``args``.
    """

    name: str
    entry: Entry


class CellNames(Spec, frozen=True, kw_only=True):
    """Names of the estimators of one cell, and its reconstruction."""

    mean: str
    variance: str
    quantizer: str
    reconstruction: Reconstruction = Reconstruction.PLAIN

    @property
    def cell_id(self) -> CellId:
        """The cell."""
        return CellId(self.mean, self.variance, self.quantizer, self.reconstruction)


def cell_ids(cells: Mapping[str, CellNames]) -> dict[str, CellId]:
    """Return the cells of a specification by name."""
    return {name: cell.cell_id for name, cell in cells.items()}


class CodecSpec(Spec, frozen=True, kw_only=True):
    """One codec at one quality on one shard of a dataset.

    Parameters
    ----------
    dataset, codec : str
        Names in the config.
    quality : int
        Quality of the codec.
    entry : dict
        ``use`` and ``args`` of the codec.
    device : str
        Where the codec runs: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    shard : tuple of int
        Index of the shard, and number of shards. Default: the whole dataset.
    """

    dataset: str
    codec: str
    quality: int
    entry: Entry
    device: str
    shard: tuple[int, int] = (0, 1)

    @property
    def run_id(self) -> RunId:
        """Dataset, codec and quality."""
        return RunId(self.dataset, self.codec, self.quality)


class _HasEstimators:
    """A specification with estimators along each axis."""

    __slots__ = ()

    @property
    def entries(self) -> dict[str, Entries]:
        """Config entries of the estimators by section and name."""
        return {axis.section: getattr(self, axis.section) for axis in AXES}


class EstimatorSpec(_HasEstimators, Spec, frozen=True, kw_only=True):
    """Estimators along each axis.

    Parameters
    ----------
    means, variances, quantizers : dict
        Config entries by name.
    """

    means: Entries
    variances: Entries
    quantizers: Entries


class CellSpec(_HasEstimators, CodecSpec, frozen=True, kw_only=True):
    """One codec at one quality, and the estimators of the cells to evaluate.

    Parameters
    ----------
    means, variances, quantizers : dict
        Config entries by name.
    seed : int
        Seed of the noise of random quantizers.
    """

    means: Entries
    variances: Entries
    quantizers: Entries
    seed: int
