"""Orthonormal block transforms of Gaussian fields, with known variances.

.. code-block:: none

    field --blocks--> T x / step --> y --> Q --> y_hat --> step T' y_hat --> field

Every entry of the array has a closed form for such a codec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct as cosine_transform
from torch import Tensor, nn

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Send
from rdpipe.entropy.priors import Gaussian
from rdpipe.theory import field_rate, field_spectrum

Array = NDArray[np.float64]
PARTS = {"analysis": "encoder", "synthesis": "decoder", "log_factor": "prior"}
"""What the weights of a block transform belong to."""
DEGENERATE = 1e-12
"""Difference of two eigenvalues, relative to the largest, below which they are the same."""


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
    block, multiple : int
        Side of a block, pixels.
    network : ParameterDict
        The matrices of analysis and synthesis, and the logarithm of a factor of each scale, which a
        training may change; see :class:`rdpipe.core.protocols.SupportsTraining`.
    """

    def __init__(self, transform: Array, variances: Array, spectrum: Array, step: float):
        analysis = torch.from_numpy(transform)
        weights = {
            "analysis": analysis.clone(),
            "synthesis": analysis.T.clone(),
            "log_factor": torch.zeros(len(analysis), dtype=torch.float64),
        }
        self.network = nn.ParameterDict(weights).requires_grad_(False)
        self.scale = torch.from_numpy(np.sqrt(variances) / step)
        self.variances, self.spectrum, self.step = variances, spectrum, step
        self.block = self.multiple = math.isqrt(len(transform))

    def code(self, image: Tensor | None, size: tuple[int, int], send: Send) -> Tensor:
        """Code an image; see :meth:`rdpipe.core.protocols.Codec.code`."""
        block, rows, columns = self.block, size[0] // self.block, size[1] // self.block
        y = None
        if image is not None:
            if image.shape[1] != 1:
                raise InputError(
                    f"the image has {image.shape[1]} channels; klt and dct expect one channel, of a"
                    " gaussian-field"
                )
            pixels = image.double().view(rows, block, columns, block)
            y = (
                self.network["analysis"]
                @ pixels.permute(1, 3, 0, 2).reshape(block**2, -1)
                / self.step
            )
            y = y.view(1, block**2, rows, columns)
        scale = self.scale * self.network["log_factor"].exp()
        scale = scale[:, None, None].expand(1, -1, rows, columns)
        y_hat = send("y", Gaussian(torch.zeros_like(scale), scale), y)
        blocks = self.network["synthesis"] @ y_hat[0].flatten(1) * self.step
        pixels = blocks.view(block, block, rows, columns).permute(2, 0, 3, 1)
        return pixels.reshape(1, 1, *size)

    def part_of(self, weight: str) -> str | None:
        """Return the part of a parameter of the network."""
        return PARTS[weight]

    def checkpoint(self) -> dict[str, Tensor]:
        """Return the weights of the network."""
        return {name: weight.detach().clone() for name, weight in self.network.items()}

    def load_checkpoint(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights of the network."""
        self.network.load_state_dict(weights)

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
    basis = principal_components(covariance(spectrum, block))
    return _codec(basis, spectrum, quality, steps)


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


def random_transform(
    quality: int,
    steps: list[float],
    sigma: float = 40.0,
    block: int = 8,
    size: int = 512,
    rho: float | None = None,
    exponent: float | None = None,
) -> BlockTransform:
    """Return a random orthonormal transform of the same blocks, the start of a training.

    Parameters and errors are those of :func:`klt`.
    """
    spectrum = _spectrum(sigma, size, rho, exponent)
    matrix = np.random.default_rng(0).standard_normal((block**2, block**2))
    return _codec(np.linalg.qr(matrix)[0], spectrum, quality, steps)


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


def principal_components(matrix: Array) -> Array:
    """Return orthonormal eigenvectors of the covariance of a block, one per row.

    Eigenvalues descend. Those of a symmetric field occur in pairs, and a library may return any
    basis of the plane of a pair, with any sign. A decoder on another machine needs the same one:
    here it also diagonalizes the squared distance from the center row, and the signs are such that
    the inner product with a fixed vector is positive.

    Parameters
    ----------
    matrix : array of shape (block^2, block^2)
    """
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1].copy()
    block = math.isqrt(len(matrix))
    distance = (np.arange(block**2) // block - (block - 1) / 2) ** 2
    starts = np.flatnonzero(values[:-1] - values[1:] > DEGENERATE * values[0]) + 1
    for first, end in zip([0, *starts], [*starts, len(values)], strict=True):
        plane = vectors[:, first:end]
        vectors[:, first:end] = plane @ np.linalg.eigh(plane.T @ (distance[:, None] * plane))[1]
    reference = np.sqrt(np.arange(1.0, block**2 + 1)) % 1 - 0.4
    basis: Array = (vectors * np.where(reference @ vectors < 0, -1, 1)).T.copy()
    return basis


def _codec(transform: Array, spectrum: Array, quality: int, steps: list[float]) -> BlockTransform:
    """Return the codec with one of several steps."""
    if not 1 <= quality <= len(steps):
        raise InputError(f"quality {quality} does not exist; expected 1 to {len(steps)} (steps)")
    block = math.isqrt(len(transform))
    variances = np.diag(transform @ covariance(spectrum, block) @ transform.T)
    return BlockTransform(transform, variances, spectrum, steps[quality - 1])
