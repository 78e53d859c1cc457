"""What several stages read in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr

from rdpipe import store
from rdpipe.latents import Latents


class StoredLatents(Sequence):
    """The latents of a store, read one image at a time."""

    def __init__(self, path: Path):
        self.path = path
        self.names = store.read(path)["image"].values.tolist()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Latents:
        if not 0 <= index < len(self.names):
            raise IndexError(index)
        group = store.read(self.path, group=str(index))
        tensors = (torch.from_numpy(group[key].values) for key in ("y", "mean", "scale"))
        return Latents(self.names[index], *tensors)


def identity(table: xr.Dataset) -> dict:
    """Scalar coordinates that say what a product is about: dataset, codec and quality."""
    return {key: table[key].item() for key in ("dataset", "codec", "quality")}
