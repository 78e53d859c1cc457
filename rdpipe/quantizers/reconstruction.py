"""Reconstruction: what the decoder puts in the place of a decoded residual.

A decoder network that was trained on rounded latents has learned the shrinkage that midpoints need.
The outputs of the test channel and of quantizers with centroids are shrunk already, and would be
shrunk twice. The calibrated reconstruction undoes one of the two. It is a function of what the
decoder has, so it costs no bits, and a bound stays a bound (data processing inequality).

See ``docs/explanation/science.md``, section 2.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import lazy_loader
import numpy as np

from rdpipe.estimators.base import State

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

KNOTS = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.5, 6.5)
"""log2(v / t) at which the gain is fitted, with the variance v and the error t of the quantizer."""


class CalibratedReconstruction:
    """f(r_hat) = g(log2(v / t)) r_hat, where g is linear between :data:`KNOTS`.

    v is the variance of the residual, and t the variance of the error that the quantizer leaves:
    theta, or step^2 / 12. Beyond the knots g is constant.

    Parameters
    ----------
    gain : Tensor of shape (knot,)
        float64.
    """

    def __init__(self, gain: Tensor):
        self.gain = gain

    @classmethod
    def identity(cls) -> Self:
        """Return the reconstruction that changes nothing."""
        return cls(torch.ones(len(KNOTS), dtype=torch.float64))

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Return the reconstruction with the ``gain`` of a state."""
        return cls(torch.from_numpy(np.asarray(state["gain"], dtype=np.float64)))

    def __call__(self, residual: Tensor, v: Tensor, t: float | Tensor) -> Tensor:
        """Return what takes the place of decoded residuals.

        Parameters
        ----------
        residual, v : Tensor of the same shape
            Decoded residuals and their variance, in the same units.
        t : float or Tensor that broadcasts
            Variance of the error.
        """
        left, share = place((v / t).log2())
        return residual * self.gain[left].lerp(self.gain[left + 1], share)


def place(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the knot to the left of each number, and the share of the way to the next knot."""
    knots = torch.tensor(KNOTS, dtype=torch.float64)
    x = x.clamp(knots[0], knots[-1]).contiguous()
    left = (torch.searchsorted(knots, x, right=True) - 1).clamp(0, len(knots) - 2)
    return left, (x - knots[left]) / (knots[left + 1] - knots[left])
