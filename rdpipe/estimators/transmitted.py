"""Variances that are transmitted as integer arrays.

See ``docs/explanation/science.md``, section 2.2.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lazy_loader
import numpy as np
from numpy.typing import NDArray

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.entropy.adaptive import adaptive_bits, read_adaptive, write_adaptive
from rdpipe.entropy.range_coding import interval_bits
from rdpipe.estimators.base import Transmitter, Variance

if TYPE_CHECKING:
    import constriction
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
else:
    torch = lazy_loader.load("torch")
    constriction = lazy_loader.load("constriction")


class TransmittedVariance(Variance):
    """Base of variances that are transmitted as an integer array.

    ``index`` computes the array and ``from_index`` the variances that it stands for; ``index_bits``
    is the length of its code, ``write`` and ``read`` are the code. It is its own
    :class:`~rdpipe.estimators.base.Transmitter`.
    """

    information = Information.DECODABLE
    uses_side = False
    uses_context = False

    @property
    def transmitter(self) -> Transmitter:
        """The variance itself."""
        return self

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the variance of each element, and the bits sent for it."""
        index = self.index(residual)
        return self.from_index(index, residual.shape), self.index_bits(index)

    @abstractmethod
    def index(self, residual: Tensor) -> Tensor:
        """Return the integer array for some residuals."""

    @abstractmethod
    def from_index(self, index: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the variance of each element, of shape (channel, row, column)."""

    @abstractmethod
    def index_bits(self, index: Tensor) -> float:
        """Return the length of the code, bit."""

    @abstractmethod
    def write(self, encoder: Any, index: Tensor) -> None:
        """Write the array to a range encoder."""

    @abstractmethod
    def read(self, decoder: Any, shape: Sequence[int]) -> Tensor:
        """Read the array for latents of ``shape`` from a range decoder."""


class ChannelVariance(TransmittedVariance):
    """Second moment of each channel of the image, sent as an 8-bit index of its logarithm.

    log2 v is rounded to a multiple of 1/4 between -16 and 47.75 and sent by a fixed-length code.
    The remaining mismatch of at most 2^(1/8) costs at most 0.003 bit per element.
    """

    def index(self, residual: Tensor) -> Tensor:
        """Return the index of each channel, int64 of shape (channel,)."""
        log_moment = residual.square().mean((1, 2)).clamp(min=2.0**-16).log2()
        return (4 * log_moment).round().clamp(-64, 191).long() + 64

    def from_index(self, index: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the variance of each element, of shape (channel, row, column)."""
        variance: Tensor = 2 ** ((index.double() - 64) / 4)
        return variance[:, None, None].expand(tuple(shape))

    def index_bits(self, index: Tensor) -> float:
        """Return the length of the fixed-length code, bit."""
        return 8.0 * len(index)

    def write(self, encoder: Any, index: Tensor) -> None:
        """Write the indices to a range encoder."""
        encoder.encode(index.numpy().astype(np.int32), constriction.stream.model.Uniform(256))

    def read(self, decoder: Any, shape: Sequence[int]) -> Tensor:
        """Read the indices for latents of ``shape`` from a range decoder."""
        index = decoder.decode(constriction.stream.model.Uniform(256), shape[0])
        return torch.from_numpy(index).long()


class SearchedChannelVariance(ChannelVariance):
    """The variance of each channel that codes its rounded residuals in the fewest bits.

    Use it to check that the second moment is nearly optimal, as it is under a Gaussian density for
    any distribution. Savings against ``channel`` come from discrete rounding and from the
    resolution of the 8-bit index.

    Parameters
    ----------
    step : float
        Step of the rounding, latent units.
    reach : int
        How far the search goes to both sides of the second moment, quarters of an octave.
    """

    def __init__(self, step: float = 1.0, reach: int = 12):
        self.step, self.reach = step, reach

    def index(self, residual: Tensor) -> Tensor:
        """Return the index of each channel, int64 of shape (channel,)."""
        around = torch.arange(-self.reach, self.reach + 1)
        candidates = (super().index(residual) + around[:, None]).clamp(0, 255)
        center = (residual / self.step).round() * self.step
        bits = [
            interval_bits(center, self.from_index(candidate, residual.shape), self.step).sum((1, 2))
            for candidate in candidates
        ]
        return candidates.gather(0, torch.stack(bits).argmin(0)[None])[0]


class BlockVariance(TransmittedVariance):
    """Second moment of each ``size`` x ``size`` block of a channel, sent in steps of an octave.

    log2 v is rounded to an integer from -8 to 24. Its difference from the block to the left (for
    the first block of a row: from the block above) is sent by an adaptive code over all channels.

    Parameters
    ----------
    size : int
        Side length of a block, elements. Blocks at the right and lower border are cut.
    """

    low, high = -8, 24
    """Range of log2 v."""

    def __init__(self, size: int):
        if not (isinstance(size, int) and size > 0):
            raise InputError(f"block: size is {size!r}; expected 1, 2, 3, ...")
        self.size = size
        self.alphabet = 2 * (self.high - self.low) + 1

    def index(self, residual: Tensor) -> Tensor:
        """Return log2 of the variance of each block.

        It is int64 of shape (channel, block row, block column).
        """
        moment = torch.nn.functional.avg_pool2d(
            residual.square()[None], self.size, ceil_mode=True, count_include_pad=False
        )[0]
        return moment.clamp(min=2.0**self.low).log2().round().clamp(max=self.high).long()

    def from_index(self, index: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the variance of each element, of shape (channel, row, column)."""
        large = index.repeat_interleave(self.size, 1).repeat_interleave(self.size, 2)
        variance: Tensor = 2.0 ** large[:, : shape[1], : shape[2]].double()
        return variance

    def index_bits(self, index: Tensor) -> float:
        """Return the length of the adaptive code, bit."""
        return adaptive_bits(self._differences(index), self.alphabet)

    def write(self, encoder: Any, index: Tensor) -> None:
        """Write the indices to a range encoder."""
        write_adaptive(encoder, self._differences(index), self.alphabet)

    def read(self, decoder: Any, shape: Sequence[int]) -> Tensor:
        """Read the indices for latents of ``shape`` from a range decoder."""
        rows, columns = (-(-side // self.size) for side in shape[1:])
        symbols = read_adaptive(decoder, shape[0] * rows * columns, self.alphabet)
        difference = torch.from_numpy(symbols).view(shape[0], rows, columns) + self.low - self.high
        first = difference[:, :, :1].cumsum(1)
        return torch.cat([first, difference[:, :, 1:]], 2).cumsum(2)

    def _differences(self, index: Tensor) -> NDArray[np.int64]:
        differences = index.diff(dim=2, prepend=torch.zeros_like(index[:, :, :1]))
        differences[:, 1:, 0] = index[:, :, 0].diff(dim=1)
        return differences.flatten().numpy() - (self.low - self.high)
