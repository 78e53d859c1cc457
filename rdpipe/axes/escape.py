"""Escapes: the variance of single elements, corrected where they lie beyond what it allows for.

A learned prior is now and then far off, and under N(0, v) an element 40 sigma out costs 1150 bits. No
real coder pays that. Here the encoder multiplies the variance of such an element by 16^j, j = 1, 2, ...,
and sends j: a flag of probability :data:`RARE`, then j in unary. All quantizers, the test channel
too, see the corrected variance, so that every rate of SCIENCE.md, section 2.3, holds as it stands and
j is side information whose bits are counted.
"""

from __future__ import annotations

import math

import lazy_loader

from rdpipe.axes import stream

torch = lazy_loader.load("torch")

RARE = 2.0**-20
"""Probability of an escape, as coded: 20 bits for each, 1.4e-6 bit for every other element."""
UNESCAPED = -math.log2(1 - RARE)
"""Code length of j = 0, bit."""
REACH = 10.0
"""Sigmas from which on an element escapes: 77 bits of a Gaussian's tail."""


def order(r, v, step: float):
    """j of each element, 0 unless rounding would send an index from beyond ``REACH``.

    Parameters
    ----------
    r, v : Tensor of shape (...)
        Residuals and variances.
    step : float
        Of the rounding.
    """
    j, far = torch.zeros_like(r), beyond(r, v)
    if far.any():
        sigma = v.expand(r.shape)[far].sqrt()
        near_edge = ((r[far] / step).abs().round() - 0.5) * step / sigma
        j[far] = torch.where(near_edge > REACH, (near_edge.clamp(min=1).log2() / 2).round(), 0.0)
    return j


def beyond(r, v):
    """Whether an element may escape: few or none do, and all of them lie that far out, as |r| exceeds the edge."""
    return r.square() > (REACH - 1) ** 2 * v


def corrected(v, j):
    """Variance of each element after its escape, 16^j v."""
    return v * 16**j if j.any() else v


def bits(j):
    """Code length of each j, bit."""
    return torch.where(j > 0, j - math.log2(RARE), UNESCAPED)


def escaped(r, v, step: float):
    """Variance of each element after its escape, and the code length of j, bit: of each, or one for all."""
    if not beyond(r, v).any():
        return v, UNESCAPED
    j = order(r, v, step)
    return corrected(v, j), bits(j)


def transfer(coder, j):
    """Write j to a range encoder, or read it from a decoder (``j`` NaN); returns it."""
    more = stream.flag(coder, torch.full_like(j, RARE), j > 0)
    sent = torch.zeros_like(j)
    while more.any():
        sent = sent + more
        more = stream.flag(coder, torch.full_like(j, 0.5), j > sent, more)
    return sent
