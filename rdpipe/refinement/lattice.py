"""The lattice E8 with a relaxed choice of the point, for which latents can be refined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rdpipe.estimators.causal import FLOOR
from rdpipe.quantizers.lattice import LatticeE8, near_e8, nearest_e8
from rdpipe.quantizers.reconstruction import CalibratedReconstruction

SHARPNESS = 2.0
"""Factor of the squared distance in the logits of the relaxed choice."""
SMALLEST_UNIFORM = 1e-9
"""Smallest uniform number that is drawn; its Gumbel variate is finite."""


class RelaxedLattice:
    """The quantizer of the cell codec/codec/lattice-e8 with gradients.

    Parameters
    ----------
    step : float
        Step of the lattice, in quantization steps of the codec.
    gains : mapping of str to sequence of float
        Gains of the calibrated reconstruction of each latent; plain if there are none.
    """

    def __init__(self, step: float, gains: Mapping[str, Sequence[float]]):
        self.step, self._lattice = step, LatticeE8(step)
        self._reconstructions = {
            name: CalibratedReconstruction(torch.tensor(values, dtype=torch.float64))
            for name, values in gains.items()
        }

    def code(
        self, name: str, r: Tensor, v: Tensor, temperature: float, noise: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return decoded residuals and their bits.

        Parameters
        ----------
        name : str
            Name of the latent.
        r, v : Tensor of shape (element,)
            Residuals and their variance, in quantization steps of the codec.
        temperature : float
            Of the relaxed choice, see :func:`relaxed_e8`; 0 for the nearest point.
        noise : Generator
            On the CPU.
        """
        v = v.clamp(min=FLOOR)
        x = self._lattice.in_lattice_units(r, v, self.step)
        k = relaxed_e8(x, temperature, noise)
        bits = self._lattice.rate(k, v, self.step, None)
        residual = self._lattice.point(k, v, self.step, None)
        if (reconstruct := self._reconstructions.get(name)) is not None:
            residual = reconstruct(residual, v, self.step**2 / 12)
        return residual, bits


def relaxed_e8(x: Tensor, temperature: float, noise: torch.Generator) -> Tensor:
    """Return convex combinations of near points of E8, drawn with gradients.

    It is the stochastic Gumbel annealing of :func:`rdpipe.refinement.walk.relaxed_round` on a
    lattice: with the squared distance d of a point, its logit is -2 d / T, and the relaxed choice
    among the points of :func:`near_e8` becomes the nearest point as T falls.

    Parameters
    ----------
    x : Tensor of shape (block, 8)
    temperature : float
        T; 0 for the nearest point.
    noise : Generator
        On the CPU.
    """
    if temperature == 0:
        return nearest_e8(x)
    points = near_e8(x)
    distance = (x - points).square().sum(-1)
    uniform = torch.rand(distance.shape, generator=noise, dtype=torch.float64)
    gumbel = -(-uniform.clamp(SMALLEST_UNIFORM, 1 - SMALLEST_UNIFORM).log()).log()
    logits = gumbel.to(x) - SHARPNESS * distance / temperature
    weights = torch.softmax(logits / temperature, 0)
    return (weights[..., None] * points).sum(0)
