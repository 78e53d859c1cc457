"""Content of each part of an image: smooth, texture or edges, and what is spent on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from rdpipe.core.metrics import pooled

CONTENT = ("smooth", "texture", "edges")
"""Classes of content."""
SQUARE = 16
"""Side of the squares that are classified, pixels. It does not depend on the codec."""
SMOOTH = 3.0
"""Root mean square of the gradient below which a square is smooth, 8-bit levels per pixel."""
COHERENT = 0.6
"""Coherence of the gradients of a square from which they belong to edges."""
Floats = NDArray[np.floating[Any]]
"""An array of float32 or float64."""


def content_classes(image: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the class of content of each square of an image, an index in :data:`CONTENT`.

    It follows from the structure tensor, the mean of the outer products of the gradients in a
    square. Its trace is their mean square; a square with a small one is smooth. The difference of
    its eigenvalues over their sum is the coherence: 1 if all gradients are parallel, 0 if they have
    no direction. Squares with a large one have edges, or lines in one direction; all others have
    texture.

    Parameters
    ----------
    image : array of shape (height, width, channel)
        8-bit levels; the gradients are those of the mean over channels, smoothed by a Gaussian with
        a standard deviation of one pixel.

    Returns
    -------
    array of shape (row, column)
        Of squares of :data:`SQUARE` pixels; those at the border are cut.

    References
    ----------
    J. Bigun and G. H. Granlund, "Optimal orientation detection of linear symmetry", ICCV 1987.
    """
    gray = image.astype(np.float64).mean(2)
    down, across = (gaussian_filter(gray, 1, order) for order in ((1, 0), (0, 1)))
    rows, mixed, columns = (
        pooled(x, SQUARE) for x in (down * down, down * across, across * across)
    )
    energy = rows + columns
    difference = np.hypot(rows - columns, 2 * mixed)
    textured = difference < COHERENT * energy
    classes = np.where(textured, CONTENT.index("texture"), CONTENT.index("edges"))
    return np.where(energy < SMOOTH**2, CONTENT.index("smooth"), classes)


def content_sums(
    image: NDArray[Any], bits: Floats, latent_error: Floats, mse: Floats, side: int
) -> dict[str, NDArray[np.float64]]:
    """Return pixels, bits and squared errors of each class of content.

    What belongs to a square of a map is divided in the ratio of the classes of its pixels.

    Parameters
    ----------
    image : array of shape (height, width, channel)
        Of uint8; another image, such as a Gaussian field, has no classes: all sums are 0.
    bits, latent_error : array of shape (cell, row, column)
        Bits and squared error of the latents in each square of ``side`` pixels; those in the
        padding belong to no class.
    mse : array of shape (row, column)
        Mean squared error of each square within the image, squared 8-bit levels.
    side : int
        Pixels.

    Returns
    -------
    dict
        ``content_pixels`` and ``content_error``, the sum of the squared errors (a mean over
        channels), of shape (class,); ``content_bits`` and ``content_latent_error`` of shape
        (cell, class).
    """
    height, width = image.shape[:2]
    area = np.outer(*(_lengths(length, side) for length in (height, width)))
    if image.dtype == np.uint8:
        of_pixel = content_classes(image).repeat(SQUARE, 0).repeat(SQUARE, 1)[:height, :width]
        shares = np.stack([pooled(of_pixel == i, side) for i in range(len(CONTENT))])
    else:
        shares = np.zeros((len(CONTENT), *area.shape))
    rows, columns = area.shape
    sums = {"content_pixels": area, "content_error": area * mse}
    sums = {name: np.einsum("krc,rc->k", shares, values) for name, values in sums.items()}
    for name, values in (("content_bits", bits), ("content_latent_error", latent_error)):
        within = values[:, :rows, :columns].astype(np.float64)
        sums[name] = np.einsum("krc,nrc->nk", shares, within)
    return sums


def _lengths(length: int, side: int) -> NDArray[np.float64]:
    """Return the lengths of the parts of a side of an image; the last one may be cut."""
    starts = np.arange(0, length, side)
    return np.minimum(side, length - starts).astype(np.float64)
