"""Maps over the images and the images themselves, small enough for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import xarray as xr
from PIL import Image

from rdpipe.report.frames import OWN, steps

BUDGET = 6_000_000
"""Most bytes that all images of a page may have together, before base64."""
CLIP = 99.8
"""Percentile of the values of a map at which its colours end."""


def maps_of(maps: xr.Dataset, groups: list[xr.Dataset], limits: dict) -> dict:
    """What the page draws over the images of one data set, codec and quality.

    Parameters
    ----------
    maps : xarray.Dataset
        Root of the store of ``map_latents``.
    groups : list of Dataset
        Of each image.
    limits : dict
        Cells by name.

    Returns
    -------
    dict
        ``names`` of the maps, their ``ends``, bit/pixel, the colours' own; for each image its ``name``,
        ``rows``, ``columns``, the share of the image that they cover, and the ``values`` of all maps
        as bytes 0 to 255 from the low to the high end, in base64. Positions in the padding are left out.
    """
    gaps = steps(limits)
    layers = [_layers(maps.isel(image=i), group, gaps) for i, group in enumerate(groups)]
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
                "across": columns * image["stride"].item() / image["width"].item(),
                "down": rows * image["stride"].item() / image["height"].item(),
                "values": base64.b64encode(_quantized(one, ends)).decode(),
            }
        )
    return {"names": ["bits spent", *gaps], "ends": ends, "images": images}


def _layers(image: xr.Dataset, group: xr.Dataset, gaps: dict) -> np.ndarray:
    """Bits of the codec's cell and each gap, bit/pixel, over (map, row, column)."""
    stride = image["stride"].item()
    rows, columns = (-(-image[side].item() // stride) for side in ("height", "width"))
    bits = {
        name: group["bits"].values[i, :rows, :columns] / stride**2
        for i, name in enumerate(image["cell"].values.tolist())
    }
    return np.stack([bits[OWN], *(bits[before] - bits[after] for before, after in gaps.values())])


def _quantized(layers: np.ndarray, ends: list) -> bytes:
    low, high = np.array(ends).T[:, :, None, None]
    return np.clip(255 * (layers - low) / (high - low), 0, 255).round().astype(np.uint8).tobytes()


def shrink(files: list[bytes], budget: int = BUDGET) -> Callable[[bytes], str]:
    """What makes images fit the budget: a function from WebP bytes to the source of an ``img``.

    Images are made smaller together, until they fit.
    """
    total = sum(map(len, files))
    factor = min(1.0, np.sqrt(budget / total)) if total else 1.0

    def source(file: bytes) -> str:
        data = file if factor == 1 else _resized(file, factor)
        return "data:image/webp;base64," + base64.b64encode(data).decode()

    return source


def _resized(file: bytes, factor: float) -> bytes:
    image = Image.open(io.BytesIO(file))
    size = tuple(max(1, int(side * factor * 0.95)) for side in image.size)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=60)
    return buffer.getvalue()
