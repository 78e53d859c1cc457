"""Range coding of indices, a yes-or-no question at a time.

Encoder and decoder run the same code: :func:`flag` writes the answers to a range encoder or reads
them from a range decoder of ``constriction``, and returns them. What a decoder does not know yet it
gives as NaN. Questions instead of an alphabet need no range, and an improbable answer costs what the
model says::

    k != 0?   k > 0?   |k| >= 2?   |k| >= 4?   ...   |k| in the upper half of [2^j, 2^(j+1))?   ...

which is the Elias gamma code with the probability that each of its bits has under the model.

References
----------
P. Elias, "Universal codeword sets and representations of the integers", IEEE Trans. Inf. Theory
21(2), 1975; R. Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a
Statistician's Perspective", arXiv 2201.01741, 2022 (the ``constriction`` package).
"""

from __future__ import annotations

import math

import lazy_loader
import numpy as np

constriction = lazy_loader.load("constriction")
torch = lazy_loader.load("torch")

LEAST = 2.0**-20
"""Least probability that the coder is given; it resolves 2^-24, so this one to 3 per cent."""
NEVER = 1e-40
"""Least probability of an answer."""


def flag(coder, probability, truth, chosen=None):
    """Write yes-or-no answers, or read them.

    Parameters
    ----------
    coder : RangeEncoder or RangeDecoder
    probability : Tensor of shape (...)
        Of yes; NaN stands for 1/2.
    truth : Tensor of bool, of shape (...)
        The answers; a decoder ignores it.
    chosen : Tensor of bool, of shape (...), optional
        Which elements are asked; all by default.

    Returns
    -------
    Tensor of bool, of shape (...)
        The answers; no for those who are not asked.
    """
    chosen = torch.ones_like(truth) if chosen is None else chosen
    p = probability[chosen].nan_to_num(0.5)
    yes_is_rare, rare = p <= 0.5, torch.minimum(p, 1 - p).clamp(min=NEVER)
    answers = torch.zeros_like(truth)
    answers[chosen] = _surprise(coder, rare, truth[chosen] == yes_is_rare) == yes_is_rare
    return answers


def _surprise(coder, p, truth):
    """Flags of a probability of at most 1/2; one below ``LEAST`` takes several in a row."""
    model, step = constriction.stream.model.Bernoulli(perfect=False), p.clamp(min=LEAST)
    if isinstance(coder, constriction.stream.queue.RangeDecoder):
        answers = torch.from_numpy(coder.decode(model, step.numpy())).bool()
    else:
        answers = truth.clone()
        coder.encode(truth.numpy().astype(np.int32), model, step.numpy())
    again = answers & (p < LEAST)
    if again.any():
        answers[again] = _surprise(coder, p[again] / LEAST, truth[again])
    return answers


def index(coder, k, tail):
    """Write indices, or read them.

    Parameters
    ----------
    coder : RangeEncoder or RangeDecoder
    k : Tensor of shape (...)
        Whole numbers of any size; NaN to read them.
    tail : callable
        ``tail(m, up)``, the log of the probability that the index is m or more where ``up``, -m or
        less elsewhere; m >= 1.

    Returns
    -------
    Tensor of shape (...)
        k.
    """
    m, yes = torch.ones_like(k), torch.ones_like(k, dtype=torch.bool)
    above, below = tail(m, yes), tail(m, ~yes)
    nonzero = flag(coder, above.exp() + below.exp(), k != 0)
    up = flag(coder, torch.sigmoid(above - below), k > 0, nonzero)
    more = nonzero
    while more.any():
        more = flag(coder, (tail(2 * m, up) - tail(m, up)).exp(), k.abs() >= 2 * m, more)
        m = torch.where(more, 2 * m, m)
    half = m / 2
    while (wide := nonzero & (half >= 1)).any():
        low, middle, high = (tail(m + i * half, up) for i in range(3))
        upper = (middle - low).exp() * torch.expm1(high - middle) / torch.expm1(high - low)
        m = torch.where(flag(coder, upper, k.abs() >= m + half, wide), m + half, m)
        half = half / 2
    return torch.where(nonzero, torch.where(up, m, -m), 0.0)


def interval_bits(centre, v, width):
    """-log2 of the probability of an interval under N(0, v).

    In the log domain on the nearer tail, so exact where probabilities underflow.

    Parameters
    ----------
    centre, v : Tensor
        Middle of each interval, and variance.
    width : float or Tensor
    """
    sigma, centre = v.sqrt(), centre.abs()
    inner = torch.special.log_ndtr((width / 2 - centre) / sigma)
    outer = torch.special.log_ndtr((-width / 2 - centre) / sigma)
    return -(inner + torch.log(-torch.expm1(outer - inner))) / math.log(2)


def gaussian_tail(edge, v):
    """Tails of N(0, v) as :func:`index` wants them; cell m begins at ``edge(m)``."""

    def tail(m, up):
        end = edge(torch.where(up, m, 1 - m))
        return torch.special.log_ndtr(torch.where(up, -end, end) / v.sqrt())

    return tail
