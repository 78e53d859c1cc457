"""Images and maps over them, small enough for one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from rdpipe.core.metrics import pooled
from rdpipe.core.runs import RunId
from rdpipe.io.store import check_same_images
from rdpipe.report.frames import (
    BASELINE_NAME,
    Limits,
    mapped_steps,
    run_columns,
    unplaced_remark,
    unplaced_share,
)
from rdpipe.report.style import CLIP

IMAGE_BUDGET, MAP_BUDGET = 4_000_000, 3_000_000
"""Largest size of all images and of all maps of a page, byte before base64."""
RATE_MAP = "bits spent"
"""Name of the map of the codec's own bits."""
ERROR_MAP = "error"
"""Name of the map of the error of the decoded image, the last one."""
Product = tuple[xr.Dataset, Sequence[xr.Dataset]]
"""Root of a store of ``map_latents``, and the groups of the images that are shown."""
Gaps = Mapping[str, tuple[str, str]]
"""Cells before and after a step, by the name of the gap."""


def collect(products: Sequence[Product], limits: Limits) -> list[dict[str, Any]]:
    """Return images and maps of every dataset and codec, small enough for one page together.

    Parameters
    ----------
    products : sequence of (Dataset, sequence of Dataset)
        Stores of every dataset, codec and quality.
    limits : mapping of str to CellId

    Returns
    -------
    list of dict
        For each dataset and codec, in the order of the products: ``maps`` by quality, from
        :func:`maps_of`; the sources of the ``originals``, and of the ``decoded`` images by quality.

    Raises
    ------
    InputError
        If two qualities of a codec do not have the same images in the same order.
    """
    count = 2 + len(mapped_steps(limits))
    size = count * sum(group["bits"][0].size for _, groups in products for group in groups)
    pool = 1
    while size / pool**2 > MAP_BUDGET:
        pool *= 2
    runs: dict[tuple[str, str], dict[str, Any]] = {}
    names: dict[tuple[str, str], NDArray[Any]] = {}
    for root, groups in products:
        run_id = RunId.from_coordinates(root)
        key = run_id.dataset, run_id.codec
        images = names.setdefault(key, root["image"].values)
        check_same_images(images, root["image"].values, f"maps of {run_id.codec}")
        run = runs.setdefault(key, {"maps": {}, "originals": [], "decoded": {}})
        run["maps"][run_id.quality] = maps_of(root, groups, limits, pool)
        run["originals"] = [group["original"].values.tobytes() for group in groups]
        run["decoded"][run_id.quality] = [group["decoded"].values.tobytes() for group in groups]
    embed_images(list(runs.values()))
    return list(runs.values())


def embed_images(runs: Sequence[dict[str, Any]]) -> None:
    """Replace the files of all images by sources that fit the budget together."""
    files = [run["originals"] for run in runs]
    files += [decoded for run in runs for decoded in run["decoded"].values()]
    source = shrink([file for images in files for file in images])
    for run in runs:
        run["originals"] = [source(file) for file in run["originals"]]
        run["decoded"] = {
            quality: [source(file) for file in images] for quality, images in run["decoded"].items()
        }


def maps_of(
    maps: xr.Dataset, groups: Sequence[xr.Dataset], limits: Limits, pool: int = 1
) -> dict[str, Any]:
    """Return the maps over the images of one run.

    Parameters
    ----------
    maps : xarray.Dataset
        Root of the store of ``map_latents``.
    groups : sequence of Dataset
        Groups of the images.
    limits : mapping of str to CellId
    pool : int
        Positions to each side that share one value, their mean.

    Returns
    -------
    dict
        ``names`` of the maps, of which the last is the error of the decoded image; their ``ends``,
        the range of the colors, bit/pixel, or root mean square in 8-bit levels for the error; for
        each image its ``name``, ``rows``, ``columns``, the share of the image that the map covers
        (``across`` and ``down``), a ``remark`` on bits without a place, and the ``values`` of all
        maps, as bytes from 0 at the low end to 255 at the high end, in base64. Positions in the
        padding are left out.
    """
    gaps = mapped_steps(limits)
    layers = []
    for i, group in enumerate(groups):
        bits = map_layers(maps.isel(image=i), group, gaps, pool)
        error = np.sqrt(pooled(group["mse"].values, pool))
        layers.append(np.concatenate([bits, error[None]]))
    names = [RATE_MAP, *gaps, ERROR_MAP]
    ends = []
    for k, name in enumerate(names):
        values = np.concatenate([abs(layer[k]).ravel() for layer in layers])
        high = max(float(np.percentile(values, CLIP)), 1e-6)
        ends.append([-high if name in gaps else 0.0, high])
    images, shares = [], unplaced_share(maps)
    for i, layer in enumerate(layers):
        image, (rows, columns) = maps.isel(image=i), layer.shape[1:]
        stride = pool * image["stride"].item()
        images.append(
            {
                "name": image["image"].item(),
                "rows": rows,
                "columns": columns,
                "across": columns * stride / image["width"].item(),
                "down": rows * stride / image["height"].item(),
                "remark": unplaced_remark(shares[[i]]),
                "values": base64.b64encode(_quantize(layer, ends)).decode(),
            }
        )
    return {"names": names, "ends": ends, "images": images}


def map_frame(maps: xr.Dataset, group: xr.Dataset, limits: Limits) -> pd.DataFrame:
    """Return a row for each map and position of the first image, bit/pixel.

    ``unplaced`` is the share of the codec's bits that have no place, and are spread evenly.
    """
    gaps = mapped_steps(limits)
    values = map_layers(maps.isel(image=0), group, gaps)
    index = pd.MultiIndex.from_product(
        [[RATE_MAP, *gaps], *map(range, values.shape[1:])], names=["map", "row", "column"]
    )
    frame = pd.DataFrame({"bpp": values.ravel()}, index).reset_index()
    share = unplaced_share(maps)[0]
    return frame.assign(image=maps["image"].values[0], unplaced=share, **run_columns(maps))


def map_layers(
    image: xr.Dataset, group: xr.Dataset, gaps: Gaps, pool: int = 1
) -> NDArray[np.float64]:
    """Return bits of the codec's cell and each gap over (map, row, column), bit/pixel.

    Positions in the padding are left out.
    """
    stride = image["stride"].item()
    rows, columns = (-(-image[side].item() // stride) for side in ("height", "width"))
    bits = {
        name: pooled(group["bits"].values[i, :rows, :columns], pool) / stride**2
        for i, name in enumerate(image["cell"].values.tolist())
    }
    return np.stack(
        [bits[BASELINE_NAME], *(bits[before] - bits[after] for before, after in gaps.values())]
    )


def _quantize(layers: NDArray[np.float64], ends: list[list[float]]) -> bytes:
    """Return the values of all maps as bytes between their ends."""
    low, high = np.array(ends).T[:, :, None, None]
    return np.clip(255 * (layers - low) / (high - low), 0, 255).round().astype(np.uint8).tobytes()


def shrink(files: Sequence[bytes], budget: int = IMAGE_BUDGET) -> Callable[[bytes], str]:
    """Return a function from WebP files to sources of ``img`` that fit the budget together.

    All images are scaled by the same factor, until they fit or are a tenth as wide.
    """
    factor = 1.0
    while factor > 0.1 and sum(len(_resize(file, factor)) for file in files) > budget:
        factor *= 0.8

    def source(file: bytes) -> str:
        return "data:image/webp;base64," + base64.b64encode(_resize(file, factor)).decode()

    return source


def _resize(file: bytes, factor: float) -> bytes:
    """Return a WebP file of an image that is scaled by a factor."""
    if factor == 1:
        return file
    image = Image.open(io.BytesIO(file))
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=60)
    return buffer.getvalue()
