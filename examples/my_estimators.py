"""A mean, a variance and a quantizer of one's own."""

import torch

from rdpipe.axes.quantizer import Rounding


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


class Coarse(Rounding):
    """A quantizer: rounding to multiples of two steps."""

    def __init__(self):
        super().__init__(step=2.0)


class Shrunk:
    """A quantizer from nothing: rounding whose points lie a tenth of a step closer to zero."""

    information = "decodable"
    realisable = False  # it writes no bits; one that does has write and read
    level = 1.0  # its step; None would ask for a level of equal distortion

    def code(self, r, v, step, noise=None):
        coded = Rounding().code(r, v, step)
        point = coded.residual - 0.1 * step * torch.sign(coded.residual)
        return type(coded)(coded.bits, (r - point).square(), point)
