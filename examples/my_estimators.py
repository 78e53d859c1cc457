"""A user-defined mean, a variance and two quantizers."""

import torch

from rdpipe.quantizers.base import QuantizerOutput, cell_bits
from rdpipe.quantizers.scalar import Rounding


class Cautious:
    """A mean: the codec's mean, moved towards zero. It is decodable because the codec's mean is."""

    information = "decodable"

    def __init__(self, factor: float = 0.9):
        self.factor = factor

    def __call__(self, latents):
        return self.factor * latents.mean


class Row:
    """A variance: the second moment of each row of each channel.

    It sees the latents that are being coded, so it is a genie.
    """

    information = "genie"

    def __call__(self, latents, residual):
        moment = residual.square().mean(2, keepdim=True)
        return moment.expand(residual.shape), 0.0  # the second value: the bits that are sent for it


class Shrunk(Rounding):
    """A quantizer: rounding whose reconstruction points lie a tenth of a step closer to zero."""

    def point(self, k, v, step, noise):
        return k * step - 0.1 * step * k.sign()


class Floored:
    """A quantizer without a base class: each cell lies between two multiples of the step."""

    information = "decodable"
    realizable = False  # if it is True, the class also needs the methods write and read
    level = 1.0  # the step; None means that it is solved for, to have the distortion of rounding

    def code(self, r, v, level, noise=None):
        k = torch.floor(r / level)
        point = (k + 0.5) * level
        bits = cell_bits(k * level, (k + 1) * level, v)
        return QuantizerOutput(bits, (r - point).square(), point)
