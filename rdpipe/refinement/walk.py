"""The walk whose latents are leaves of the graph of the decoded image.

.. code-block:: none

    leaves --(relaxed rounding | test channel)--> y_hat --code(None, size, send)--> image
       ^                        '-- bits                                        '-- distortion
       '------------------------------- gradient ---------------------------------'

The codec runs as a decoder: nothing of its analysis is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Prior
from rdpipe.core.walk import Part, Walk

EDGE = 1e-6
"""Distance from a point of the grid up to which the relaxed rounding has finite logits, steps."""
LEAST_VARIANCE = 1e-12
"""Smallest variance of a prior, squared steps."""


class RefiningWalk(Walk):
    """Codes given elements instead of those that the codec computes, and sums their bits.

    Parts are rounded, as the codec does, or relaxed. With a water level, all but side information
    goes through the Gaussian test channel instead; its rate is then the divergence of the channel
    from the prior, so rate and distortion belong to a conditional density q(y_hat | image), and the
    rate is an upper bound on R(D) whatever the elements.

    Parameters
    ----------
    elements : sequence of Tensor
        The elements of each part, in decoding order.
    noise : Generator
        On the CPU, so that all devices draw the same numbers.
    temperature : float
        Of the relaxed rounding, see :func:`relaxed_round`; 0 for rounding.
    theta : float, optional
        Water level of the test channel, squared steps.
    """

    def __init__(
        self,
        elements: Sequence[Tensor],
        noise: torch.Generator,
        temperature: float = 0.0,
        theta: float | None = None,
    ):
        super().__init__()
        self.needs_gradients = temperature > 0
        self._elements, self._place, self._bits = elements, 0, list[Tensor]()
        self._noise, self._temperature, self._theta = noise, temperature, theta

    @property
    def bits(self) -> Tensor:
        """Code length of all parts, bit."""
        return torch.stack(self._bits).sum()

    def decode(self, part: Part) -> Tensor:
        """Return the decoded elements of a part, float64."""
        y = self._take(part).double()
        if self._theta is None or part.side:
            index = relaxed_round((y - part.offset) / part.step, self._temperature, self._noise)
            y_hat = part.point(index)
            bits = differentiable_bits(part.prior, y_hat, part.step)
        else:
            y_hat, bits = self._channel(part, y, self._theta)
        self._bits.append((bits if part.coded is None else bits * part.coded).sum())
        return y_hat

    def _take(self, part: Part) -> Tensor:
        """Return the given elements of the next part.

        Raises
        ------
        InputError
            If the codec sends another number of parts, or parts of another shape.
        """
        count = len(self._elements)
        if self._place == count or self._elements[self._place].shape != part.shape:
            raise InputError(
                f"send({part.name!r}) is call {self._place + 1}, of shape {tuple(part.shape)};"
                f" expected the {count} calls and the shapes of the codec's own latents"
            )
        self._place += 1
        return self._elements[self._place - 1]

    def _channel(self, part: Part, y: Tensor, theta: float) -> tuple[Tensor, Tensor]:
        """Return the elements of a part after the test channel, and their divergence, bit.

        Raises
        ------
        InputError
            If the prior is not a Gaussian.
        """
        if not part.prior.is_gaussian:
            raise InputError(
                f"latent {part.name!r} has a {type(part.prior).__name__} prior; expected a Gaussian"
                " for the test channel"
            )
        mean, scale = part.prior.mean.double(), part.prior.scale.double()
        v = (scale / part.step).square().clamp(min=LEAST_VARIANCE)
        r, sent = (y - mean) / part.step, v > theta
        a = torch.where(sent, 1 - theta / v, 0.0)
        nats = ((v / theta).log() + (theta + a * r.square()) / v - 1) / 2
        normal = torch.randn(part.shape, generator=self._noise, dtype=v.dtype).to(v.device)
        noise = (theta * a).clamp(min=LEAST_VARIANCE).sqrt() * normal
        r_hat = torch.where(sent, a * r + noise, 0.0)
        return mean + part.step * r_hat, torch.where(sent, nats, 0.0) / math.log(2)


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
    """Return the code length of :meth:`Prior.bits`, with gradients that are finite everywhere.

    An element whose probability underflows has the bits of the smallest positive number.
    """
    upper = x.detach() > prior.mean
    near = prior.log_tail(torch.where(upper, x - step / 2, x + step / 2), upper)
    far = prior.log_tail(torch.where(upper, x + step / 2, x - step / 2), upper)
    possible = (far < near) & near.isfinite()
    inside = torch.log(-torch.expm1(torch.where(possible, far - near, -1.0)))
    smallest = math.log(torch.finfo(torch.float64).tiny)
    bits = -torch.where(possible, near + inside, smallest) / math.log(2)
    return bits.clamp(max=-math.log2(prior.least)) if prior.least else bits
