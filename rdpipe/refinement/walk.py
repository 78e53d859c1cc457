"""The walk whose latents are leaves of the graph of the decoded image.

.. code-block:: none

    leaves --(relaxed rounding | lattice | test channel)--> y_hat --code(None, size, send)--> image
       ^                        '-- bits                                        '-- distortion
       '------------------------------- gradient ---------------------------------'

The codec runs as a decoder: nothing of its analysis is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Prior
from rdpipe.core.walk import Part, PartSelector, Walk
from rdpipe.entropy.priors import Gaussian
from rdpipe.quantizers.test_channel import TestChannel

if TYPE_CHECKING:
    from rdpipe.refinement.lattice import RelaxedLattice

EDGE = 1e-6
"""Distance from a point of the grid up to which the relaxed rounding has finite logits, steps."""


class RefiningWalk(Walk):
    """Codes given elements instead of those that the codec computes, and sums their bits.

    Latents are rounded, as the codec does, or relaxed. With a water level, all but side information
    goes through the Gaussian test channel instead; its rate is then the divergence of the channel
    from the prior, so rate and distortion belong to a conditional density q(y_hat | image), and the
    rate is an upper bound on R(D) whatever the elements. With a lattice, all but side information
    is quantized by it, and side information is rounded.

    Parameters
    ----------
    elements : mapping of str to Tensor of shape (1, channel, row, column)
        The elements of each latent.
    noise : Generator
        On the CPU, so that all devices draw the same numbers.
    temperature : float
        Of the relaxed rounding, see :func:`relaxed_round`; 0 for rounding.
    theta : float, optional
        Water level of the test channel, squared steps.
    past : mapping of str to Prior
        Priors of latents with a context model in the last pass, see :meth:`send_with_context`.
    lattice : RelaxedLattice, optional

    Attributes
    ----------
    past : dict of str to Prior
        Those of this pass.
    """

    def __init__(
        self,
        elements: Mapping[str, Tensor],
        noise: torch.Generator,
        temperature: float = 0.0,
        theta: float | None = None,
        past: Mapping[str, Prior] = MappingProxyType({}),
        lattice: RelaxedLattice | None = None,
    ):
        super().__init__()
        self.needs_gradients = temperature > 0
        self.past = dict(past)
        self._elements, self._selector, self._bits = elements, PartSelector(), list[Tensor]()
        self._noise, self._temperature, self._theta = noise, temperature, theta
        self._lattice = lattice

    @property
    def bits(self) -> Tensor:
        """Code length of all latents, bit."""
        return torch.stack(self._bits).sum()

    def decode(self, part: Part) -> Tensor:
        """Return the decoded elements of a part, float64."""
        y = self._selector.select(
            part.name, self._elements_of(part.name), part.at, part.shape
        ).double()
        if self._lattice is not None and not part.side:
            return self._code_on_lattice(self._lattice, part, y)
        if self._theta is None or part.side:
            y_hat = self._round(y, part.offset, part.step)
            bits = differentiable_bits(part.prior, y_hat, part.step)
        else:
            y_hat, bits = self._transmit(part.name, part.prior, y, part.step)
        self._bits.append((bits if part.coded is None else bits * part.coded).sum())
        return y_hat

    def send_with_context(self, name: str, predict: Callable[[Tensor], Prior]) -> Tensor:
        """Return y_hat of a latent whose prior depends on y_hat, all elements at once.

        The grid, or the test channel, is that of the prior in the last pass: the exact one takes a
        pass for each element. See :class:`rdpipe.core.protocols.SupportsParallel`.
        """
        y, past = self._elements_of(name).double(), self.past[name]
        if self._theta is None:
            y_hat = self._round(y, past.mean, 1.0)
            prior = predict(y_hat.to(past.mean.dtype))
            bits = differentiable_bits(prior, y_hat, 1.0)
        else:
            y_hat, _ = self._transmit(name, past, y, 1.0)
            prior = predict(y_hat.to(past.mean.dtype))
            _, bits = transmit(prior, y, 1.0, self._theta)
        self._bits.append(bits.sum())
        self.past[name] = Gaussian(prior.mean.detach(), prior.scale.detach())
        return y_hat.to(past.mean.dtype)

    def _elements_of(self, name: str) -> Tensor:
        """Return the elements of a latent.

        Raises
        ------
        InputError
            If there are none.
        """
        if name not in self._elements:
            names = ", ".join(map(repr, self._elements))
            raise InputError(f"send({name!r}): expected one of the latents {names}")
        return self._elements[name]

    def _code_on_lattice(self, lattice: RelaxedLattice, part: Part, y: Tensor) -> Tensor:
        """Return the elements of a part on the lattice, or near to it, and count their bits."""
        mean = part.prior.mean.double()
        r = (y - mean) / part.step
        v = (part.prior.scale.double() / part.step).square()
        coded = torch.ones_like(r, dtype=torch.bool) if part.coded is None else part.coded
        residual, bits = lattice.code(part.name, r[coded], v[coded], self._temperature, self._noise)
        self._bits.append(bits.sum())
        return mean + part.step * torch.zeros_like(r).masked_scatter(coded, residual)

    def _round(self, y: Tensor, offset: Tensor, step: Tensor | float) -> Tensor:
        """Return elements on a grid, or near to it."""
        temperature = 0.0 if self._lattice is not None else self._temperature
        index = relaxed_round((y - offset) / step, temperature, self._noise)
        return offset + step * index

    def _transmit(
        self, name: str, prior: Prior, y: Tensor, step: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """Return elements after the test channel, and their divergence, bit.

        Raises
        ------
        InputError
            If the prior is not a Gaussian.
        """
        if not prior.is_gaussian:
            raise InputError(
                f"latent {name!r} has a {type(prior).__name__} prior; expected a Gaussian for the"
                " test channel"
            )
        assert self._theta is not None
        normal = torch.randn(y.shape, generator=self._noise, dtype=y.dtype).to(y.device)
        residual, bits = transmit(prior, y, step, self._theta, normal)
        return prior.mean.double() + step * residual, bits


def transmit(
    prior: Prior, y: Tensor, step: Tensor | float, theta: float, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return residuals after the test channel, in steps, and their divergence, bit.

    They are those of :class:`TestChannel`, with gradients that are finite everywhere: 0 where
    nothing is sent, because the variance of the prior is at most ``theta``.
    """
    r, v = (y - prior.mean.double()) / step, (prior.scale.double() / step).square()
    sent = v > theta
    output = TestChannel().code(r, torch.where(sent, v, 2 * theta), theta, noise)
    return torch.where(sent, output.residual, 0.0), torch.where(sent, output.bits, 0.0)


def relaxed_round(x: Tensor, temperature: float, noise: torch.Generator) -> Tensor:
    """Return numbers between the two nearest integers, drawn with gradients.

    Stochastic Gumbel annealing: with the fraction d of x, the logits of the two neighbors are
    -atanh(d) / T and -atanh(1 - d) / T, and the relaxed choice becomes a rounding as T falls.

    Parameters
    ----------
    x : Tensor
    temperature : float
        T; 0 for the nearest integer.
    noise : Generator
        On the CPU.

    References
    ----------
    Y. Yang, R. Bamler, S. Mandt, "Improving Inference for Neural Image Compression", NeurIPS 2020.
    """
    if temperature == 0:
        return x.round()
    below = x.detach().floor()
    fraction = (x - below).clamp(EDGE, 1 - EDGE)
    logits = (torch.atanh(fraction) - torch.atanh(1 - fraction)) / temperature
    uniform = torch.rand(x.shape, generator=noise)
    logistic = torch.logit(uniform, eps=EDGE).to(x)
    return below + torch.sigmoid((logits + logistic) / temperature)


def differentiable_bits(prior: Prior, x: Tensor, step: float | Tensor) -> Tensor:
    """Return code lengths that are finite, with gradients that are finite everywhere.

    They are those of :meth:`Prior.bits` without its floor, below which an objective would be flat,
    and no code would have that length. An element whose probability underflows has the bits of the
    smallest positive number.
    """
    smallest = math.log(torch.finfo(torch.float64).tiny)
    return -prior.log_probability(x, step).clamp(min=smallest) / math.log(2)
