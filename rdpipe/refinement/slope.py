"""The slope of a codec's own rate-distortion curve: what a squared level of the MSE is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from rdpipe.core.assembly import own_bits
from rdpipe.core.errors import InputError
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Part, Walk

CHANGE = 0.1
"""Relative change of the step by which the slope of a codec with one quality is measured."""


class StepWalk(Walk):
    """Rounds all but side information with another step.

    Parameters
    ----------
    factor : float
        Of the steps.
    """

    def __init__(self, factor: float = 1.0):
        super().__init__()
        self._factor = factor

    def decode(self, part: Part) -> Tensor:
        """Return the rounded elements of a part, float64."""
        return super().decode(part if part.side else replace(part, step=part.step * self._factor))


def operating_point(
    codec: Codec, images: Sequence[Image], factor: float = 1.0
) -> tuple[float, float]:
    """Return the mean rate and the mean MSE of a codec on some images.

    Parameters
    ----------
    codec : Codec
    images : sequence of array
    factor : float
        Of the quantization steps of all but side information.

    Returns
    -------
    bpp : float
        Code length, bit/pixel.
    mse : float
        Squared 8-bit levels.
    """
    rates, errors = [], []
    for image in images:
        walk = StepWalk(factor)
        decoded = decode_image(codec, walk, image)
        bits = sum(part.sum().item() for part in own_bits(walk.record))
        rates.append(bits / (image.shape[0] * image.shape[1]))
        errors.append(mean_squared_error(image, decoded))
    return float(np.mean(rates)), float(np.mean(errors))


def slope_of_curve(bpp: ArrayLike, mse: ArrayLike, index: int) -> float:
    """Return -d bpp / d MSE at one point of a curve.

    It is the derivative of the logarithm of the rate over the logarithm of the MSE, by differences
    of second order (first order for two points).

    Parameters
    ----------
    bpp, mse : array_like of shape (point,)
        At least two points; the MSE falls as the rate rises.
    index : int
        The point.

    Raises
    ------
    InputError
        If the curve does not fall there.

    Examples
    --------
    On the curve bpp = 2 / MSE the slope is 2 / MSE^2.

    >>> round(slope_of_curve([2.0, 1.0, 0.5], [1.0, 2.0, 4.0], 1), 6)
    0.5
    """
    rate, error = (np.asarray(values, dtype=np.float64) for values in (bpp, mse))
    order = np.argsort(error)
    edge_order: Literal[1, 2] = 2 if len(order) > 2 else 1
    derivative = np.gradient(np.log(rate[order]), np.log(error[order]), edge_order=edge_order)
    slope = -derivative[np.flatnonzero(order == index)[0]] * rate[index] / error[index]
    if not 0 < slope < np.inf:
        raise InputError(
            f"the rate of the codec does not fall with its MSE (bit/pixel {rate.round(4).tolist()},"
            f" MSE {error.round(4).tolist()}), so it has no slope; state `lambdas`"
        )
    return float(slope)


def slope_of_step(codec: Codec, images: Sequence[Image]) -> float:
    """Return -d bpp / d MSE of a codec as its quantization step changes.

    A codec of one quality has no curve. At the optimum of its training, bits + lambda * MSE does
    not change with the step either, because the step is the inverse of a gain of the transforms.
    On the embedded codecs, of which the training's lambda is known, the result is 1.3 to 1.7 times
    that lambda.
    """
    finer, coarser = (operating_point(codec, images, 1 + sign * CHANGE) for sign in (-1, 1))
    slope = (finer[0] - coarser[0]) / (coarser[1] - finer[1])
    if not 0 < slope < np.inf:
        raise InputError(
            "the rate of the codec does not fall as its quantization step rises, so it has no"
            " slope; state `lambdas`"
        )
    return slope
