"""Orthonormal block transforms of Gaussian fields, with known variances.

.. code-block:: none

    field --blocks--> T x / step --> y --> Q --> y_hat --> step T' y_hat --> field

Every entry of the array has a closed form for such a codec.
"""

from __future__ import annotations

import math
import struct

import constriction
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct as cosine_transform
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import Analysis, Image
from rdpipe.quantizers.scalar import Rounding
from rdpipe.theory import field_rate, field_spectrum

HEADER = struct.Struct(">II")
"""Height and width."""
Array = NDArray[np.float64]


class BlockTransform:
    """A block transform of gray-level images and uniform rounding.

    Images are float32 of shape (height, width, 1). Images whose size is not a multiple of the block
    are extended by repeating the border.

    Parameters
    ----------
    transform : array of shape (block^2, block^2)
        Orthonormal, with one basis image per row.
    variances : array of shape (block^2,)
        Variances of the coefficients, squared gray levels.
    spectrum : array
        Power spectrum of the field; its mean is the variance of the field.
    step : float
        Quantization step, gray levels.

    Attributes
    ----------
    block, stride : int
        Side of a block, pixels.
    """

    def __init__(self, transform: Array, variances: Array, spectrum: Array, step: float):
        self.transform, self.variances = transform, variances
        self.spectrum, self.step = spectrum, step
        self.block = self.stride = math.isqrt(len(transform))

    def analyse(self, name: str, image: Image) -> Analysis:
        """Return the coefficients in steps, and their standard deviations."""
        y = self._latents(image)
        mean, scale = self.predict(b"", *image.shape[:2])
        bits = Rounding().code(y, scale.square(), 1.0).bits.sum().item()
        return Analysis(Latents(name, y, mean, scale), bits, 0.0)

    def decoder_gain(self, latents: Latents, height: int, width: int) -> Tensor:
        """Return the squared step, for every channel."""
        return torch.full((len(latents.y),), self.step**2)

    def synthesise(self, y_hat: Tensor, height: int, width: int) -> Image:
        """Return the image of decoded latents of shape (channel, row, column)."""
        block, (rows, columns) = self.block, y_hat.shape[1:]
        blocks = self.transform.T @ y_hat.double().flatten(1).numpy() * self.step
        pixels = blocks.reshape(block, block, rows, columns).transpose(2, 0, 3, 1)
        pixels = pixels.reshape(rows * block, columns * block)
        return pixels[:height, :width, None].astype(np.float32)

    def compress(self, image: Image) -> bytes:
        """Return the rounded coefficients as a real bitstream."""
        coder = constriction.stream.queue.RangeEncoder()
        _, scale = self.predict(b"", *image.shape[:2])
        Rounding().write(coder, self._latents(image), scale.square(), 1.0)
        return HEADER.pack(*image.shape[:2]) + coder.get_compressed().astype(">u4").tobytes()

    def decompress(self, stream: bytes) -> Image:
        """Return the decoded image."""
        height, width = HEADER.unpack_from(stream)
        words = np.frombuffer(stream, ">u4", offset=HEADER.size).astype(np.uint32)
        _, scale = self.predict(b"", height, width)
        coder = constriction.stream.queue.RangeDecoder(words)
        y_hat = Rounding().read(coder, scale.square(), 1.0)
        return self.synthesise(y_hat, height, width)

    def side(self, image: Image) -> bytes:
        """Return no bytes: the codec has no side information."""
        return b""

    def predict(self, side: bytes, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return mean 0 and the known scales, of shape (channel, row, column)."""
        shape = -(-height // self.block), -(-width // self.block)
        scale = torch.from_numpy(np.sqrt(self.variances) / self.step)[:, None, None]
        scale = scale.expand(-1, *shape).contiguous()
        return torch.zeros_like(scale), scale

    def references(self) -> dict[str, tuple[Array, Array]]:
        """Return two known rate-distortion functions by name: MSE and bit/pixel of 72 points.

        That of the coefficients as independent Gaussians is what the test channel must reach; for
        the KLT it is the rate-distortion function of the blocks. That of the field lies below it:
        no block transform reaches it.
        """
        mse = self.variances.mean() * 2.0 ** np.linspace(-18, -0.25, 72)
        spectra = {"R(D) of the coefficients": self.variances, "R(D) of the field": self.spectrum}
        return {
            name: (mse, np.array([field_rate(spectrum, d) for d in mse]))
            for name, spectrum in spectra.items()
        }

    def _latents(self, image: Image) -> Tensor:
        """Return the coefficients in steps, of shape (channel, row, column)."""
        if image.shape[2] != 1:
            raise InputError(
                f"the image has {image.shape[2]} channels; klt and dct expect one channel, of a"
                " gaussian-field"
            )
        block, margin = self.block, [(0, -side % self.block) for side in image.shape[:2]]
        pixels = np.pad(image[..., 0].astype(np.float64), margin, "edge")
        rows, columns = (side // block for side in pixels.shape)
        blocks = pixels.reshape(rows, block, columns, block).transpose(1, 3, 0, 2)
        y = self.transform @ blocks.reshape(block**2, -1) / self.step
        return torch.from_numpy(y.reshape(-1, rows, columns))


def klt(
    quality: int,
    steps: list[float],
    sigma: float = 40.0,
    block: int = 8,
    size: int = 512,
    rho: float | None = None,
    exponent: float | None = None,
) -> BlockTransform:
    """Return the Karhunen-Loeve transform of the blocks of a Gaussian field, the optimal transform.

    Parameters
    ----------
    quality : int
        Number of the step in ``steps``, from 1.
    steps : list of float
        Quantization steps, gray levels.
    sigma : float
        Standard deviation of the field, gray levels.
    block : int
        Side of a block, pixels.
    size : int
        Side of the field, pixels.
    rho, exponent : float, optional
        Spectrum of the field; see :func:`rdpipe.theory.field_spectrum`.

    Raises
    ------
    InputError
        If there is no such step, or the field is not valid.
    """
    spectrum = _spectrum(sigma, size, rho, exponent)
    _, vectors = np.linalg.eigh(covariance(spectrum, block))
    return _codec(vectors.T[::-1].copy(), spectrum, quality, steps)


def dct(
    quality: int,
    steps: list[float],
    sigma: float = 40.0,
    block: int = 8,
    size: int = 512,
    rho: float | None = None,
    exponent: float | None = None,
) -> BlockTransform:
    """Return the discrete cosine transform of the same blocks.

    Parameters and errors are those of :func:`klt`.
    """
    spectrum = _spectrum(sigma, size, rho, exponent)
    line = cosine_transform(np.eye(block), axis=0, norm="ortho")
    return _codec(np.kron(line, line), spectrum, quality, steps)


def _spectrum(sigma: float, size: int, rho: float | None, exponent: float | None) -> Array:
    """Return the power spectrum of a field with a standard deviation."""
    try:
        return sigma**2 * field_spectrum(size, rho, exponent)
    except ValueError as error:
        raise InputError(f"klt, dct: {error}") from error


def covariance(spectrum: Array, block: int) -> Array:
    """Return the covariance of the pixels of a block in row order, of shape (block^2, block^2).

    The autocovariance of a stationary field is the Fourier transform of its spectrum.
    """
    autocovariance: Array = np.fft.ifft2(spectrum).real
    row, column = np.divmod(np.arange(block**2), block)
    return autocovariance[np.abs(row[:, None] - row), np.abs(column[:, None] - column)]


def _codec(transform: Array, spectrum: Array, quality: int, steps: list[float]) -> BlockTransform:
    """Return the codec with one of several steps."""
    if not 1 <= quality <= len(steps):
        raise InputError(f"quality {quality} does not exist; expected 1 to {len(steps)} (steps)")
    block = math.isqrt(len(transform))
    variances = np.diag(transform @ covariance(spectrum, block) @ transform.T)
    return BlockTransform(transform, variances, spectrum, steps[quality - 1])
