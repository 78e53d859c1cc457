"""Specification of a refined codec, as in a config."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from rdpipe.core.axes import TRAINING_THETA
from rdpipe.core.specs import Spec

Positive = Annotated[float, Meta(gt=0)]


class RefinedFor(StrEnum):
    """What takes the place of the quantizer while latents are refined."""

    ROUNDING = "rounding"
    TEST_CHANNEL = "test-channel"
    LATTICE = "lattice-e8"


class RefinementSpec(Spec, frozen=True, kw_only=True):
    """The ``args`` of a codec with ``use: refined``.

    Parameters
    ----------
    codec : str
        Name of the codec in the config whose latents are refined.
    steps : int
        Number of steps of the optimizer for each image.
    quantizer : RefinedFor
        What the latents are refined for: the codec's own rounding or the lattice E8, both of which
        have real bytes, or the test channel, an upper bound on R(D).
    theta : float
        Water level of the test channel, squared latent units.
    step : float
        Step of the lattice, in quantization steps of the codec.
    lambdas : list of float, optional
        What a squared 8-bit level of the MSE is worth, bit/pixel, for each of the ``qualities``:
        the lambda of a training on bpp + lambda 255^2 MSE. Default: the slope of the codec's own
        curve.
    lambda_factor : float
        Factor of lambda, for points between those of the codec.
    learning_rate : float
        Largest learning rate of Adam, latent units.
    seed : int
        Seed of the noise.
    """

    codec: str
    steps: Annotated[int, Meta(ge=0)] = 100
    quantizer: RefinedFor = RefinedFor.ROUNDING
    theta: Positive = TRAINING_THETA
    step: Positive = 1.0
    lambdas: list[Positive] | None = None
    lambda_factor: Positive = 1.0
    learning_rate: Positive = 0.02
    seed: int = 0
