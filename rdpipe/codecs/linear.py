"""Orthonormal block transforms of Gaussian fields, with variances that are known.

.. code-block:: none

    field --blocks--> T x / step --> y --> Q --> y_hat --> step T' y_hat --> field

Every number the array gives for such a codec has a closed form to compare with.
"""

from __future__ import annotations

import math
import struct

import constriction
import numpy as np
import torch
from scipy.fft import dct as cosine_transform

from rdpipe.quantizers.scalar import Rounding
from rdpipe.codecs.protocol import Analysis
from rdpipe.datasets import gaussian_field
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.theory import field_rate

HEADER = struct.Struct(">II")  # height, width


class BlockTransform:
    """A block transform and uniform rounding, behind :class:`rdpipe.codecs.protocol.Codec`.

    Images are float32 of shape (height, width, 1); sizes that are no multiple of the block are
    filled up by repeating the border.

    Parameters
    ----------
    transform : array of shape (block^2, block^2)
        Orthonormal, a basis image in each row.
    variances : array of shape (block^2,)
        Of the coefficients, squared grey levels.
    spectrum : array
        Power spectrum of the field, with a mean of its variance.
    step : float
        Quantization step, grey levels.
    """

    def __init__(
        self, transform: np.ndarray, variances: np.ndarray, spectrum: np.ndarray, step: float
    ):
        self.transform, self.variances = transform, variances
        self.spectrum, self.step = spectrum, step
        self.block = self.stride = math.isqrt(len(transform))

    def analyse(self, name: str, image: np.ndarray) -> Analysis:
        y = self._latents(image)
        mean, scale = self.predict(b"", *image.shape[:2])
        bits = Rounding().code(y, scale.square(), 1.0).bits.sum().item()
        return Analysis(Latents(name, y, mean, scale), bits, 0.0)

    def decoder_gain(self, latents: Latents, height: int, width: int) -> torch.Tensor:
        return torch.full((len(latents.y),), self.step**2)

    def synthesise(self, y_hat: torch.Tensor, height: int, width: int) -> np.ndarray:
        block, (rows, columns) = self.block, y_hat.shape[1:]
        blocks = self.transform.T @ y_hat.double().flatten(1).numpy() * self.step
        pixels = blocks.reshape(block, block, rows, columns).transpose(2, 0, 3, 1)
        pixels = pixels.reshape(rows * block, columns * block)
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
        scale = torch.from_numpy(np.sqrt(self.variances) / self.step)[:, None, None]
        scale = scale.expand(-1, *shape).contiguous()
        return torch.zeros_like(scale), scale

    def references(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Rate-distortion functions that are known: MSE and bit/pixel by name, each of shape (72,).

        That of the coefficients as independent Gaussians is where the test channel must land; for
        the KLT it is the R(D) of the blocks. That of the field, below it, is where no block
        transform gets to.
        """
        mse = self.variances.mean() * 2.0 ** np.linspace(-18, -0.25, 72)
        known = {"R(D) of the coefficients": self.variances, "R(D) of the field": self.spectrum}
        return {
            name: (mse, np.array([field_rate(spectrum, d) for d in mse]))
            for name, spectrum in known.items()
        }

    def _latents(self, image: np.ndarray) -> torch.Tensor:
        if image.shape[2] != 1:
            raise InputError(
                f"an image of {image.shape[2]} channels; klt and dct take a gaussian-field"
            )
        block, fill = self.block, [(0, -side % self.block) for side in image.shape[:2]]
        pixels = np.pad(image[..., 0].astype(np.float64), fill, "edge")
        rows, columns = (side // block for side in pixels.shape)
        blocks = pixels.reshape(rows, block, columns, block).transpose(1, 3, 0, 2)
        y = self.transform @ blocks.reshape(block**2, -1) / self.step
        return torch.from_numpy(y.reshape(-1, rows, columns))


def klt(quality: int, steps: list[float], sigma: float = 40.0, block: int = 8, **field):
    """The Karhunen-Loeve transform of the blocks of a Gaussian field: the best one there is.

    Parameters
    ----------
    quality : int
        From 1; picks the step.
    steps : list of float
        Quantization steps, grey levels.
    sigma : float
        Standard deviation of the field, grey levels.
    block : int
        Side of a block, pixels.
    **field
        ``rho`` or ``exponent``, and ``size``, of :mod:`rdpipe.datasets.gaussian_field`.
    """
    spectrum = sigma**2 * gaussian_field.spectrum(**field)
    _, vectors = np.linalg.eigh(covariance(spectrum, block))
    return _codec(vectors.T[::-1].copy(), spectrum, quality, steps)


def dct(quality: int, steps: list[float], sigma: float = 40.0, block: int = 8, **field):
    """The discrete cosine transform of the same blocks; parameters as for :func:`klt`."""
    spectrum = sigma**2 * gaussian_field.spectrum(**field)
    line = cosine_transform(np.eye(block), axis=0, norm="ortho")
    return _codec(np.kron(line, line), spectrum, quality, steps)


def covariance(spectrum: np.ndarray, block: int) -> np.ndarray:
    """Covariance of the pixels of a block, row by row, of shape (block^2, block^2).

    The autocovariance of a stationary field is the Fourier transform of its spectrum.
    """
    autocovariance = np.fft.ifft2(spectrum).real
    row, column = np.divmod(np.arange(block**2), block)
    return autocovariance[np.abs(row[:, None] - row), np.abs(column[:, None] - column)]


def _codec(transform: np.ndarray, spectrum: np.ndarray, quality: int, steps: list[float]):
    if not 1 <= quality <= len(steps):
        raise InputError(f"no quality {quality}: steps has 1 to {len(steps)}")
    block = math.isqrt(len(transform))
    variances = np.diag(transform @ covariance(spectrum, block) @ transform.T)
    return BlockTransform(transform, variances, spectrum, steps[quality - 1])
