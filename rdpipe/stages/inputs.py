"""What several stages read in the same way."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from rdpipe.io import store
from rdpipe.codecs import CODECS
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.process import retain_freed_memory
from rdpipe.core.plugins import load_attribute, locate, build_entry


class StoredLatents(Sequence):
    """The latents of a run, from the stores of all its shards, read one image at a time.

    Parameters
    ----------
    paths : list of Path
        From ``extract_latents``, in the order of the shards.

    Attributes
    ----------
    table : xarray.Dataset
        Of all images.
    """

    def __init__(self, paths: list[Path]):
        self.table, self.groups = store.joined(paths), store.image_groups(paths)

    @property
    def names(self) -> list[str]:
        """Of the images."""
        return self.table["image"].values.tolist()

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Latents:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return as_latents(self.table["image"].values[index], store.read(*self.groups[index]))


def as_latents(name: str, arrays: xr.Dataset) -> Latents:
    """Latents of an image from what ``extract_latents`` keeps of it."""
    return Latents(name, **{key: torch.from_numpy(arrays[key].values) for key in arrays.data_vars})


def make_codec(spec: dict):
    """The codec of a spec (``codec``, ``quality``, ``entry``) on its ``device``, where it takes one."""
    entry = {**spec["entry"], "args": dict(spec["entry"].get("args", {}))}
    retain_freed_memory()
    factory = load(locate("codec", entry.get("use", spec["codec"]), CODECS)[0])
    if "device" in inspect.signature(factory).parameters:
        entry["args"].setdefault("device", spec["device"])
    return build_entry("codec", spec["codec"], entry, CODECS, spec["quality"])


def identity(table: xr.Dataset) -> dict:
    """Scalar coordinates that say what a product is about: dataset, codec and quality."""
    return {key: table[key].item() for key in ("dataset", "codec", "quality")}


def read_fits(
    paths: list[Path], scored: xr.Dataset | None = None
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """What fitted estimators found, by axis and name.

    Parameters
    ----------
    paths : list of Path
        From ``fit_estimator``.
    scored : xarray.Dataset, optional
        Table of the images that are to be scored.

    Raises
    ------
    InputError
        If one of these is one that an estimator was fitted on.
    """
    fits = {}
    for path in paths:
        fit = store.read(path)
        axis, name = fit["axis"].item(), fit["estimator"].item()
        known = np.isin([] if scored is None else scored["sha256"].values, fit["fitted_on"].values)
        if known.any():
            images = ", ".join(scored["image"].values[known][:3])
            raise InputError(
                f"{axis} {name!r} was fitted on images that it is to score ({images}): judged on them "
                "it would be a genie; name another data set as `calibration`"
            )
        found = store.read(path, "found").data_vars
        fits[axis, name] = {key: array.values for key, array in found.items()}
    return fits
