"""Variances: how spread the decoder expects each residual to be (SCIENCE.md, section 2.2).

Under N(0, v) the expected code length 1/2 log2(2 pi v) + E r^2 / (2 v ln 2) is smallest at
v = E r^2, so every estimator but the codec's own is a second moment; they differ in what the
expectation is taken over.
"""

from __future__ import annotations

import lazy_loader

from rdpipe.errors import InputError

torch = lazy_loader.load("torch")

FLOOR = 1e-9
"""Least genie variance, units of step^2; it only keeps divisions finite.

A residual this small rounds to 0 at no cost and lies below any water level, so unlike a density
neither quantizer's rate explodes there and no higher floor is needed.
"""


class Codec:
    """The variance the codec predicts, sigma_i^2."""

    information = "decodable"
    uses_side = True

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        return latents.scale.square(), 0


class Channel:
    """Second moment of each channel of the image, sent as an 8-bit index of its logarithm.

    log2 v is rounded to a multiple of 1/4 between -16 and 47.75 by a fixed-length code, so that
    a mismatch of at most 2^(1/8) remains, which costs at most 0.003 bit per element.
    """

    information = "decodable"
    uses_side = False
    index_bits = 8

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        second_moment = r.square().mean((1, 2), keepdim=True).clamp(min=2.0**-16)
        index = (4 * second_moment.log2()).round().clamp(-64, 2**self.index_bits - 65)
        return (2 ** (index / 4)).expand_as(r), self.index_bits * len(r)


class Window:
    """Second moment over the ``size`` x ``size`` window around each element, itself included.

    At the border the window is cut. A genie: the decoder does not have these residuals.

    Parameters
    ----------
    size : int
        Odd side of the window, elements.
    """

    information = "genie"
    uses_side = False

    def __init__(self, size: int):
        if not (isinstance(size, int) and size > 0 and size % 2):
            raise InputError(f"window of size {size!r}: allowed are odd whole numbers, 1, 3, 5, ...")
        self.size = size

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        moments = torch.nn.functional.avg_pool2d(
            r.square()[None], self.size, 1, self.size // 2, count_include_pad=False
        )[0]
        return moments.clamp(min=FLOOR), 0


class Element(Window):
    """r_i^2 itself: the second moment taken to its end, and the most optimistic genie."""

    def __init__(self):
        super().__init__(1)
