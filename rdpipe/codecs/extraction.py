"""Extraction of the latents of an image, and the measurement of the codec itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from rdpipe.codecs.decoding import decoded_latents, measured_gain
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.protocols import (
    Analysis,
    Codec,
    Image,
    SupportsBitstream,
    SupportsContext,
    SupportsGain,
    SupportsKnownSource,
)
from rdpipe.core.runs import RunId

UNITS = {
    "bytes": "byte",
    "real": "whether the bytes exist",
    "latent_bits": "bit",
    "side_bits": "bit",
    "forward_bits": "bit",
    "mse": "squared 8-bit levels",
    "psnr": "dB",
    "pixels": "pixel",
    "height": "pixel",
    "width": "pixel",
}
"""Columns of the table of images, and their units."""
DIMENSIONS = ("channel", "row", "column")
"""Dimensions of latents."""

Row = dict[str, Any]
"""A row of the table of images, with the columns of :data:`UNITS`."""


def extract(codec: Codec, name: str, image: Image, gain: bool = False) -> tuple[Row, xr.Dataset]:
    """Extract the latents of an image, and measure the codec on it.

    Parameters
    ----------
    codec : Codec
    name : str
        Name of the image.
    image : array
    gain : bool
        Whether to measure the gain of the decoder, if the codec supports it.

    Returns
    -------
    row : dict
        See :data:`UNITS`.
    arrays : xarray.Dataset
        The fields of :class:`~rdpipe.core.latents.Latents`; :func:`as_latents` is the inverse.

    Raises
    ------
    InputError
        If the latents or the gain are not finite, or the latents of a codec with a context model
        lack ``hyper``.
    """
    analysis = codec.analyse(name, image)
    check_latents(codec, name, analysis.latents)
    if gain and isinstance(codec, SupportsGain):
        analysis = with_gain(codec, name, analysis, image)
    size, decoded = code(codec, analysis, image)
    mse = mean_squared_error(image, decoded)
    height, width = image.shape[:2]
    row = {
        "bytes": size,
        "real": isinstance(codec, SupportsBitstream),
        "latent_bits": analysis.latent_bits,
        "side_bits": analysis.side_bits,
        "forward_bits": np.nan if analysis.forward_bits is None else analysis.forward_bits,
        "mse": mse,
        "psnr": psnr(mse),
        "pixels": height * width,
        "height": height,
        "width": width,
    }
    arrays = {
        field: (DIMENSIONS[: tensor.ndim], tensor.detach().cpu().numpy())
        for field, tensor in tensors(analysis.latents).items()
    }
    return row, xr.Dataset(arrays, attrs={"units": "quantization steps of the codec"})


def tensors(latents: Latents) -> dict[str, torch.Tensor]:
    """Return the fields of latents that are present."""
    return {
        field: value for field, value in vars(latents).items() if isinstance(value, torch.Tensor)
    }


def check_latents(codec: Codec, name: str, latents: Latents) -> None:
    """Check that latents are finite and complete.

    Raises
    ------
    InputError
        If they are not.
    """
    for field, tensor in tensors(latents).items():
        if not tensor.isfinite().all():
            raise InputError(f"{name!r}: {field} of the codec has values that are not finite")
    if isinstance(codec, SupportsContext) and not latents.with_context:
        raise InputError(
            f"{name!r}: the codec has a method recode, that is, a context model; expected latents"
            " with hyper, the mean without it"
        )


def with_gain(codec: SupportsGain, name: str, analysis: Analysis, image: Image) -> Analysis:
    """Return an analysis with the gain of the decoder.

    Raises
    ------
    InputError
        If the gain is not finite or has another shape than (channel,).
    """
    try:
        gain = measured_gain(codec, analysis.latents, *image.shape[:2])
    except InputError as error:
        raise InputError(f"{name!r}: {error}") from error
    return replace(analysis, latents=replace(analysis.latents, gain=gain))


def code(codec: Codec, analysis: Analysis, image: Image) -> tuple[int, Image]:
    """Return the number of bytes of an image, and the decoded image.

    For a codec without a bitstream they are the code length of the rounded latents under the
    codec's own likelihood, and the image of the rounded latents.
    """
    if isinstance(codec, SupportsBitstream):
        stream = codec.compress(image)
        return len(stream), codec.decompress(stream)
    bits = analysis.latent_bits + analysis.side_bits
    y_hat = decoded_latents(codec, analysis.latents)
    return math.ceil(bits / 8), codec.synthesise(y_hat, *image.shape[:2])


def as_latents(name: str, arrays: xr.Dataset) -> Latents:
    """Return the latents of an image from the arrays that :func:`extract` returned."""
    fields = {str(field): torch.from_numpy(arrays[field].values) for field in arrays.data_vars}
    return Latents(name, **fields)


def tabulate(
    rows: Sequence[Row], names: Sequence[str], digests: Sequence[str], run: RunId
) -> xr.Dataset:
    """Return the table of images of a run.

    Parameters
    ----------
    rows : sequence of dict
        From :func:`extract`.
    names, digests : sequence of str
        Name and SHA-256 of each image.
    run : RunId
    """
    table: dict[str, Any] = {
        column: ("image", [row[column] for row in rows], {"units": unit})
        for column, unit in UNITS.items()
    }
    table["sha256"] = ("image", list(digests))
    return xr.Dataset(table, {"image": list(names), **run.coordinates()})


def known_limits(codec: Codec) -> xr.Dataset | None:
    """Return the rate-distortion functions of the codec's source; None if they are not known."""
    if not isinstance(codec, SupportsKnownSource):
        return None
    curves = {
        name: (("axis", "point"), np.stack(curve)) for name, curve in codec.references().items()
    }
    return xr.Dataset(curves, {"axis": ["mse", "bpp"]})
