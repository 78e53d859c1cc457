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

import lazy_loader
import numpy as np

constriction = lazy_loader.load("constriction")
torch = lazy_loader.load("torch")

ALPHABETS = ((0.0, 511), (40.0, 2**15 - 1))
"""Least scale and largest index of the Gaussian alphabets."""
LETTERS = 48
"""Size of the alphabet of magnitudes; enough for scales up to 4."""


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


def write_symmetric(coder, k, bits) -> None:
    """Write indices of shape (n,) whose magnitude m has the code length ``bits(m, chosen)``.

    Sign included; ``chosen`` is a mask of shape (n,).
    """
    zero = k == 0
    coder.encode(zero.numpy().astype(np.int32), *_zero(bits, torch.ones_like(zero)))
    sign, letter = (k[~zero] > 0).numpy(), (k[~zero].abs() - 1).numpy()
    coder.encode(sign.astype(np.int32), constriction.stream.model.Uniform(2))
    clipped = letter.clip(0, LETTERS - 1)
    coder.encode(clipped.astype(np.int32), *_letters(bits, ~zero))
    for value in letter[clipped == LETTERS - 1]:
        write_elias(coder, int(value) - LETTERS + 2)


def read_symmetric(coder, bits, count: int):
    """Read indices of shape (count,) back."""
    zero = torch.from_numpy(coder.decode(*_zero(bits, torch.ones(count, dtype=torch.bool))) == 1)
    sign = coder.decode(constriction.stream.model.Uniform(2), int((~zero).sum()))
    letter = coder.decode(*_letters(bits, ~zero)).astype(np.float64)
    for i in np.flatnonzero(letter == LETTERS - 1):
        letter[i] += read_elias(coder) - 1
    k = torch.zeros(count, dtype=torch.float64)
    k[~zero] = torch.from_numpy((2.0 * sign - 1) * (letter + 1))
    return k


def _zero(bits, chosen):
    probability = torch.exp2(-bits(0, chosen)).numpy().ravel().clip(1e-7, 1 - 1e-7)
    return constriction.stream.model.Bernoulli(perfect=False), probability


def _letters(bits, chosen):
    """Magnitudes 1, 2, ... of the elements that are not 0; the last letter stands for all beyond."""
    cost = torch.stack([bits(m, chosen) for m in range(1, LETTERS + 1)], 1)
    mass = torch.exp2(cost.amin(1, keepdim=True) - cost)
    return constriction.stream.model.Categorical(perfect=False), (mass / mass.sum(1, keepdim=True)).numpy()


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
