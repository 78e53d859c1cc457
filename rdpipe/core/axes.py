"""The three axes of the labeled array ``bits[image, mean, variance, quantizer]``.

:data:`AXES` is the only table of the axes; every other module derives what it needs from it. The
registries hold the names that configs, coordinates and plots use. ``window-5`` is the family
``window`` with the number 5; ``module:attribute`` names a user's estimator. See
``docs/explanation/science.md``, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, Self

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.plugins import suggest


@dataclass(frozen=True)
class Axis:
    """One axis of the array.

    Parameters
    ----------
    name : str
        The dimension of the array.
    section : str
        The section of the config that lists its estimators.
    term : str
        The term of the decomposition that moving along the axis gives.
    paper_rank : int
        Position of the term in the paper's order.
    registry : mapping of str to str
        ``module:attribute`` of each known estimator.
    baseline : str
        The estimator of the codec as it is.
    """

    name: str
    section: str
    term: str
    paper_rank: int
    registry: Mapping[str, str]
    baseline: str


AXES = (
    Axis(
        name="mean",
        section="means",
        term="context",
        paper_rank=2,
        registry={
            "zero": "rdpipe.estimators.means:ZeroMean",
            "hyper": "rdpipe.estimators.means:HyperMean",
            "codec": "rdpipe.estimators.means:CodecMean",
            "linear-causal": "rdpipe.estimators.means:LinearCausalMean",
            "network": "rdpipe.estimators.context_network:NetworkMean",
            "accuracy": "rdpipe.estimators.means:AccuracyMean",
        },
        baseline="codec",
    ),
    Axis(
        name="variance",
        section="variances",
        term="variance",
        paper_rank=0,
        registry={
            "hyper": "rdpipe.estimators.variances:HyperVariance",
            "codec": "rdpipe.estimators.variances:CodecVariance",
            "calibrated": "rdpipe.estimators.variances:CalibratedVariance",
            "causal-window": "rdpipe.estimators.variances:CausalWindowVariance",
            "block": "rdpipe.estimators.transmitted:BlockVariance",
            "channel": "rdpipe.estimators.transmitted:ChannelVariance",
            "searched-channel": "rdpipe.estimators.transmitted:SearchedChannelVariance",
            "relative-window": "rdpipe.estimators.variances:RelativeWindowVariance",
            "window": "rdpipe.estimators.variances:WindowVariance",
            "element": "rdpipe.estimators.variances:ElementVariance",
        },
        baseline="codec",
    ),
    Axis(
        name="quantizer",
        section="quantizers",
        term="quantization",
        paper_rank=1,
        registry={
            "codec": "rdpipe.quantizers.scalar:OwnPriorRounding",
            "rounding": "rdpipe.quantizers.scalar:Rounding",
            "dithered": "rdpipe.quantizers.scalar:Dithered",
            "dithered-wiener": "rdpipe.quantizers.scalar:DitheredWiener",
            "deadzone": "rdpipe.quantizers.scalar:DeadZone",
            "lattice-e8": "rdpipe.quantizers.lattice:LatticeE8",
            "trellis": "rdpipe.quantizers.trellis:Trellis",
            "test-channel": "rdpipe.quantizers.test_channel:TestChannel",
            "weighted-test-channel": "rdpipe.quantizers.test_channel:WeightedTestChannel",
        },
        baseline="rounding",
    ),
)
"""The axes, in the order of the array's dimensions."""
PAPER_ORDER = tuple(sorted(AXES, key=lambda axis: axis.paper_rank))
"""The axes, in the order in which the paper moves along them."""
CELL_FORM = "mean/variance/quantizer, optionally with /plain or /calibrated"
"""The form of the name of a cell, for error messages."""
TRAINING_THETA = 1 / 12
"""Water level for which networks are trained with the test channel, squared latent units.

It equals the distortion of rounding with unit step at high rate.
"""


def axis_named(name: str) -> Axis:
    """Return the axis with a name.

    Raises
    ------
    InputError
        If there is no such axis; names the known ones.
    """
    for axis in AXES:
        if axis.name == name:
            return axis
    raise InputError(f"unknown axis {name!r}; {suggest(name, [axis.name for axis in AXES])}")


class CellId(NamedTuple):
    """Names of the mean, the variance and the quantizer of a cell, and its reconstruction.

    The first three are its place in the array. The reconstruction is not an axis: it changes
    neither bits nor residuals, only the decoded image. A name without it is that of a plain one.

    Examples
    --------
    >>> print(CellId("codec", "channel", "rounding"))
    codec/channel/rounding
    >>> CellId.parse("codec/codec/lattice-e8/calibrated").reconstruction
    <Reconstruction.CALIBRATED: 'calibrated'>
    """

    mean: str
    variance: str
    quantizer: str
    reconstruction: Reconstruction = Reconstruction.PLAIN

    def __str__(self) -> str:
        names = self[:-1] if self.reconstruction is Reconstruction.PLAIN else self
        return "/".join(names)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the cell with a name such as ``codec/channel/rounding``.

        Raises
        ------
        InputError
            If the text does not have one name per axis, and optionally a reconstruction.
        """
        *names, last = text.split("/")
        if len(names) < len(AXES):
            names, last = [*names, last], str(Reconstruction.PLAIN)
        if len(names) != len(AXES) or not all(names):
            raise InputError(f"{text!r} is not a cell; expected {CELL_FORM}")
        mean, variance, quantizer = names
        return cls(mean, variance, quantizer, Reconstruction.parse(last, f"cell {text!r}"))

    @classmethod
    def from_mapping(cls, names: Mapping[str, str]) -> Self:
        """Return the cell with the names that a mapping gives for each axis.

        Raises
        ------
        InputError
            If the keys are not the names of the axes, and optionally ``reconstruction``.
        """
        *axes, last = cls._fields
        if set(names) - {last} != set(axes):
            listed = ", ".join(map(str, names)) or "none"
            raise InputError(
                f"a cell has the keys {listed}; expected {', '.join(axes)} and optionally {last}"
            )
        reconstruction = Reconstruction.parse(names.get(last, str(Reconstruction.PLAIN)), "a cell")
        mean, variance, quantizer = (names[axis] for axis in axes)
        return cls(mean, variance, quantizer, reconstruction)

    def replace(self, **names: str) -> Self:
        """Return the cell with other names along some axes."""
        return self._replace(**names)  # type: ignore[arg-type]

    def selector(self) -> dict[str, str]:
        """Return the coordinates of the cell in the array, for :meth:`xarray.Dataset.sel`."""
        return {axis.name: getattr(self, axis.name) for axis in AXES}

    def names(self) -> dict[str, str]:
        """Return the names in the form of a config entry; :meth:`from_mapping` is the inverse."""
        return {field: str(name) for field, name in self._asdict().items()}

    @property
    def is_calibrated(self) -> bool:
        """Whether the reconstruction is fitted."""
        return self.reconstruction is Reconstruction.CALIBRATED


BASELINE_CELL = CellId.from_mapping({axis.name: axis.baseline for axis in AXES})
"""The codec as it is: the cell from which every gap is measured."""
CONTEXT_FREE_CELL = BASELINE_CELL.replace(mean="hyper", variance="hyper")
"""The codec without what its context model predicts, neither mean nor variance."""


def corners(limit: CellId) -> dict[frozenset[str], CellId]:
    """Return the cells between the codec's own and a limit, by the names of the moved axes.

    The reconstruction belongs to the quantizer.
    """
    cells = {}
    for size in range(len(AXES) + 1):
        for moved in combinations([axis.name for axis in AXES], size):
            names = {axis: getattr(limit, axis) for axis in moved}
            if "quantizer" in names:
                names["reconstruction"] = limit.reconstruction
            cells[frozenset(moved)] = BASELINE_CELL.replace(**names)
    return cells
