"""The decomposition without Snakemake: the same functions on images in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from rdpipe.analysis import decomposition
from rdpipe.core.axes import START
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.cell import Fits
from rdpipe.datasets import folder
from rdpipe.datasets.image import read
from rdpipe.core.errors import InputError
from rdpipe.stages.extract_latents import extract
from rdpipe.stages.inputs import as_latents

LIMITS = {
    "decodable": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
    "genie": {"mean": "codec", "variance": "window-5", "quantizer": "test-channel"},
    "element": {"mean": "codec", "variance": "element", "quantizer": "test-channel"},
}
"""Cells to which the decomposition leads unless others are given, by name."""


@contextmanager
def one_thread():
    """PyTorch on one thread, as every job of the pipeline has: sums over more have other last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def decompose(
    codec,
    images: str | Path | Mapping[str, np.ndarray | str | Path],
    limits: Mapping[str, Mapping[str, str]] = LIMITS,
    matching: str = "image",
    seed: int = 0,
    fits: Fits | None = None,
) -> xr.Dataset:
    """Where a codec loses its bits, to the last bit as the pipeline finds it.

    Parameters
    ----------
    codec : Codec
        See :class:`rdpipe.codecs.protocol.Codec`.
    images : path, or mapping of str to array or path
        A folder of images; or images by name, each an array of uint8 of shape (height, width, 3) or a
        file.
    limits : mapping
        ``mean``, ``variance`` and ``quantizer`` of each limit, by name.
    matching, seed, fits
        As for :func:`rdpipe.axes.evaluate`.

    Returns
    -------
    xarray.Dataset
        ``bits`` over (limit, order, term, image) and ``total`` over (limit, image) as
        :func:`rdpipe.analysis.decomposition.decompose` has them; ``kind`` and ``latent_mse`` of each limit; and
        over image what ``extract_latents`` finds: ``bytes``, ``latent_bits``, ``side_bits``, ``mse``,
        ``psnr``, ``pixels``.

    Raises
    ------
    InputError
        If there is no image, an image is none or cannot be read, a limit is incomplete, or a name is unknown.

    Examples
    --------
    >>> import rdpipe, skimage.data
    >>> from rdpipe.codecs.compressai.adapter import mini_mean_scale
    >>> found = rdpipe.decompose(mini_mean_scale(2), {"chelsea": skimage.data.chelsea()})
    >>> print(found["bits"].sel(limit="decodable", order="paper").dims)
    ('term', 'image')
    """
    if isinstance(images, (str, Path)):
        images = {source.name: source.file for source in folder.find(str(images))}
    for name, limit in limits.items():
        if set(limit) != set(START):
            raise InputError(f"limit {name!r} has {', '.join(limit)}; it must have {', '.join(START)}")
    rows, latents = [], []
    for name, image in images.items():
        pixels = pixels_of(name, image)
        row, found = extract(codec, name, pixels)
        rows.append(row)
        latents.append(as_latents(name, found))
    if not rows:
        raise InputError("no image to measure on")
    table = xr.Dataset(
        {key: ("image", [row[key] for row in rows]) for key in rows[0]}, {"image": list(images)}
    )
    names = ({START[axis]: {}, **{one[axis]: {} for one in limits.values()}} for axis in START)
    cube = evaluate(latents, *names, matching=matching, seed=seed, fits=fits)
    found = {name: decomposition.decompose(table, cube, corner) for name, corner in limits.items()}
    terms = xr.concat(
        [one.assign(one.attrs).drop_vars("pixels").drop_attrs() for one in found.values()], "limit"
    )
    return terms.assign_coords(limit=list(found)).merge(table)


def pixels_of(name: str, image: np.ndarray | str | Path) -> np.ndarray:
    """An image as given, or read; an InputError where an array is no image."""
    if not isinstance(image, np.ndarray):
        return read(str(image))[0]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"{name!r}: an array of {image.dtype} of shape {image.shape}; an image is uint8 of shape (height, width, 3)"
        )
    return image
