"""Vector quantizers that exist: how much of the 0.2546 bit above R(D) can be had.

Both work along the channels of a position, so that they go with any causal estimator in space.
"""

from __future__ import annotations

import math

import lazy_loader

from rdpipe.axes import stream
from rdpipe.axes.quantizer import Coded
from rdpipe.axes.stream import interval_bits
from rdpipe.errors import InputError

torch = lazy_loader.load("torch")

E8_SECOND_MOMENT = 929 / 12960
"""Second moment per dimension of the Voronoi cell of E8, whose volume is 1."""
PADDING = 0.25
"""Variance of filling elements, in units of the lattice; they are 0, but a neighbour's parity may
move them, so they cannot be taken for certain."""


class LatticeE8:
    """The Gosset lattice E8 along 8 channels: D8 and its translate D8 + 1/2.

    Scaled so that a uniform input has the distortion step^2/12 of rounding. The code: a point has
    probability prod_i w_i(t_i) / Z, w_i(t) the mass of N(0, v_i) on [t - 1/4, t + 1/4] in units of
    the lattice. With p_i = sum_n w_i(n) and b_i = sum_n (-1)^n w_i(n), those of even coordinate sum
    in Z^8 have the weight (prod p_i + prod b_i) / 2, those of its translate prod (1 - p_i) / 2; Z is
    their sum. So the code can be written coordinate by coordinate, with the parity still to come.

    The number of channels is padded to a multiple of 8 by elements that are 0, whose bits count.

    Parameters
    ----------
    step : float
        Step of the rounding whose distortion it has at high rate.

    References
    ----------
    J. H. Conway, N. J. A. Sloane, "Fast Quantizing and Decoding Algorithms for Lattice Quantizers and
    Codes", IEEE Trans. Inf. Theory 28(2), 1982; the second moment: their "Sphere Packings, Lattices
    and Groups", table 2.3.
    """

    information = "decodable"
    realisable = True

    def __init__(self, step: float = 1.0):
        if not step > 0:
            raise InputError(f"step {step!r}: allowed are positive numbers")
        self.level = step

    def code(self, r, v, step, noise=None) -> Coded:
        """Quantize residuals of shape (channel, ...)."""
        scale = self._scale(step)
        x, u = _eights(r / scale, 0.0), _eights(v / scale**2, PADDING)
        point = nearest_e8(x)
        bits = (self.point_bits(point, u) / 8).expand_as(point)
        sent, bits = self._sent(point, r, scale), bits.reshape(-1, *r.shape[1:])
        padding = bits[len(r) :].sum(0, keepdim=True) / len(r)  # what is sent for the padding
        return Coded(bits[: len(r)] + padding, (r - sent).square(), sent)

    def write(self, coder, r, v, step, noise):
        """Write residuals to a range encoder; returns what the decoder will have."""
        scale = self._scale(step)
        u, point = _eights(v / scale**2, PADDING), nearest_e8(_eights(r / scale, 0.0))
        coset = point[:, 0] % 1 != 0
        stream.write_flags(coder, coset, half_probability(u))
        odd = (point - 0.5 * coset[:, None]) % 2 == 1
        parity = torch.zeros_like(coset)
        for i, (same, remaining) in enumerate(_parities(u, coset)):
            stream.write_flags(coder, odd[:, i], odd_probability(same, remaining, parity))
            parity = parity ^ odd[:, i]
        shift = odd + 0.5 * coset[:, None]
        stream.write_every_other(coder, (point - shift) / 2, shift, u.sqrt())
        return self._sent(point, v, scale)

    def read(self, coder, v, step, noise):
        """Read from a range decoder what the decoder has."""
        scale = self._scale(step)
        u = _eights(v / scale**2, PADDING)
        coset = stream.read_flags(coder, half_probability(u))
        parity, odd = torch.zeros_like(coset), torch.zeros(u.shape, dtype=torch.bool)
        for i, (same, remaining) in enumerate(_parities(u, coset)):
            odd[:, i] = stream.read_flags(coder, odd_probability(same, remaining, parity))
            parity = parity ^ odd[:, i]
        shift = odd + 0.5 * coset[:, None]
        point = 2 * stream.read_every_other(coder, shift, u.sqrt()) + shift
        return self._sent(point, v, scale)

    def _sent(self, point, v, scale: float):
        return scale * point.reshape(-1, *v.shape[1:])[: len(v)]

    def point_bits(self, point, u):
        """Code length of points of shape (block, 8, ...) under variances ``u``; 8 becomes 1."""
        even, odd = coset_weights(u)
        spent = interval_bits(point, u, 0.5).sum(1, keepdim=True)
        return spent + (even + odd).log2()

    def _scale(self, step: float) -> float:
        return step / math.sqrt(12 * E8_SECOND_MOMENT)


def _eights(x, fill: float):
    """(channel, ...) as (block, 8, ...), the last block filled up."""
    missing = -len(x) % 8
    padding = torch.full((missing, *x.shape[1:]), fill, dtype=x.dtype)
    return torch.cat([x, padding]).reshape(-1, 8, *x.shape[1:])


def nearest_e8(x):
    """Nearest point of E8 to each vector of shape (block, 8, ...)."""
    whole, half = _nearest_d8(x), _nearest_d8(x - 0.5) + 0.5
    closer = (x - half).square().sum(1, keepdim=True) < (x - whole).square().sum(1, keepdim=True)
    return torch.where(closer, half, whole)


def _nearest_d8(x):
    """Nearest whole vector of even sum: the worst coordinate goes the other way if the sum is odd."""
    near = x.round()
    error = x - near
    worst = error.abs().argmax(1, keepdim=True)
    other = near.scatter_add(
        1, worst, torch.where(error.gather(1, worst) < 0, -1.0, 1.0).to(x.dtype)
    )
    return torch.where(near.sum(1, keepdim=True) % 2 == 0, near, other)


def coset_weights(u):
    """Weights of the two cosets of E8 under variances of shape (block, 8, ...)."""
    whole, signed = whole_mass(u)
    even = 0.5 * (whole.prod(1, keepdim=True) + signed.prod(1, keepdim=True))
    return even, 0.5 * (1 - whole).prod(1, keepdim=True)


def whole_mass(u):
    """sum_n w(n) and sum_n (-1)^n w(n), w(n) the mass of N(0, u) on [n - 1/4, n + 1/4].

    By Poisson's formula where u > 1/4, directly elsewhere; both to 1e-15.
    """
    n = torch.arange(1, 6, dtype=u.dtype).view(-1, *[1] * u.dim())
    sigma = u.sqrt()
    mass = torch.special.ndtr((n + 0.25) / sigma) - torch.special.ndtr((n - 0.25) / sigma)
    zero = torch.special.erf(0.25 / (sigma * math.sqrt(2)))
    direct = zero + 2 * mass.sum(0), zero + 2 * ((-1) ** n * mass).sum(0)
    wave = lambda f: (
        torch.sin(math.pi * f / 2) / (math.pi * f) * torch.exp(-2 * (math.pi * f * sigma) ** 2)
    )
    smooth = 0.5 + 2 * wave(n).sum(0), 2 * wave(n - 0.5).sum(0)
    return tuple(torch.where(u > 0.25, s, d) for s, d in zip(smooth, direct))


def half_probability(u):
    """Probability of the coset D8 + 1/2, of shape (block, ...)."""
    even, half = coset_weights(u)
    return (half / (even + half))[:, 0]


def _parities(u, coset):
    """For each of the 8 coordinates: E (-1)^n of it, and of the sum of those that follow.

    In Z^8 that is b_i / p_i and its product; in the translate both parities are equally likely. The
    sum of all is even, so that of those that follow the last, an empty one, is 1.
    """
    whole, signed = whole_mass(u)
    same = torch.where(coset[:, None], 0.0, signed / whole)
    remaining = torch.ones_like(u)
    for i in range(6, -1, -1):
        remaining[:, i] = remaining[:, i + 1] * same[:, i + 1]
    return zip(same.unbind(1), remaining.unbind(1))


def odd_probability(same, remaining, parity):
    """Probability that a coordinate is odd, given the parity of those before it."""
    sign = 1 - 2.0 * parity
    even = (1 + same) * (1 + sign * remaining)
    odd = (1 - same) * (1 - sign * remaining)
    return odd / (even + odd)


class Trellis:
    """Entropy-coded trellis-coded quantization along the channels, 4 or 8 states.

    Two scalar quantizers share the points n delta: Q0 has the even n, Q1 the odd n and 0. Which one
    codes an element depends on the state, which moves with the parity of each index; so every point
    can be reached, on a path that Viterbi's algorithm finds. It minimises D + lambda R at the slope
    of rounding at high rate, lambda = (2 ln 2 / 12) step^2. The code of an index is the mass under
    N(0, v) of its nearest-neighbour cell within the quantizer of the state::

        Q0    -4    -2     0     2     4         index -2 -1 0 1 2
        Q1       -3    -1  0  1     3            index -2 -1 0 1 2

    delta is such that the distortion is step^2/12 at high rate.

    Parameters
    ----------
    step : float
        Step of the rounding whose distortion it has at high rate.
    states : {4, 8}

    References
    ----------
    M. W. Marcellin, T. R. Fischer, "Trellis Coded Quantization of Memoryless and Gauss-Markov
    Sources", IEEE Trans. Commun. 38(1), 1990; H. Schwarz et al., "Quantization and Entropy Coding in
    the Versatile Video Coding (VVC) Standard", IEEE Trans. Circuits Syst. Video Technol. 31(10), 2021
    (the quantizers and the tables).
    """

    information = "decodable"
    realisable = True

    def __init__(self, step: float = 1.0, states: int = 8):
        if not step > 0:
            raise InputError(f"step {step!r}: allowed are positive numbers")
        if states not in TRELLIS:
            raise InputError(
                f"trellis states {states!r}: allowed are {', '.join(map(str, TRELLIS))}"
            )
        self.level = step
        self.after, self.second, self.delta = (torch.tensor(part) for part in TRELLIS[states])

    def code(self, r, v, step, noise=None) -> Coded:
        """Quantize residuals of shape (channel, ...)."""
        k, second = self._choose(r.flatten(1), v.flatten(1), step)
        delta = step * self.delta
        bits = trellis_bits(k.abs(), second, v.flatten(1), delta)
        sent = (k.sign() * trellis_point(k.abs(), second, delta)).view_as(r)
        return Coded(bits.view_as(r), (r - sent).square(), sent)

    def write(self, coder, r, v, step, noise):
        """Write residuals to a range encoder; returns what the decoder will have."""
        k, second = self._choose(r.flatten(1), v.flatten(1), step)
        delta = step * self.delta
        for one, which, variance in zip(k, second, v.flatten(1)):
            for chosen, letters, bits in self._alphabets(which, variance, delta):
                stream.write_symmetric(coder, one[chosen], bits, letters)
        return (k.sign() * trellis_point(k.abs(), second, delta)).view_as(r)

    def read(self, coder, v, step, noise):
        """Read from a range decoder what the decoder has."""
        variances, delta = v.flatten(1), step * self.delta
        sent, state = torch.empty_like(variances), torch.zeros(variances.shape[1], dtype=torch.long)
        for c, variance in enumerate(variances):
            which, k = self.second[state], torch.empty_like(variance)
            for chosen, letters, bits in self._alphabets(which, variance, delta):
                k[chosen] = stream.read_symmetric(coder, bits, int(chosen.sum()), letters)
            sent[c] = k.sign() * trellis_point(k.abs(), which, delta)
            state = self.after[state, (k.abs() % 2).long()]
        return sent.view_as(v)

    def _alphabets(self, second, v, delta):
        """Elements, alphabet size and code of narrow and of wide distributions."""
        sigma = v.sqrt() / (2 * delta)
        for low, high, letters in ((0, 4, 48), (4, 32, 384), (32, math.inf, 2048)):
            chosen = (sigma > low) & (sigma <= high)
            if chosen.any():
                yield chosen, letters, trellis_code(second[chosen], v[chosen], delta)

    def _choose(self, r, v, step):
        """Indices of shape (channel, position), and whether Q1 codes each of them."""
        k, cost = self._options(r, v, step)
        states, (channels, positions) = len(self.after), r.shape
        into = [[(s, p) for s in range(states) for p in (0, 1) if self.after[s, p] == t]
                for t in range(states)]  # fmt: skip
        before, parity = torch.tensor(into).permute(2, 1, 0)  # of shape (predecessor, state)
        total = torch.full((states, positions), torch.inf, dtype=r.dtype)
        total[0] = 0
        best = torch.empty((channels, states, positions), dtype=torch.long)
        for c in range(channels):
            ways = total[before] + cost[c][self.second[before].long(), parity]
            total, best[c] = ways.min(0)
        state = total.argmin(0)
        chosen, second = torch.empty_like(r), torch.empty(r.shape, dtype=torch.bool)
        here = torch.arange(positions)
        for c in range(channels - 1, -1, -1):
            way = best[c, state, here]
            odd, state = parity[way, state], before[way, state]
            second[c] = self.second[state]
            chosen[c] = k[c, second[c].long(), odd, here]
        return chosen, second

    def _options(self, r, v, step):
        """The best index of each quantizer and parity and its cost, (channel, 2, 2, position)."""
        delta, slope = step * self.delta, 2 * math.log(2) / 12 * step**2
        second = torch.tensor([False, True]).view(2, 1, 1)
        odd = torch.tensor([0.0, 1.0], dtype=r.dtype).view(2, 1)
        size = (r.abs() / delta)[:, None, None]
        offset = torch.where(second, torch.where(odd == 1, 1.0, -1.0), 2 * odd)
        near = 2 * ((size - offset) / 4).round().clamp(min=0) + odd  # magnitudes of this parity
        magnitude = torch.stack([near, torch.maximum(near - 2, odd.expand_as(near))])
        v = v[:, None, None]
        error = size * delta - trellis_point(magnitude, second, delta)
        cost = error.square() + slope * trellis_bits(magnitude, second, v, delta)
        cost, which = cost.min(0)
        sign = torch.where(r < 0, -1.0, 1.0)[:, None, None]  # of an odd index even where r is 0
        return sign * magnitude.gather(0, which[None])[0], cost


def trellis_point(magnitude, second, delta):
    """The point of an index: 2 k delta in Q0, (2 k - sign k) delta in Q1."""
    return delta * (2 * magnitude - (second & (magnitude > 0)).to(magnitude.dtype))


def trellis_bits(magnitude, second, v, delta):
    """Code length of an index of either sign: the mass of its cell under N(0, v)."""
    centre, width = 2 * magnitude - second.to(v.dtype), torch.full_like(magnitude, 2.0)
    zero, one = second & (magnitude == 0), second & (magnitude == 1)
    centre = torch.where(zero, 0.0, torch.where(one, 1.25, centre))
    width = torch.where(zero, 1.0, torch.where(one, 1.5, width))
    return interval_bits(centre * delta, v, width * delta)


def trellis_code(second, v, delta):
    """What :func:`stream.write_symmetric` asks for: code lengths of magnitudes of chosen elements."""
    return lambda chosen, magnitudes: trellis_bits(
        magnitudes.expand(int(chosen.sum()), -1), second[chosen][:, None], v[chosen][:, None], delta
    )


TRELLIS = {
    4: (((0, 2), (2, 0), (1, 3), (3, 1)), (False, False, True, True), 0.5607),
    8: (
        ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)),
        (False, True, False, True, False, True, False, True),
        0.5663,
    ),
}
"""By number of states: next state for an even and an odd index, states that use Q1, delta / step.

delta was measured on 3 million Gaussian elements of sigma = 100 step; a test checks it.
"""
