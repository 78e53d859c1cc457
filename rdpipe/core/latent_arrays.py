"""The fields of latents as the labeled arrays of a store, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from rdpipe.core.latents import Latents

DIMENSIONS = ("channel", "row", "column")
"""Dimensions of latents."""
FLAGS = ("latents_follow_past", "image_needs_side", "grid_follows_past")
"""Attributes of stored latents that are true or false."""


def tensors(latents: Latents) -> dict[str, Tensor]:
    """Return the arrays of latents that are present."""
    return {field: value for field, value in vars(latents).items() if isinstance(value, Tensor)}


def to_dataset(latents: Latents) -> xr.Dataset:
    """Return the fields of a latent as arrays."""
    arrays = {
        field: (DIMENSIONS[: tensor.ndim], tensor.detach().numpy())
        for field, tensor in tensors(latents).items()
    }
    attributes: dict[str, Any] = {
        "units": "quantization steps of the codec",
        "latent": latents.latent,
        **{name: int(getattr(latents, name)) for name in FLAGS},
    }
    for name in ("stride", "weight"):
        if getattr(latents, name) is not None:
            attributes[name] = getattr(latents, name)
    return xr.Dataset(arrays, attrs=attributes)


def as_latents(name: str, arrays: xr.Dataset) -> Latents:
    """Return the latents of an image from the arrays that :func:`to_dataset` returned."""
    known = {field.name for field in fields(Latents)}
    values: dict[str, Any] = {
        str(field): torch.from_numpy(arrays[field].values)
        for field in arrays.data_vars
        if field in known
    }
    values |= {flag: bool(arrays.attrs[flag]) for flag in FLAGS}
    values |= {field: arrays.attrs.get(field) for field in ("stride", "weight")}
    return Latents(name, **values, latent=arrays.attrs["latent"])
