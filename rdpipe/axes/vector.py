"""Quantizers of several elements at once: how much of 1/2 log2(pi e/6) = 0.2546 bit can be had."""

from __future__ import annotations

import math
from functools import partial

import lazy_loader

from rdpipe.axes import stream
from rdpipe.axes.quantizer import SLOPE, Realisable, cell_bits
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


TRELLISES = {
    4: (((0, 2), (2, 0), (1, 3), (3, 1)), (0, 0, 1, 1), 0.56076),
    8: (((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)), (0, 1) * 4, 0.56659),
}
"""By number of states: the next state for an even and an odd index, the quantizer of each state,
and delta/step, half of 10^(gain/20). The granular gains, 0.996 and 1.086 dB, were measured: 4e7
numbers uniform modulo 4 delta, by Viterbi's algorithm, relative to rounding with step 2 delta."""


class Trellis(Realisable):
    """Entropy-coded trellis-coded quantization, also called dependent quantization, along channels.

    Two scalar quantizers share the multiples of delta; which one an element gets is the state's,
    and the state moves with the parity of the index k::

        Q0    -4    -2     0     2     4           2 k delta
        Q1       -3    -1  0  1     3              (2 k - sign k) delta

    At each position the path starts in state 0 at the first channel, ends in any, and minimises
    D + lambda R at the slope of rounding at high rate, lambda = ``SLOPE`` step^2. The code of an
    index is the mass of its nearest-neighbour cell in its quantizer under N(0, u), u = v -
    step^2/12 or at least v/4: what the test channel at that slope sends, as the chosen points are
    fewer and smaller than r. At high rate the distortion is step^2/12.

    Parameters
    ----------
    step : float
        Step of the rounding that has the distortion of this at high rate.
    states : {8, 4}

    References
    ----------
    M. W. Marcellin, T. R. Fischer, "Trellis Coded Quantization of Memoryless and Gauss-Markov
    Sources", IEEE Trans. Commun. 38(1), 1990; H. Schwarz et al., "Quantization and Entropy Coding
    in the Versatile Video Coding (VVC) Standard", IEEE Trans. Circuits Syst. Video Technol. 31(10),
    2021.
    """

    def __init__(self, step: float = 1.0, states: int = 8):
        super().__init__(step)
        if states not in TRELLISES:
            raise InputError(f"states {states!r}: allowed are {', '.join(map(str, TRELLISES))}")
        after, quantizer, self.delta = TRELLISES[states]
        self.after, self.uses_second = torch.tensor(after), torch.tensor(quantizer) == 1

    def index(self, r, v, step, noise):
        indices, cost = self._options(
            r.reshape(len(r), 1, 1, -1), v.reshape(len(r), 1, 1, -1), step
        )
        branch = self._best_path(cost.flatten(1, 2))
        return indices.flatten(1, 2).gather(1, branch[:, None]).view(r.shape)

    def rate(self, k, v, step, noise):
        second, delta = self._second(k), self.delta * step
        return index_bits(k, second, _sent_variance(v, step), delta)

    def point(self, k, v, step, noise):
        return trellis_point(k, self._second(k), self.delta * step)

    def transfer(self, coder, k, v, step, noise):
        delta, u = self.delta * step, _sent_variance(v, step).reshape(len(v), -1)
        k = torch.full_like(u, torch.nan) if k is None else k.reshape(u.shape).clone()
        state = torch.zeros(u.shape[1], dtype=torch.long)
        for one, variance in zip(k, u):
            second = self.uses_second[state]
            tail = stream.gaussian_tail(partial(trellis_edge, second=second, delta=delta), variance)
            one[:] = stream.index(coder, one, tail)
            state = self.after[state, is_odd(one)]
        return k.view(v.shape)

    def _second(self, k):
        """Whether an index is one of Q1."""
        odd = is_odd(k.reshape(len(k), -1))
        state, second = torch.zeros_like(odd[0]), torch.empty_like(odd, dtype=torch.bool)
        for c, one in enumerate(odd):
            second[c], state = self.uses_second[state], self.after[state, one]
        return second.view(k.shape)

    def _options(self, r, v, step):
        """The best index, and its D + lambda R, of each quantizer and parity.

        The real number that minimises (r - q)^2 + lambda R, with the near edge q - delta of the
        cell for R, is between two of them.

        Parameters
        ----------
        r, v : Tensor of shape (channel, 1, 1, position)

        Returns
        -------
        index, cost : Tensor of shape (channel, quantizer, parity, position)
        """
        delta, u = self.delta * step, _sent_variance(v, step)
        second = torch.tensor([False, True])[:, None, None]
        odd = torch.tensor([0.0, 1.0], dtype=r.dtype)[:, None]
        pull = step**2 / 12 / u
        wanted = ((r.abs() / delta + pull) / (1 + pull) + second) / 2
        low = odd + 2 * ((wanted - odd) / 2).floor().clamp(min=0)
        k = torch.stack([low, low + 2]) * torch.where(r < 0, -1.0, 1.0)
        error = r - trellis_point(k, second, delta)
        cost = error.square() + SLOPE * step**2 * index_bits(k, second, u, delta)
        cost, best = cost.min(0)
        return k.gather(0, best[None])[0], cost

    def _best_path(self, cost):
        """Viterbi's algorithm: branches 2 quantizer + parity of shape (channel, position)."""
        states = range(len(self.after))
        into = [[(s, p) for s in states for p in (0, 1) if self.after[s, p] == t] for t in states]
        before, parity = torch.tensor(into).unbind(-1)  # of shape (state, 2)
        branch = 2 * self.uses_second[before] + parity
        total = torch.full((len(self.after), cost.shape[2]), torch.inf, dtype=cost.dtype)
        total[0], choices = 0, []
        for one in cost:
            total, choice = (total[before] + one[branch]).min(1)
            choices.append(choice)
        state, path = total.argmin(0), []
        for choice in reversed(choices):
            came = choice.gather(0, state[None])[0]
            path.append(branch[state, came])
            state = before[state, came]
        return torch.stack(path[::-1])


def _sent_variance(v, step):
    """Variance of what the test channel at level step^2/12 sends, at least v/4."""
    return torch.maximum(v - step**2 / 12, v / 4)


def is_odd(k):
    """1 where a whole number is odd, 0 elsewhere, int64."""
    return (k.abs() % 2).long()


def trellis_point(k, second, delta):
    """2 k delta in Q0, (2 k - sign k) delta in Q1."""
    return (2 * k - torch.where(second, k.sign(), 0.0)) * delta


def trellis_edge(m, second, delta):
    """Half-way between the points of m - 1 and of m."""
    return (trellis_point(m - 1, second, delta) + trellis_point(m, second, delta)) / 2


def index_bits(k, second, v, delta):
    """-log2 of the mass of the nearest-neighbour cell of an index under N(0, v)."""
    return cell_bits(trellis_edge(k, second, delta), trellis_edge(k + 1, second, delta), v)
