"""The lattice E8: a vector quantizer that has 0.1086 of the 1/2 log2(pi e/6) = 0.2546 bit of rounding."""

from __future__ import annotations

import math

import lazy_loader

from rdpipe.axes import stream
from rdpipe.axes.quantizer import Realisable
from rdpipe.errors import InputError

torch = lazy_loader.load("torch")

SECOND_MOMENT = 929 / 12960
"""Of the Voronoi cell of E8 per dimension, at its volume of 1."""
ORDERS = ("variance", "channel")
NARROW = 4.0
"""Spread below which a discrete Gaussian on every other whole number is summed term by term."""


class LatticeE8(Realisable):
    """The lattice E8 = D8 u (D8 + 1/2), nearest point, Gaussian code, and a linear estimate of r.

    In units in which rounding has the same distortion at high rate, step sqrt(1080/929), the code
    is the lattice Gaussian P(t) = prod_i exp(-t_i^2 / 2 s_i) / Z with the variance of the point,
    s = v + 929/12960. With Jacobi's theta functions of each s_i, sums over the whole numbers,
    the same with alternating signs, and over the halves,

        Z = 1/2 [prod theta3 + prod theta4 + prod theta2]

    (the theta series of E8 where all s_i are equal). It is sent as the coset, seven parities, and
    eight coordinates of which every other whole or half number is left. The decoder takes
    v / (v + step^2/12) of the point. So the gap to R(D) is about 1/2 log2(2 pi e 929/12960) =
    0.1460 bit wherever v is above step^2/12.

    Parameters
    ----------
    step : float
        Step of the rounding that has the distortion of this at high rate.
    order : {"variance", "channel"}
        Eight elements of similar variance, or of consecutive channels, make a block. The last one
        of a call is filled up with zeros, whose bits count.

    References
    ----------
    J. H. Conway, N. J. A. Sloane, "Fast Quantizing and Decoding Algorithms for Lattice Quantizers
    and Codes", IEEE Trans. Inf. Theory 28(2), 1982; R. Zamir, M. Feder, "Information Rates of
    Pre/Post-Filtered Dithered Quantizers", IEEE Trans. Inf. Theory 42(5), 1996 (the linear
    estimate).
    """

    def __init__(self, step: float = 1.0, order: str = "variance"):
        super().__init__(step)
        if order not in ORDERS:
            raise InputError(f"order {order!r}: allowed are {', '.join(ORDERS)}")
        self.order = order

    def index(self, r, v, step, noise):
        return nearest_e8(self._blocks(r, v) / _unit(step))

    def rate(self, t, v, step, noise):
        spread = self._spread(v, step)
        own = t.square() / (2 * math.log(2) * spread) + theta(spread)[0].log2()
        common = sum(coset_weights(spread)).log2() - 1
        bits = (own + common[:, None] / 8).flatten()
        filled = bits.numel() - v.numel()
        return self._unblock(bits, v) + bits[:filled].sum() / v.numel()

    def point(self, t, v, step, noise):
        return self._unblock(t, v) * _unit(step) * v / (v + step**2 / 12)

    def transfer(self, coder, t, v, step, noise):
        spread = self._spread(v, step)
        t = torch.full_like(spread, torch.nan) if t is None else t
        whole, half = coset_weights(spread)
        coset = stream.flag(coder, half / (whole + half), t[:, 0] % 1 != 0)[:, None]
        alternating = torch.where(coset, 0.0, theta(spread)[1])
        odd = send_parities(coder, (t - 0.5 * coset) % 2 == 1, alternating)
        offset = odd + 0.5 * coset
        m = stream.index(coder, (t - offset) / 2, every_other(offset, spread))
        return 2 * m + offset

    def _spread(self, v, step):
        """Variance of the coordinates of the point, in units of the lattice."""
        return self._blocks(v, v) / _unit(step) ** 2 + SECOND_MOMENT

    def _blocks(self, x, v):
        flat = x.flatten()[self._permutation(v)]
        return torch.nn.functional.pad(flat, (-len(flat) % 8, 0)).view(-1, 8)

    def _unblock(self, blocks, v):
        flat = torch.empty_like(v).flatten()
        flat[self._permutation(v)] = blocks.flatten()[-len(flat) :]
        return flat.view(v.shape)

    def _permutation(self, v):
        if self.order == "variance":
            return torch.argsort(v.flatten(), stable=True)
        return torch.arange(v.numel()).view(len(v), -1).T.flatten()


def _unit(step: float) -> float:
    return step * math.sqrt(1 / 12 / SECOND_MOMENT)


def nearest_e8(x):
    """The nearest point of E8 to each of some points of shape (..., 8)."""
    whole, half = _nearest_d8(x), _nearest_d8(x - 0.5) + 0.5
    closer = (x - half).square().sum(-1, keepdim=True) < (x - whole).square().sum(-1, keepdim=True)
    return torch.where(closer, half, whole)


def _nearest_d8(x):
    """Whole numbers of even sum: where it is odd, the worst rounded goes to the other side."""
    near = x.round()
    error = x - near
    worst = error.abs().argmax(-1, keepdim=True)
    other = torch.where(error.gather(-1, worst) < 0, -1.0, 1.0).to(x)
    return near.scatter_add(-1, worst, other * (near.sum(-1, keepdim=True) % 2 != 0))


def theta(spread):
    """Jacobi's theta functions of a Gaussian of variance ``spread``, 0.05 or more.

    Parameters
    ----------
    spread : Tensor
        s.

    Returns
    -------
    total, alternating, halves : Tensor
        theta3 = sum_n exp(-n^2 / 2 s), and relative to it theta4, with the signs (-1)^n, and
        theta2, over n + 1/2. Term by term below s = 1, above it by Poisson's formula.
    """
    n, s = torch.arange(-9, 10, dtype=spread.dtype), spread.clamp(max=1)[..., None]
    terms = torch.exp(-n * n / (2 * s))
    total, alternating = terms.sum(-1), (terms * (-1) ** n).sum(-1)
    halves = torch.exp(-((n + 0.5) ** 2) / (2 * s)).sum(-1)
    wave = 2 * torch.exp(-2 * math.pi**2 * spread)
    wide = (2 * math.pi * spread).sqrt() * (1 + wave)
    even = 2 * torch.exp(-(math.pi**2) * spread / 2) / (1 + wave)
    pairs = (total, wide), (alternating / total, even), (halves / total, (1 - wave) / (1 + wave))
    return tuple(torch.where(spread < 1, *pair) for pair in pairs)


def coset_weights(spread):
    """Weights of D8 and of D8 + 1/2 for spreads of shape (block, 8), over prod theta3 / 2."""
    _, alternating, halves = theta(spread)
    return 1 + alternating.prod(-1), halves.prod(-1)


def send_parities(coder, odd, alternating):
    """Write or read which of eight numbers of even sum are odd.

    Parameters
    ----------
    coder : RangeEncoder or RangeDecoder
    odd : Tensor of bool, of shape (block, 8)
        A decoder ignores it.
    alternating : Tensor of shape (block, 8)
        P(even) - P(odd) of each, if the sum were free; of several it is the product.
    """
    odd = odd.clone()
    sign = torch.ones_like(alternating[:, 0])  # -1: the sum so far is odd
    for i in range(7):
        one, rest = alternating[:, i], alternating[:, i + 1 :].prod(-1)
        probability = (1 - one) * (1 - sign * rest) / (2 * (1 + sign * one * rest))
        odd[:, i] = stream.flag(coder, probability, odd[:, i])
        sign = torch.where(odd[:, i], -sign, sign)
    odd[:, 7] = sign < 0
    return odd


def every_other(offset, spread):
    """Tails of exp(-(2m + offset)^2 / 2 s) over whole m, as :func:`stream.index` wants them.

    Where s is large they are those of a Gaussian on intervals of length 2, of variance s - 1/3 so
    that with the interval's it is s; from s = 4 on that costs less than 3e-6 bit.
    """
    j = torch.arange(10, dtype=spread.dtype)
    power = lambda t: -t.square() / (2 * spread.clamp(max=NARROW)[..., None])
    total = power(2 * torch.arange(-10, 11) + offset[..., None]).logsumexp(-1)
    sigma = (spread.clamp(min=NARROW) - 1 / 3).sqrt()

    def tail(m, up):
        t = 2 * m + torch.where(up, offset, -offset)
        summed = power(t[..., None] + 2 * j).logsumexp(-1) - total
        return torch.where(spread < NARROW, summed, torch.special.log_ndtr((1 - t) / sigma))

    return tail
