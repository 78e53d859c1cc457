"""The three axes of the labeled array ``bits[image, mean, variance, quantizer]``.

:data:`AXES` is the only table of the axes; every other module derives what it needs from it. The
registries hold the names that configs, coordinates and plots use. ``window-5`` is the family
``window`` with the number 5; ``module:attribute`` names a user's estimator. See
``docs/explanation/science.md``, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from rdpipe.core.errors import InputError
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
            "codec": "rdpipe.estimators.variances:CodecVariance",
            "calibrated": "rdpipe.estimators.variances:CalibratedVariance",
            "causal-window": "rdpipe.estimators.variances:CausalWindowVariance",
            "block": "rdpipe.estimators.transmitted:BlockVariance",
            "channel": "rdpipe.estimators.transmitted:ChannelVariance",
            "searched-channel": "rdpipe.estimators.transmitted:SearchedChannelVariance",
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
    """Names of the mean, the variance and the quantizer of one cell of the array.

    Examples
    --------
    >>> print(CellId("codec", "channel", "rounding"))
    codec/channel/rounding
    >>> CellId.parse("codec/channel/rounding").quantizer
    'rounding'
    """

    mean: str
    variance: str
    quantizer: str

    def __str__(self) -> str:
        return "/".join(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the cell with a name such as ``codec/channel/rounding``.

        Raises
        ------
        InputError
            If the text does not have one name per axis.
        """
        names = text.split("/")
        if len(names) != len(AXES) or not all(names):
            raise InputError(f"{text!r} is not a cell; expected {'/'.join(cls._fields)}")
        return cls(*names)

    @classmethod
    def from_mapping(cls, names: Mapping[str, str]) -> Self:
        """Return the cell with the names that a mapping gives for each axis.

        Raises
        ------
        InputError
            If the keys are not exactly the names of the axes.
        """
        if set(names) != set(cls._fields):
            listed = ", ".join(map(str, names)) or "none"
            raise InputError(
                f"a cell has the keys {listed}; expected exactly {', '.join(cls._fields)}"
            )
        return cls(**names)

    def replace(self, **names: str) -> Self:
        """Return the cell with other names along some axes."""
        return self._replace(**names)

    def selector(self) -> dict[str, str]:
        """Return the coordinates of the cell, for :meth:`xarray.Dataset.sel`."""
        return self._asdict()


BASELINE_CELL = CellId(*(axis.baseline for axis in AXES))
"""The codec as it is: the cell from which every gap is measured."""
