"""The lattice E8, a vector quantizer.

It recovers 0.1086 of the 1/2 log2(pi e/6) = 0.2546 bit that rounding loses at high rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.entropy import range_coding
from rdpipe.entropy.coder import round_ratio
from rdpipe.quantizers.base import IndexQuantizer, cache_last

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

SECOND_MOMENT = 929 / 12960
"""Second moment of the Voronoi cell of E8 per dimension, at volume 1."""
ORDERS = ("variance", "channel")
NARROW = 4.0
"""Variance below which a discrete Gaussian on every other integer is summed term by term."""

EVEN_MOVES = ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0))
"""Which of three coordinates are rounded to the other side, if the sum of all eight is even."""
ODD_MOVES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0))
"""The same if the sum is odd."""


class LatticeE8(IndexQuantizer):
    """The lattice E8 = D8 u (D8 + 1/2): nearest point, Gaussian code, and a linear estimate of r.

    In units in which rounding has the same distortion at high rate, step sqrt(1080/929), the code
    is the lattice Gaussian P(t) = prod_i exp(-t_i^2 / 2 s_i) / Z with the variance of the point,
    s = v + 929/12960. With Jacobi's theta functions of each s_i (sums over the integers, the same
    with alternating signs, and over the half-integers),

        Z = 1/2 [prod theta3 + prod theta4 + prod theta2],

    which is the theta series of E8 if all s_i are equal. A point is sent as the coset, seven
    parities, and eight coordinates, of which every other integer or half-integer remains. The
    decoder scales the point by v / (v + step^2/12). The gap to R(D) is about 1/2 log2(2 pi e
    929/12960) = 0.1460 bit wherever v is above step^2/12.

    Parameters
    ----------
    step : float
        Step of the rounding with the same distortion at high rate, latent units.
    order : {"variance", "channel"}
        Eight elements of similar variance, or of consecutive channels, form a block. The first
        block of a call is padded at its start with zeros, whose bits count.

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
            raise InputError(f"lattice-e8: order is {order!r}; expected one of {', '.join(ORDERS)}")
        self.order = order

    def index(self, r: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the nearest lattice points, of shape (block, 8)."""
        return nearest_e8(self.in_lattice_units(r, v, step))

    def in_lattice_units(self, r: Tensor, v: Tensor, step: float) -> Tensor:
        """Return residuals of variance v in units of the lattice, of shape (block, 8)."""
        return self._to_blocks(r, v) / _unit(step)

    def rate(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the bits of each element; the term of the coset is divided among the eight."""
        variance = self._point_variance(v, step)
        total, alternating, halves = theta_functions(variance)
        coordinate_bits = k.square() / (2 * math.log(2) * variance) + total.log2()
        first, second = coset_weights(alternating, halves)
        common = (first + second).log2() - 1
        bits = (coordinate_bits + common[:, None] / 8).flatten()
        padding = bits.numel() - v.numel()
        return self._from_blocks(bits, v) + bits[:padding].sum() / v.numel()

    def point(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the linear estimate of r from the lattice point."""
        return self._from_blocks(k, v) * _unit(step) * v / (v + step**2 / 12)

    def transmit(
        self, coder: Any, k: Tensor | None, v: Tensor, step: float, noise: Tensor | None
    ) -> Tensor:
        """Write lattice points to a range encoder, or read them from a range decoder."""
        variance = self._point_variance(v, step)
        k = torch.full_like(variance, torch.nan) if k is None else k
        _, alternating, halves = theta_functions(variance)
        integer, half = coset_weights(alternating, halves)
        coset = range_coding.code_flags(coder, half / (integer + half), k[:, 0] % 1 != 0)[:, None]
        alternating = torch.where(coset, 0.0, alternating)
        odd = code_parities(coder, (k - 0.5 * coset) % 2 == 1, alternating)
        offset = odd + 0.5 * coset

        def tails(chosen: Tensor | None) -> range_coding.LogTail:
            some = (range_coding.select(x, chosen) for x in (offset, variance))
            return every_other_log_tail(*some)

        m = range_coding.code_indices(coder, (k - offset) / 2, tails)
        return 2 * m + offset

    def _point_variance(self, v: Tensor, step: float) -> Tensor:
        """Return the variance of the coordinates of the point, in units of the lattice."""
        return self._to_blocks(v, v) / _unit(step) ** 2 + SECOND_MOMENT

    def _to_blocks(self, x: Tensor, v: Tensor) -> Tensor:
        flat = x.flatten()[permutation(v, self.order)]
        return torch.nn.functional.pad(flat, (-len(flat) % 8, 0)).view(-1, 8)

    def _from_blocks(self, blocks: Tensor, v: Tensor) -> Tensor:
        flat = torch.empty_like(v).flatten()
        flat[permutation(v, self.order)] = blocks.flatten()[-len(flat) :]
        return flat.view(v.shape)


@cache_last
def permutation(v: Tensor, order: str) -> Tensor:
    """Return the order in which elements of variance ``v`` form blocks, see :class:`LatticeE8`.

    Variances are rounded as the coder rounds them, so that real bytes have the same blocks.
    """
    if order == "variance":
        return torch.argsort(round_ratio(v.detach().flatten()), stable=True)
    return torch.arange(v.numel()).view(len(v), -1).T.flatten()


def _unit(step: float) -> float:
    """Return the length of the lattice's unit, latent units."""
    return step * math.sqrt(1 / 12 / SECOND_MOMENT)


def nearest_e8(x: Tensor) -> Tensor:
    """Return the point of E8 nearest to each of some points of shape (..., 8)."""
    integer, half = _nearest_d8(x), _nearest_d8(x - 0.5) + 0.5
    to_half, to_integer = ((x - y).square().sum(-1, keepdim=True) for y in (half, integer))
    return torch.where(to_half < to_integer, half, integer)


def _nearest_d8(x: Tensor) -> Tensor:
    """Return the nearest integers of even sum; the worst rounded one moves if the sum is odd."""
    near = x.round()
    error = x - near
    worst = error.abs().argmax(-1, keepdim=True)
    other_side = torch.where(error.gather(-1, worst) < 0, -1.0, 1.0).to(x)
    return near.scatter_add(-1, worst, other_side * (near.sum(-1, keepdim=True) % 2 != 0))


def near_e8(x: Tensor) -> Tensor:
    """Return eight points of E8 near each of some points, among them the nearest.

    They are four points of either coset of D8, which differ in how the three coordinates are
    rounded that are farthest from an integer (or half-integer).

    Parameters
    ----------
    x : Tensor of shape (..., 8)

    Returns
    -------
    Tensor of shape (8, ..., 8)
        Without gradients.
    """
    x = x.detach()
    return torch.cat([_near_d8(x), _near_d8(x - 0.5) + 0.5])


def _near_d8(x: Tensor) -> Tensor:
    """Return four points of D8 near points of shape (..., 8), of shape (4, ..., 8)."""
    near = x.round()
    error = x - near
    worst = error.abs().topk(3, -1).indices
    moves = torch.where(error.gather(-1, worst) < 0, -1.0, 1.0).to(x)
    odd = near.sum(-1, keepdim=True) % 2 != 0
    points = []
    for if_even, if_odd in zip(EVEN_MOVES, ODD_MOVES, strict=True):
        moved = torch.where(odd, moves.new_tensor(if_odd), moves.new_tensor(if_even))
        points.append(near.scatter_add(-1, worst, moves * moved))
    return torch.stack(points)


def theta_functions(variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Jacobi's theta functions of Gaussians with variance s of at least 0.05.

    Below s = 1 they are summed term by term, above by Poisson's formula.

    Returns
    -------
    total : Tensor
        theta3 = sum_n exp(-n^2 / 2 s).
    alternating : Tensor
        theta4 / theta3, where theta4 has the signs (-1)^n.
    halves : Tensor
        theta2 / theta3, where theta2 sums over n + 1/2.
    """
    n, s = torch.arange(-9, 10, dtype=variance.dtype), variance.clamp(max=1)[..., None]
    terms = torch.exp(-n * n / (2 * s))
    total, alternating = terms.sum(-1), (terms * (-1) ** n).sum(-1)
    halves = torch.exp(-((n + 0.5) ** 2) / (2 * s)).sum(-1)
    wave = 2 * torch.exp(-2 * math.pi**2 * variance)
    wide = (2 * math.pi * variance).sqrt() * (1 + wave)
    even = 2 * torch.exp(-(math.pi**2) * variance / 2) / (1 + wave)
    return (
        torch.where(variance < 1, total, wide),
        torch.where(variance < 1, alternating / total, even),
        torch.where(variance < 1, halves / total, (1 - wave) / (1 + wave)),
    )


def coset_weights(alternating: Tensor, halves: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of D8 and of D8 + 1/2 over prod theta3 / 2, of shape (block,).

    Parameters
    ----------
    alternating, halves : Tensor of shape (block, 8)
        Of :func:`theta_functions`.
    """
    return 1 + alternating.prod(-1), halves.prod(-1)


def code_parities(coder: Any, odd: Tensor, alternating: Tensor) -> Tensor:
    """Write or read which of eight numbers with an even sum are odd.

    Parameters
    ----------
    coder : RangeEncoder or RangeDecoder
    odd : Tensor of bool, of shape (block, 8)
        The parities. A decoder ignores them.
    alternating : Tensor of shape (block, 8)
        P(even) - P(odd) of each number if the sum were free; of several it is the product.

    Returns
    -------
    Tensor of bool, of shape (block, 8)
    """
    odd = odd.clone()
    sign = torch.ones_like(alternating[:, 0])  # -1 if the sum so far is odd
    for i in range(7):
        current, rest = alternating[:, i], alternating[:, i + 1 :].prod(-1)
        probability = (1 - current) * (1 - sign * rest) / (2 * (1 + sign * current * rest))
        odd[:, i] = range_coding.code_flags(coder, probability, odd[:, i])
        sign = torch.where(odd[:, i], -sign, sign)
    odd[:, 7] = sign < 0
    return odd


def every_other_log_tail(offset: Tensor, variance: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return log tails of exp(-(2m + offset)^2 / 2 s) over integers m.

    They are those that :func:`rdpipe.entropy.range_coding.code_indices` expects. Where s is large
    they are the tails of a Gaussian on intervals of length 2, of variance s - 1/3, so that together
    with the variance of the interval it is s. From s = 4 on, this costs less than 3e-6 bit.
    """
    j = torch.arange(10, dtype=variance.dtype)

    def log_power(t: Tensor) -> Tensor:
        return -t.square() / (2 * variance.clamp(max=NARROW)[..., None])

    total = log_power(2 * torch.arange(-10, 11) + offset[..., None]).logsumexp(-1)
    sigma = (variance.clamp(min=NARROW) - 1 / 3).sqrt()

    def log_tail(m: Tensor, positive: Tensor) -> Tensor:
        t = 2 * m + torch.where(positive, offset, -offset)
        summed = log_power(t[..., None] + 2 * j).logsumexp(-1) - total
        return torch.where(variance < NARROW, summed, torch.special.log_ndtr((1 - t) / sigma))

    return log_tail
