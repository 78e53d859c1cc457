"""Range coding of integers as a sequence of binary decisions.

The encoder and the decoder run the same code: :func:`code_flags` writes decisions to an encoder
(:mod:`rdpipe.entropy.coder`), or reads them from a decoder, and returns them. A decoder passes NaN
for values that it does not know yet. Binary decisions need no finite alphabet, and an improbable
one costs what the model says::

    k != 0?   k > 0?   |k| >= 2?   |k| >= 4?   ...   |k| in the upper half of [2^j, 2^(j+1))?   ...

This is the Elias gamma code with the probability that each of its bits has under the model.

References
----------
P. Elias, "Universal codeword sets and representations of the integers", IEEE Trans. Inf. Theory
21(2), 1975; R. Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a
Statistician's Perspective", arXiv 2201.01741, 2022 (the ``constriction`` package).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import lazy_loader
import numpy as np

from rdpipe.entropy.coder import Coder, Decoder, Encoder

if TYPE_CHECKING:
    import constriction
    import torch
    from torch import Tensor
else:
    constriction = lazy_loader.load("constriction")
    torch = lazy_loader.load("torch")

LogTail = Callable[["Tensor", "Tensor"], "Tensor"]
"""Logarithm of the probability of a tail; see :func:`code_indices`."""
Tails = Callable[["Tensor | None"], LogTail]
"""Log tails of some elements, or of all; see :func:`code_indices`."""
LEAST_PROBABILITY = 2.0**-20
"""Smallest probability passed to the range coder, which resolves 2^-24 (3 per cent of this)."""
LEAST_DECISION = 1e-40
"""Smallest probability of a decision."""


def code_flags(
    coder: Coder, probability: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Write or read binary decisions.

    Parameters
    ----------
    coder : Encoder or Decoder
    probability : Tensor of shape (...)
        Probability of True; NaN stands for 1/2.
    values : Tensor of bool, of shape (...)
        The decisions. A decoder ignores them.
    mask : Tensor of bool, of shape (...), optional
        The elements that are coded. Default: all.

    Returns
    -------
    Tensor of bool, of shape (...)
        The decisions; False for elements that are not coded.
    """
    if mask is not None:
        decisions = torch.zeros_like(values)
        decisions[mask] = code_flags(coder, probability[mask], values[mask])
        return decisions
    p = probability.nan_to_num(0.5)
    rare = coder.agree_ratio(torch.minimum(p, 1 - p).clamp_(min=LEAST_DECISION))
    true_is_rare = (p <= 0.5) | (rare >= 0.5)  # the same on both sides, unlike p <= 0.5
    return _code_rare(coder, rare, values == true_is_rare) == true_is_rare


def _code_rare(coder: Coder, p: Tensor, values: Tensor) -> Tensor:
    """Code decisions with probability at most 1/2; very improbable ones take several steps."""
    model, step = constriction.stream.model.Bernoulli(perfect=False), p.clamp(min=LEAST_PROBABILITY)
    flat = step.flatten().numpy()
    if isinstance(coder, Decoder):
        decisions = torch.from_numpy(coder.decode(model, flat)).bool().view(p.shape)
    elif isinstance(coder, Encoder):
        decisions = values.clone()
        coder.encode(values.flatten().numpy().astype(np.int32), model, flat)
    repeated = decisions & (p < LEAST_PROBABILITY)
    if repeated.any():
        decisions[repeated] = _code_rare(coder, p[repeated] / LEAST_PROBABILITY, values[repeated])
    return decisions


def code_indices(coder: Coder, indices: Tensor, tails: Tails) -> Tensor:
    """Write or read integers.

    Parameters
    ----------
    coder : Encoder or Decoder
    indices : Tensor of shape (...)
        Integers of any size as floating-point numbers; NaN when reading.
    tails : callable
        ``tails(None)`` returns the log tails of all elements, ``tails(chosen)`` those of some, as a
        vector. ``log_tail(m, positive)`` is the natural logarithm of the probability that the index
        is at least m where ``positive`` is True, at most -m elsewhere, for m >= 1.

    Returns
    -------
    Tensor of shape (...)
        The integers.
    """
    m, yes = torch.ones_like(indices), torch.ones_like(indices, dtype=torch.bool)
    log_tail = tails(None)
    above, below = log_tail(m, yes), log_tail(m, ~yes)
    nonzero = code_flags(coder, above.exp() + below.exp(), indices != 0)
    positive = code_flags(coder, torch.sigmoid(above - below), indices > 0, nonzero)
    chosen = nonzero.flatten().nonzero()[:, 0]
    sign = positive.flatten()[chosen]
    log_tail_1 = torch.where(positive, above, below).flatten()[chosen]
    sizes = indices.flatten()[chosen].abs()
    size = _code_sizes(coder, sizes, sign, log_tail_1, lambda k: tails(chosen[k]))
    result = torch.zeros_like(indices).flatten()
    result[chosen] = torch.where(sign, size, -size)
    return result.view(indices.shape)


def _code_sizes(
    coder: Coder,
    sizes: Tensor,
    positive: Tensor,
    log_tail_1: Tensor,
    tails: Callable[[Tensor], LogTail],
) -> Tensor:
    """Write or read the absolute values of nonzero integers, a vector.

    Few are large, so the probabilities are those of the elements that are still in question. The
    log tail of 1 is known, and those of both ends of an interval from the steps before.
    """
    m, chosen = torch.ones_like(sizes), torch.arange(len(sizes))
    low, high = log_tail_1.clone(), torch.empty_like(log_tail_1)
    while len(chosen):
        end = 2 * m[chosen]
        tail = high[chosen] = tails(chosen)(end, positive[chosen])
        larger = code_flags(coder, (tail - low[chosen]).exp(), sizes[chosen] >= end)
        chosen = chosen[larger]
        m[chosen], low[chosen] = end[larger], tail[larger]
    half = m / 2
    while len(chosen := (half >= 1).nonzero()[:, 0]):
        start, begin, end = m[chosen], low[chosen], high[chosen]
        center = start + half[chosen]
        middle = tails(chosen)(center, positive[chosen])
        upper = (middle - begin).exp() * torch.expm1(end - middle) / torch.expm1(end - begin)
        in_upper_half = code_flags(coder, upper, sizes[chosen] >= center)
        m[chosen] = torch.where(in_upper_half, center, start)
        low[chosen] = torch.where(in_upper_half, middle, begin)
        high[chosen] = torch.where(in_upper_half, end, middle)
        half = half / 2
    return m


def interval_bits(center: Tensor, v: Tensor, width: float | Tensor) -> Tensor:
    """Return -log2 of the probability of intervals under N(0, v).

    The logarithm of the nearer tail is used, so the result is exact where probabilities underflow.

    Parameters
    ----------
    center, v : Tensor
        Midpoint of each interval, and variance.
    width : float or Tensor
        Length of each interval.
    """
    sigma, center = v.sqrt(), center.abs()
    inner = torch.special.log_ndtr((width / 2 - center) / sigma)
    outer = torch.special.log_ndtr((-width / 2 - center) / sigma)
    bits: Tensor = -(inner + torch.log(-torch.expm1(outer - inner))) / math.log(2)
    return bits


def gaussian_tails(edge: Callable[..., Tensor], v: Tensor, *parameters: Tensor) -> Tails:
    """Return the log tails of N(0, v) for :func:`code_indices`.

    Cell m begins at ``edge(m, v, *parameters)``, where all have the shape of v.
    """

    def tails(chosen: Tensor | None) -> LogTail:
        variance, *others = (select(x, chosen) for x in (v, *parameters))
        sigma = variance.sqrt()

        def log_tail(m: Tensor, positive: Tensor) -> Tensor:
            end = edge(torch.where(positive, m, 1 - m), variance, *others)
            logarithm: Tensor = torch.special.log_ndtr(torch.where(positive, -end, end) / sigma)
            return logarithm

        return log_tail

    return tails


def select(x: Tensor, chosen: Tensor | None) -> Tensor:
    """Return some elements as a vector, by their positions in the flattened ones; all for None."""
    return x if chosen is None else x.flatten()[chosen]
