"""Orthonormal block transforms of Gaussian fields, with variances that are known.

.. code-block:: none

    field --blocks--> T x T' / step --> y --> Q --> y_hat --> step T' y_hat T --> field

Every number the array gives for such a codec has a closed form to compare with.
"""

from __future__ import annotations

import struct

import constriction
import numpy as np
import torch
from scipy.fft import dct as cosine_transform

from rdpipe.axes.quantizer import Rounding
from rdpipe.codecs.protocol import Analysis
from rdpipe.errors import InputError
from rdpipe.latents import Latents
from rdpipe.theory import reverse_waterfill

HEADER = struct.Struct(">II")  # height, width


class BlockTransform:
    """A separable block transform and uniform rounding, behind :class:`rdpipe.codecs.protocol.Codec`.

    Images are float32 of shape (height, width, 1); sizes that are no multiple of the block are
    filled up by repeating the border.

    Parameters
    ----------
    transform : array of shape (block, block)
        Orthonormal, a basis vector in each row.
    variances : array of shape (block, block)
        Of the coefficients, squared grey levels.
    step : float
        Quantization step, grey levels.
    """

    def __init__(self, transform: np.ndarray, variances: np.ndarray, step: float):
        self.transform, self.variances, self.step = transform, variances, step
        self.block = len(transform)

    def analyse(self, name: str, image: np.ndarray) -> Analysis:
        y = self._latents(image)
        mean, scale = self.predict(b"", *image.shape[:2])
        bits = Rounding().code(y, scale.square(), 1.0).bits.sum().item()
        gain = torch.full((self.block**2,), self.step**2)
        return Analysis(Latents(name, y, mean, scale, gain=gain), bits, 0.0)

    def synthesise(self, y_hat: torch.Tensor, height: int, width: int) -> np.ndarray:
        rows, columns = y_hat.shape[1:]
        blocks = y_hat.double().numpy().reshape(self.block, self.block, rows, columns) * self.step
        pixels = np.einsum("ui,vj,uvrc->ricj", self.transform, self.transform, blocks)
        pixels = pixels.reshape(rows * self.block, columns * self.block)
        return pixels[:height, :width, None].astype(np.float32)

    def compress(self, image: np.ndarray) -> bytes:
        coder = constriction.stream.queue.RangeEncoder()
        _, scale = self.predict(b"", *image.shape[:2])
        Rounding().write(coder, self._latents(image), scale.square(), 1.0, None)
        return HEADER.pack(*image.shape[:2]) + coder.get_compressed().astype(">u4").tobytes()

    def decompress(self, stream: bytes) -> np.ndarray:
        height, width = HEADER.unpack_from(stream)
        words = np.frombuffer(stream, ">u4", offset=HEADER.size).astype(np.uint32)
        _, scale = self.predict(b"", height, width)
        coder = constriction.stream.queue.RangeDecoder(words)
        y_hat = Rounding().read(coder, scale.square(), 1.0, None)
        return self.synthesise(y_hat, height, width)

    def side(self, image: np.ndarray) -> bytes:
        return b""

    def predict(self, side: bytes, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = -(-height // self.block), -(-width // self.block)
        scale = torch.from_numpy(np.sqrt(self.variances).ravel() / self.step)[:, None, None]
        scale = scale.expand(-1, *shape).contiguous()
        return torch.zeros_like(scale), scale

    def reference(self) -> tuple[np.ndarray, np.ndarray]:
        """R(D) of independent Gaussian blocks: MSE and bit/pixel, each of shape (72,)."""
        variances = self.variances.ravel()
        mse = variances.mean() * 2.0 ** np.linspace(-18, -0.25, 72)
        rates = [reverse_waterfill(variances, d * len(variances)).rate for d in mse]
        return mse, np.array(rates) / len(variances)

    def _latents(self, image: np.ndarray) -> torch.Tensor:
        height, width = image.shape[:2]
        fill = [(0, -side % self.block) for side in (height, width)]
        pixels = np.pad(image[..., 0].astype(np.float64), fill, "edge")
        rows, columns = (side // self.block for side in pixels.shape)
        blocks = pixels.reshape(rows, self.block, columns, self.block)
        y = np.einsum("ui,vj,ricj->uvrc", self.transform, self.transform, blocks) / self.step
        return torch.from_numpy(y.reshape(self.block**2, rows, columns))


def klt(quality: int, rho: float, steps: list[float], sigma: float = 40.0, block: int = 8):
    """The Karhunen-Loeve transform of blocks of a separable AR(1) field: the best one there is.

    Parameters
    ----------
    quality : int
        From 1; picks the step.
    rho, sigma : float
        Of the field (:mod:`rdpipe.datasets.gaussian_field`).
    steps : list of float
        Quantization steps, grey levels.
    block : int
        Side of a block, pixels.
    """
    _, vectors = np.linalg.eigh(correlation(rho, block))
    return _codec(vectors.T[::-1].copy(), quality, rho, steps, sigma)


def dct(quality: int, rho: float, steps: list[float], sigma: float = 40.0, block: int = 8):
    """The discrete cosine transform of the same blocks; parameters as for :func:`klt`."""
    return _codec(cosine_transform(np.eye(block), axis=0, norm="ortho"), quality, rho, steps, sigma)


def correlation(rho: float, block: int) -> np.ndarray:
    """Correlation rho^|i - j| of a line of a block."""
    index = np.arange(block)
    return rho ** np.abs(index[:, None] - index).astype(float)


def _codec(transform: np.ndarray, quality: int, rho: float, steps: list[float], sigma: float):
    if not 1 <= quality <= len(steps):
        raise InputError(f"no quality {quality}: steps has 1 to {len(steps)}")
    line = np.diag(transform @ correlation(rho, len(transform)) @ transform.T)
    return BlockTransform(transform, sigma**2 * np.outer(line, line), steps[quality - 1])
