"""Escapes: larger variances for single elements that lie far beyond their variance.

A learned prior is occasionally far off, and under N(0, v) an element at 40 sigma costs 1150 bits,
which no real coder pays. The encoder therefore multiplies the variance of such an element by 16^j,
j = 1, 2, ..., and transmits j: a flag with probability :data:`PROBABILITY`, then j in unary. All
quantizers, the test channel included, use the enlarged variance. Every rate of
``docs/explanation/science.md``, section 2.3, therefore holds as it stands, and j is side
information whose bits are counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lazy_loader

from rdpipe.entropy import range_coding

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

PROBABILITY = 2.0**-20
"""Probability of an escape under the code: 20 bits each, 1.4e-6 bit for every other element."""
NO_ESCAPE_BITS = -math.log2(1 - PROBABILITY)
"""Code length of j = 0, bit."""
THRESHOLD = 10.0
"""Distance in standard deviations beyond which an element escapes: 77 bits of a Gaussian's tail."""


def escape_order(r: Tensor, v: Tensor, step: float) -> Tensor:
    """Return j of each element.

    It is 0 unless rounding would transmit an index from beyond :data:`THRESHOLD`.

    Parameters
    ----------
    r, v : Tensor of shape (...)
        Residuals and variances.
    step : float
        Step of the rounding, latent units.
    """
    j, far = torch.zeros_like(r), _may_escape(r, v)
    if far.any():
        sigma = v.expand(r.shape)[far].sqrt()
        near_edge = ((r[far] / step).abs().round() - 0.5) * step / sigma
        order = (near_edge.clamp(min=1).log2() / 2).round()
        j[far] = torch.where(near_edge > THRESHOLD, order, 0.0)
    return j


def _may_escape(r: Tensor, v: Tensor) -> Tensor:
    """Return a superset of the elements that escape, which costs one comparison to find."""
    return r.square() > (THRESHOLD - 1) ** 2 * v


def enlarge(v: Tensor, j: Tensor) -> Tensor:
    """Return the variance of each element after its escape, 16^j v."""
    return v * 16**j if j.any() else v


def escape_bits(j: Tensor) -> Tensor:
    """Return the code length of each j, bit."""
    return torch.where(j > 0, j - math.log2(PROBABILITY), NO_ESCAPE_BITS)


def escaped_variance(r: Tensor, v: Tensor, step: float) -> tuple[Tensor, Tensor | float]:
    """Return the variance of each element after its escape, and the code length of j.

    Parameters
    ----------
    r, v, step
        See :func:`escape_order`.

    Returns
    -------
    variance : Tensor
    bits : Tensor or float
        Bits of each element, or the bits that all of them cost alike.
    """
    if not _may_escape(r, v).any():
        return v, NO_ESCAPE_BITS
    j = escape_order(r, v, step)
    return enlarge(v, j), escape_bits(j)


def code_escapes(coder: Any, j: Tensor) -> Tensor:
    """Write j to a range encoder, or read it from a range decoder (``j`` is NaN); return it."""
    larger = range_coding.code_flags(coder, torch.full_like(j, PROBABILITY), j > 0)
    order = torch.zeros_like(j)
    while larger.any():
        order = order + larger
        larger = range_coding.code_flags(coder, torch.full_like(j, 0.5), j > order, larger)
    return order
