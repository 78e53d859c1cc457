"""A mean, a variance and a quantizer of one's own."""

import torch

from rdpipe.quantizers.scalar import Coded, Rounding, cell_bits


class Cautious:
    """A mean: what the codec says, drawn towards zero. Decodable, because the codec's mean is."""

    information = "decodable"

    def __init__(self, factor: float = 0.9):
        self.factor = factor

    def __call__(self, latents):
        return self.factor * latents.mean


class Row:
    """A variance: the second moment of each row of each channel. It looks at what it codes: a genie."""

    information = "genie"

    def __call__(self, latents, residual):
        moment = residual.square().mean(2, keepdim=True)
        return moment.expand(residual.shape).clone(), 0.0  # and the bits that are sent for it


class Shrunk(Rounding):
    """A quantizer: rounding whose points lie a tenth of a step closer to zero."""

    def point(self, k, v, step, noise):
        return k * step - 0.1 * step * k.sign()


class Floored:
    """A quantizer from nothing: cells from a whole number of steps to the next."""

    information = "decodable"
    realisable = False  # it writes no bits; one that does has write and read
    level = 1.0  # its step; None asks for the level at which it distorts as rounding does

    def code(self, r, v, step, noise=None):
        k = torch.floor(r / step)
        point = (k + 0.5) * step
        return Coded(cell_bits(k * step, (k + 1) * step, v), (r - point).square(), point)
