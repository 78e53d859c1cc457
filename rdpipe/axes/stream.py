"""Range coding of indices; ``coder`` is a range encoder or decoder of ``constriction``.

Models assign at least 2^-24 to each letter, so alphabets are small; an index beyond them is written
as the last letter and what it lacks, which is rare, in the Elias gamma code.

References
----------
R. Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a Statistician's
Perspective", arXiv 2201.01741, 2022 (the ``constriction`` package); P. Elias, "Universal codeword
sets and representations of the integers", IEEE Trans. Inf. Theory 21(2), 1975.
"""

from __future__ import annotations

import math

import lazy_loader
import numpy as np

constriction = lazy_loader.load("constriction")
torch = lazy_loader.load("torch")

ALPHABETS = ((0.0, 511), (40.0, 2**15 - 1))
"""Least scale and largest index of the Gaussian alphabets."""
LETTERS = 48
"""Size of the alphabet of magnitudes; enough for scales up to 4."""
EVERY_OTHER = 24
"""Largest whole number of the alphabet of every other one."""


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
    upper = torch.special.log_ndtr((width / 2 - centre) / sigma)
    lower = torch.special.log_ndtr((-width / 2 - centre) / sigma)
    return -(upper + torch.log1p(-torch.exp(lower - upper))) / math.log(2)


def write_gaussian(coder, k, mean, scale) -> None:
    """Write indices under the masses of N(mean, scale^2) on [k - 1/2, k + 1/2]."""
    k = k.numpy().ravel()
    for chosen, limit, *model in _gaussian(mean, scale):
        clipped = k[chosen].clip(-limit, limit)
        coder.encode(clipped.astype(np.int32), *model)
        for value in k[chosen][abs(clipped) == limit]:
            write_elias(coder, int(abs(value)) - limit + 1)


def read_gaussian(coder, mean, scale):
    """Read indices back, of the shape of ``scale``."""
    k = np.empty(scale.numel())
    for chosen, limit, *model in _gaussian(mean, scale):
        part = coder.decode(*model).astype(np.float64)
        for i in np.flatnonzero(abs(part) == limit):
            part[i] += np.sign(part[i]) * (read_elias(coder) - 1)
        k[chosen] = part
    return torch.from_numpy(k).view(scale.shape)


def _gaussian(mean, scale):
    """Elements, largest index, model and its parameters of each alphabet that is used."""
    scale = scale.numpy().ravel().astype(np.float64).clip(1e-6, 1e6)
    mean = np.broadcast_to(np.asarray(mean, dtype=np.float64).ravel(), scale.shape)
    alphabet = np.searchsorted([least for least, _ in ALPHABETS], scale) - 1
    for number, (_, limit) in enumerate(ALPHABETS):
        chosen = np.flatnonzero(alphabet == number)
        model = constriction.stream.model.QuantizedGaussian(-limit, limit)
        if len(chosen):
            yield chosen, limit, model, mean[chosen], scale[chosen]


def write_symmetric(coder, k, bits, letters: int = LETTERS) -> None:
    """Write indices of shape (n,) by their magnitude and sign.

    Parameters
    ----------
    coder
    k : Tensor of shape (n,)
    bits : callable
        ``bits(chosen, magnitudes)`` is the code length, sign included, of some magnitudes of the
        elements that a mask of shape (n,) chooses: of shape (chosen, magnitude).
    letters : int
        Size of the alphabet of magnitudes.
    """
    zero = k == 0
    write_flags(coder, zero, torch.exp2(-bits(torch.ones_like(zero), torch.zeros(1))[:, 0]))
    sign, letter = (k[~zero] > 0).numpy(), (k[~zero].abs() - 1).numpy()
    coder.encode(sign.astype(np.int32), constriction.stream.model.Uniform(2))
    clipped = letter.clip(0, letters - 1)
    coder.encode(clipped.astype(np.int32), *_letters(bits, ~zero, letters))
    for value in letter[clipped == letters - 1]:
        write_elias(coder, int(value) - letters + 2)


def read_symmetric(coder, bits, count: int, letters: int = LETTERS):
    """Read indices of shape (count,) back."""
    zero = read_flags(
        coder, torch.exp2(-bits(torch.ones(count, dtype=torch.bool), torch.zeros(1))[:, 0])
    )
    sign = coder.decode(constriction.stream.model.Uniform(2), int((~zero).sum()))
    letter = coder.decode(*_letters(bits, ~zero, letters)).astype(np.float64)
    for i in np.flatnonzero(letter == letters - 1):
        letter[i] += read_elias(coder) - 1
    k = torch.zeros(count, dtype=torch.float64)
    k[~zero] = torch.from_numpy((2.0 * sign - 1) * (letter + 1))
    return k


def _letters(bits, chosen, letters: int):
    """Magnitudes 1, 2, ... of the elements that are not 0; the last letter stands for all beyond."""
    return _categorical(bits(chosen, torch.arange(1.0, letters + 1, dtype=torch.float64)))


def _categorical(cost):
    """Model of letters of the given code lengths, bit, of shape (element, letter)."""
    mass = torch.exp2(cost.amin(1, keepdim=True) - cost)
    return constriction.stream.model.Categorical(perfect=False), (
        mass / mass.sum(1, keepdim=True)
    ).numpy()


def write_flags(coder, flags, probability) -> None:
    """Write flags, each of which is set with a probability."""
    coder.encode(flags.numpy().ravel().astype(np.int32), *_flags(probability))


def read_flags(coder, probability):
    """Read flags back, of the shape of ``probability``."""
    return torch.from_numpy(coder.decode(*_flags(probability)) == 1).view(probability.shape)


def _flags(probability):
    model = constriction.stream.model.Bernoulli(perfect=False)
    return model, probability.numpy().ravel().clip(1e-7, 1 - 1e-7)


def write_every_other(coder, m, shift, scale) -> None:
    """Write whole numbers m under the masses of N(0, scale^2) on [2m + shift +- 1/4].

    Beyond a scale of 4 the mass of [2m + shift +- 1] stands for it, which costs 0.0002 bit.
    """
    m, shift, scale = m.flatten(), shift.flatten(), scale.flatten()
    wide = scale > 4
    write_gaussian(coder, m[wide], -shift[wide] / 2, scale[wide] / 2)
    m = m[~wide].numpy()
    clipped = m.clip(-EVERY_OTHER, EVERY_OTHER)
    letters = (clipped + EVERY_OTHER).astype(np.int32)
    coder.encode(letters, *_every_other(shift[~wide], scale[~wide]))
    for value in m[abs(clipped) == EVERY_OTHER]:
        write_elias(coder, int(abs(value)) - EVERY_OTHER + 1)


def read_every_other(coder, shift, scale):
    """Read whole numbers back, of the shape of ``shift``."""
    shape, shift, scale = shift.shape, shift.flatten(), scale.flatten()
    wide, m = scale > 4, torch.empty_like(scale)
    m[wide] = read_gaussian(coder, -shift[wide] / 2, scale[wide] / 2)
    part = coder.decode(*_every_other(shift[~wide], scale[~wide])) - float(EVERY_OTHER)
    for i in np.flatnonzero(abs(part) == EVERY_OTHER):
        part[i] += np.sign(part[i]) * (read_elias(coder) - 1)
    m[~wide] = torch.from_numpy(part)
    return m.view(shape)


def _every_other(shift, scale):
    t = 2 * torch.arange(-EVERY_OTHER, EVERY_OTHER + 1) + shift[:, None]
    return _categorical(interval_bits(t, scale.square()[:, None], 0.5))


def write_elias(coder, value: int) -> None:
    """Write a whole number from 1 on in the Elias gamma code."""
    for bit in f"{value:0{2 * value.bit_length() - 1}b}":
        coder.encode(int(bit), constriction.stream.model.Uniform(2))


def read_elias(coder) -> int:
    """Read a whole number from 1 on."""
    bit, length, value = constriction.stream.model.Uniform(2), 0, 1
    while coder.decode(bit) == 0:
        length += 1
    for _ in range(length):
        value = 2 * value + coder.decode(bit)
    return value
