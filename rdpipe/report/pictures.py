"""Maps over the images and the images themselves, small enough for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from rdpipe.report.frames import OWN, identity_of, steps
from rdpipe.report.style import CLIP

IMAGE_BUDGET, MAP_BUDGET = 4_000_000, 3_000_000
"""Most bytes that all images and all maps of a page may have together, before base64."""


def collect(products: list[tuple[xr.Dataset, list[xr.Dataset]]], limits: dict) -> list[dict]:
    """Images and maps of every data set and codec, small enough for one page together.

    Parameters
    ----------
    products : list of (Dataset, list of Dataset)
        Root tables of ``map_latents``, and the groups of the images that are to be shown.
    limits : dict
        Cells by name.

    Returns
    -------
    list of dict
        For each data set and codec, in the order of the products: ``maps``, from :func:`maps_of`, by
        quality; ``originals`` and, by quality, ``decoded``: the sources of images.
    """
    size = (1 + len(steps(limits))) * sum(g["bits"][0].size for _, each in products for g in each)
    pool = 1
    while size / pool**2 > MAP_BUDGET:
        pool *= 2
    found: dict[tuple, dict] = {}
    for root, groups in products:
        identity, quality = (root["dataset"].item(), root["codec"].item()), root["quality"].item()
        one = found.setdefault(identity, {"maps": {}, "originals": [], "decoded": {}})
        one["maps"][quality] = maps_of(root, groups, limits, pool)
        one["originals"] = [group["original"].values.tobytes() for group in groups]
        one["decoded"][quality] = [group["decoded"].values.tobytes() for group in groups]
    files = [one["originals"] for one in found.values()]
    files += [decoded for one in found.values() for decoded in one["decoded"].values()]
    source = shrink([file for each in files for file in each])
    for one in found.values():
        one["originals"] = [source(file) for file in one["originals"]]
        one["decoded"] = {q: [source(file) for file in each] for q, each in one["decoded"].items()}
    return list(found.values())


def maps_of(maps: xr.Dataset, groups: list[xr.Dataset], limits: dict, pool: int = 1) -> dict:
    """What the page draws over the images of one data set, codec and quality.

    Parameters
    ----------
    maps : xarray.Dataset
        Root of the store of ``map_latents``.
    groups : list of Dataset
        Of each image.
    limits : dict
        Cells by name.
    pool : int
        Positions to each side that share one value, their mean.

    Returns
    -------
    dict
        ``names`` of the maps, their ``ends``, bit/pixel, the colours' own; for each image its ``name``,
        ``rows``, ``columns``, the share of the image that they cover, and the ``values`` of all maps
        as bytes 0 to 255 from the low to the high end, in base64. Positions in the padding are left out.
    """
    gaps = steps(limits)
    layers = [layers_of(maps.isel(image=i), g, gaps, pool) for i, g in enumerate(groups)]
    ends = []
    for k in range(1 + len(gaps)):
        largest = np.percentile(np.concatenate([abs(one[k]).ravel() for one in layers]), CLIP)
        largest = max(float(largest), 1e-6)
        ends.append([0.0 if k == 0 else -largest, largest])
    images = []
    for i, one in enumerate(layers):
        image, (rows, columns) = maps.isel(image=i), one.shape[1:]
        images.append(
            {
                "name": image["image"].item(),
                "rows": rows,
                "columns": columns,
                "across": columns * pool * image["stride"].item() / image["width"].item(),
                "down": rows * pool * image["stride"].item() / image["height"].item(),
                "values": base64.b64encode(_quantized(one, ends)).decode(),
            }
        )
    return {"names": ["bits spent", *gaps], "ends": ends, "images": images}


def map_frame(maps: xr.Dataset, group: xr.Dataset, limits: dict) -> pd.DataFrame:
    """A row for each map and position of the first image, bit/pixel."""
    gaps = steps(limits)
    values = layers_of(maps.isel(image=0), group, gaps)
    index = pd.MultiIndex.from_product(
        [["bits spent", *gaps], *map(range, values.shape[1:])], names=["map", "row", "column"]
    )
    frame = pd.DataFrame({"bpp": values.ravel()}, index).reset_index()
    return frame.assign(image=maps["image"].values[0], **identity_of(maps))


def layers_of(image: xr.Dataset, group: xr.Dataset, gaps: dict, pool: int = 1) -> np.ndarray:
    """Bits of the codec's cell and each gap, bit/pixel, over (map, row, column); no padding."""
    stride = image["stride"].item()
    rows, columns = (-(-image[side].item() // stride) for side in ("height", "width"))
    bits = {
        name: pooled(group["bits"].values[i, :rows, :columns], pool) / stride**2
        for i, name in enumerate(image["cell"].values.tolist())
    }
    return np.stack([bits[OWN], *(bits[before] - bits[after] for before, after in gaps.values())])


def pooled(values: np.ndarray, pool: int) -> np.ndarray:
    """Means over squares of ``pool`` positions a side; those at the border are of what is there."""
    fill = [(0, -side % pool) for side in values.shape]
    filled = np.pad(values.astype(np.float64), fill, constant_values=np.nan)
    rows, columns = (side // pool for side in filled.shape)
    return np.nanmean(filled.reshape(rows, pool, columns, pool), axis=(1, 3))


def _quantized(layers: np.ndarray, ends: list) -> bytes:
    low, high = np.array(ends).T[:, :, None, None]
    return np.clip(255 * (layers - low) / (high - low), 0, 255).round().astype(np.uint8).tobytes()


def shrink(files: list[bytes], budget: int = IMAGE_BUDGET) -> Callable[[bytes], str]:
    """What makes images fit the budget: a function from WebP bytes to the source of an ``img``.

    Images are made smaller together, until they fit or are a tenth as wide.
    """
    factor = 1.0
    while factor > 0.1 and sum(len(_resized(file, factor)) for file in files) > budget:
        factor *= 0.8

    def source(file: bytes) -> str:
        return "data:image/webp;base64," + base64.b64encode(_resized(file, factor)).decode()

    return source


def _resized(file: bytes, factor: float) -> bytes:
    if factor == 1:
        return file
    image = Image.open(io.BytesIO(file))
    size = tuple(max(1, round(side * factor)) for side in image.size)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=60)
    return buffer.getvalue()
