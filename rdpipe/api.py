"""The decomposition without Snakemake: the same functions, on images in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rdpipe.analysis import decomposition
from rdpipe.codecs.extraction import UNITS, Extractor
from rdpipe.core.axes import AXES, BASELINE_CELL, Axis, CellId, corners
from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.plugins import suggest
from rdpipe.core.process import single_thread
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.runs import RunId
from rdpipe.datasets import folder
from rdpipe.datasets.image import read_image, to_rgb
from rdpipe.evaluation.array import MATCHINGS
from rdpipe.evaluation.cell import Fits
from rdpipe.evaluation.simulation import CodedImage, Simulation

if TYPE_CHECKING:
    import PIL.Image
    import torch

    ImageLike = np.ndarray[Any, Any] | torch.Tensor | PIL.Image.Image | str | Path

LIMITS = {
    "decodable": CellId("codec", "codec", "test-channel"),
}
"""Default cells to which the decomposition leads, by name."""


@single_thread()
def decompose(
    codec: Codec,
    images: ImageLike | Sequence[ImageLike] | Mapping[str, ImageLike],
    limits: Mapping[str, CellId | Mapping[str, str] | str] = LIMITS,
    matching: str = "image",
    seed: int = 0,
    fits: Fits | None = None,
) -> xr.Dataset:
    """Decompose the bits of a codec at equal pictures; the numbers are those of the pipeline.

    Every cell between the codec's own and a limit is simulated through the codec's decoder, at the
    level at which its picture has the PSNR of the codec's.

    Parameters
    ----------
    codec : Codec
        See :class:`rdpipe.core.protocols.Codec`.
    images : path, image, sequence of images, or mapping of str to image
        A folder, or images by name; those of a sequence are named by their position. An image is a
        file, a PIL image, or an array or tensor of uint8 of shape (height, width, 3); for codecs of
        Gaussian fields float32 of shape (height, width, 1).
    limits : mapping of str to cell
        A :class:`~rdpipe.core.axes.CellId`, a mapping with ``mean``, ``variance`` and
        ``quantizer``, or a text such as ``codec/codec/test-channel``, for each limit.
    matching : {"image", "dataset"}
        Whether the PSNR is that of the codec for each image, or on average.
    seed, fits
        See :func:`rdpipe.evaluation.evaluate`.

    Returns
    -------
    xarray.Dataset
        ``bits`` over (limit, order, term, image) and ``total`` over (limit, image), see
        :func:`rdpipe.analysis.decomposition.decompose`; NaN for an axis along which a limit has the
        codec's own estimator. ``kind`` and ``matched_at`` of each limit; and over image what
        ``extract_latents`` measures: ``bytes``, ``latent_bits``, ``side_bits``, ``mse``, ``psnr``,
        ``pixels``.

    Raises
    ------
    InputError
        If there is no image, an image cannot be used or read, a limit is incomplete, or a name is
        unknown.

    Examples
    --------
    >>> import rdpipe, skimage.data
    >>> from rdpipe.codecs.compressai import mini_mean_scale
    >>> terms = rdpipe.decompose(mini_mean_scale(2), {"chelsea": skimage.data.chelsea()})
    >>> print(terms["bits"].sel(limit="decodable", order="paper").dims)
    ('term', 'image')
    """
    if not isinstance(codec, Codec):
        raise InputError(
            f"{type(codec).__name__} is not a codec; expected an object with a method"
            " code(image, size, send)"
        )
    if not isinstance(limits, Mapping) or not limits:
        raise InputError(f"limits are {limits!r}; expected a mapping of names to at least one cell")
    cells = {name: as_cell(name, limit) for name, limit in limits.items()}
    if matching not in MATCHINGS:
        raise InputError(f"unknown matching {matching!r}; {suggest(matching, MATCHINGS)}")
    rows, coded = [], []
    extractor = Extractor(codec)
    for name, image in named_images(images).items():
        pixels = as_pixels(name, image)
        row, arrays = extractor.extract(name, pixels)
        rows.append(row)
        latents = [as_latents(name, of_latent) for of_latent in arrays.values()]
        coded.append(CodedImage(latents, pixels))
    if not rows:
        raise InputError("there is no image; expected at least one")
    names = [image.latents[0].name for image in coded]
    columns = {key: ("image", [row[key] for row in rows], {"units": UNITS[key]}) for key in rows[0]}
    table = xr.Dataset(columns, {"image": names})
    simulated = simulate(codec, cells.values(), coded, matching, seed, fits or {})
    terms = [
        decomposition.decompose(table, simulated, cell).drop_vars("pixels")
        for cell in cells.values()
    ]
    limits_as_one = xr.concat(
        [limit.assign(limit.attrs).drop_attrs(deep=False) for limit in terms], "limit", join="exact"
    )
    return limits_as_one.assign_coords(limit=list(cells)).merge(table)


def simulate(
    codec: Codec,
    limits: Iterable[CellId],
    images: Sequence[CodedImage],
    matching: str,
    seed: int,
    fits: Fits,
) -> xr.Dataset:
    """Return the cells between the codec's own and some limits, at the PSNR of the codec."""
    limits = list(limits)
    cells = {str(cell): cell for limit in limits for cell in corners(limit).values()}
    entries: dict[str, dict[str, dict[str, Any]]] = {
        axis.section: {name: {} for name in used_names(axis, limits)} for axis in AXES
    }
    simulation = Simulation(codec, cells, entries, fits, images[0].latents, seed)
    groups = [images] if matching == "dataset" else [[image] for image in images]
    results = [simulation.run(group) for group in groups]
    names = [image.latents[0].name for image in images]
    return simulation.label(results, names, RunId("", type(codec).__name__, 0))


def used_names(axis: Axis, cells: Iterable[CellId]) -> list[str]:
    """Return the estimators along an axis in the codec's cell and some others, each once."""
    return list(dict.fromkeys(getattr(cell, axis.name) for cell in (BASELINE_CELL, *cells)))


def as_cell(name: str, limit: CellId | Mapping[str, str] | str) -> CellId:
    """Return a limit as a cell.

    Raises
    ------
    InputError
        If it does not have one estimator per axis.
    """
    if isinstance(limit, CellId):
        return limit
    try:
        return CellId.parse(limit) if isinstance(limit, str) else CellId.from_mapping(limit)
    except InputError as error:
        raise InputError(f"limit {name!r}: {error}") from error


def named_images(
    images: ImageLike | Sequence[ImageLike] | Mapping[str, ImageLike],
) -> dict[str, ImageLike]:
    """Return images by name.

    Raises
    ------
    InputError
        If a name is not a text.
    """
    if isinstance(images, (str, Path)):
        if Path(images).expanduser().is_file():
            return {Path(images).name: images}
        return {source.name: source.file for source in folder.find(str(images))}
    if isinstance(images, Mapping):
        for name in images:
            if not isinstance(name, str):
                raise InputError(f"{name!r} is not the name of an image; expected a text")
        return dict(images)
    if isinstance(images, (list, tuple)):
        return {str(position): image for position, image in enumerate(images)}
    return {"image": images}  # type: ignore[dict-item]


def as_pixels(name: str, image: ImageLike) -> Image:
    """Return an image as a contiguous array of uint8 of shape (height, width, 3).

    Raises
    ------
    InputError
        If it is of another type or shape, or a file cannot be read.
    """
    import PIL.Image
    import torch

    if isinstance(image, (str, Path)):
        return read_image(str(image))[0]
    if isinstance(image, PIL.Image.Image):
        try:
            return to_rgb(image)[0]
        except InputError as error:
            raise InputError(f"{name!r}: {error}") from error
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    expected = "expected uint8 of shape (height, width, 3)"
    if isinstance(image, np.ndarray) and image.dtype == np.float32 and image.shape[2:] == (1,):
        return np.ascontiguousarray(image)  # a Gaussian field
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name!r} is a {type(image).__name__}; {expected}, a PIL image or a file")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"{name!r} is an array of {image.dtype} of shape {image.shape}; {expected}"
        )
    return np.ascontiguousarray(image)
