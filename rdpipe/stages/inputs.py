"""Inputs that several stages read in the same way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from rdpipe.codecs.building import build_codec
from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import Codec
from rdpipe.core.runs import RunId
from rdpipe.datasets import manifest
from rdpipe.evaluation.cell import Fits
from rdpipe.io import store
from rdpipe.refinement.codec import refined_codec
from rdpipe.stages.specs import CodecSpec


class StoredLatents(Sequence[Sequence[Latents]]):
    """Latents of the images of a run, from the stores of all its shards, read image by image.

    Parameters
    ----------
    paths : sequence of Path
        Latents from ``extract_latents``, in the order of the shards.

    Attributes
    ----------
    table : xarray.Dataset
        Table of all images.
    """

    def __init__(self, paths: Sequence[Path]):
        self.table, self.groups = store.join_shards(paths), store.image_groups(paths)

    @property
    def run(self) -> RunId:
        """Dataset, codec and quality."""
        return RunId.from_coordinates(self.table)

    @property
    def names(self) -> list[str]:
        """Names of the images."""
        names: list[str] = self.table["image"].values.tolist()
        return names

    @property
    def latents(self) -> list[str]:
        """Names of the latents of each image, in decoding order."""
        latents: list[str] = self.table["latent"].values.tolist()
        return latents

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> list[Latents]:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        path, group = self.groups[index]
        return [
            as_latents(self.names[index], store.read(path, f"{group}/{latent}"))
            for latent in self.latents
        ]

    def of_latent(self, latent: str) -> LatentsOfImages:
        """Return one latent of every image, read image by image."""
        return LatentsOfImages(self, self.latents.index(latent))


class LatentsOfImages(Sequence[Latents]):
    """One latent of every image of a run.

    Parameters
    ----------
    stored : StoredLatents
    place : int
        Number of the latent.
    """

    def __init__(self, stored: StoredLatents, place: int):
        self.stored, self.place = stored, place

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int) -> Latents:  # type: ignore[override]
        return self.stored[index][self.place]


def load_images(
    manifest_file: Path, shard: tuple[int, int], latents: StoredLatents
) -> list[manifest.ImageEntry]:
    """Return the images of a shard from the manifest, in the order of their latents.

    Raises
    ------
    InputError
        If the manifest lists other images than the store of latents, or in another order.
    """
    images = manifest.load_shard(manifest_file, *shard)
    names = [image["name"] for image in images]
    store.check_same_images(latents.names, names, str(manifest_file))
    return images


def select_images(array: xr.Dataset, names: Sequence[str], path: Path) -> xr.Dataset:
    """Return some images of a store, in the order of their names.

    Raises
    ------
    InputError
        If an image is not in the store.
    """
    if missing := [name for name in names if name not in array["image"].values]:
        raise InputError(f"{path}: image {missing[0]!r} is missing")
    return array.sel(image=list(names))


def codec_of(spec: CodecSpec) -> Codec:
    """Build the codec of a specification."""
    return build_codec(spec.codec, spec.quality, spec.entry, spec.device)


def encoder_of(spec: CodecSpec, refined: Sequence[Path]) -> Codec:
    """Build the codec of a specification; with refined latents, their encoder.

    Parameters
    ----------
    spec : CodecSpec
    refined : sequence of Path
        Stores from ``refine_latents``; empty for a codec that is not refined.
    """
    codec = codec_of(spec)
    return refined_codec(codec, RefinedLatents(refined)) if refined else codec


class RefinedLatents(Mapping[str, dict[str, Tensor]]):
    """Refined latents by the fingerprint of the image, read image by image.

    Parameters
    ----------
    paths : sequence of Path
        Stores from ``refine_latents``, in the order of the shards.
    """

    def __init__(self, paths: Sequence[Path]):
        table = store.join_shards(paths)
        prints, self._latents = (table[name].values.tolist() for name in ("fingerprint", "latent"))
        self._places = dict(zip(prints, store.image_groups(paths), strict=True))

    def __getitem__(self, key: str) -> dict[str, Tensor]:
        path, group = self._places[key]
        tables = {name: store.read(path, f"{group}/{name}") for name in self._latents}
        return {
            name: torch.from_numpy(table["elements"].values)[None] for name, table in tables.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_fits(paths: Sequence[Path], scored: xr.Dataset | None = None) -> Fits:
    """Read the states of fitted estimators, by axis and name, for each latent.

    Parameters
    ----------
    paths : sequence of Path
        Stores from ``fit_estimator``.
    scored : xarray.Dataset, optional
        Table of the images on which the estimators are to be evaluated.

    Raises
    ------
    InputError
        If an estimator was fitted on one of these images.
    """
    fits = {}
    for path in paths:
        fit = store.read(path)
        axis, name = fit["axis"].item(), fit["estimator"].item()
        if scored is not None:
            check_not_fitted_on(f"{axis} {name!r}", fit["fitted_on"].values, scored)
        fits[axis, name] = {
            latent: {
                str(key): array.values
                for key, array in store.read(path, f"state/{latent}").data_vars.items()
            }
            for latent in fit["latent"].values.tolist()
        }
    return fits


def check_not_trained_on(
    weights: Sequence[Path], names: Sequence[str], digests: Sequence[str]
) -> None:
    """Check that weights were not trained on images on which they are to be measured.

    Parameters
    ----------
    weights : sequence of Path
        Only ``.safetensors`` from ``train_codec`` and ``retune_codec`` state their images.
    names, digests : sequence of str
        Names of the images, and SHA-256 of their content.

    Raises
    ------
    InputError
        If they were; names the images.
    """
    for file in weights:
        trained_on = training_images(file)
        if shared := [n for n, digest in zip(names, digests, strict=True) if digest in trained_on]:
            raise InputError(
                f"{file} was trained on images that are measured ({', '.join(shared[:3])}), so its"
                " curve would be no bound; expected other images"
            )


def training_images(weights: Path) -> set[str]:
    """Return the SHA-256 of the images that weights were trained on; empty if not known."""
    if weights.suffix != ".safetensors":
        return set()
    from safetensors import SafetensorError, safe_open  # of an extra

    try:
        with safe_open(weights, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("rdpipe", "{}"))
    except SafetensorError:  # the codec that loads the file reports it
        return set()
    return set(metadata.get("trained_on", ()))


def check_not_fitted_on(what: str, digests: Any, scored: xr.Dataset) -> None:
    """Check that an estimator was not fitted on images on which it is to be evaluated.

    Raises
    ------
    InputError
        If it was; names the images.
    """
    shared = np.isin(scored["sha256"].values, digests)
    if shared.any():
        images = ", ".join(scored["image"].values[shared][:3])
        raise InputError(
            f"{what} was fitted on images that it is evaluated on ({images}), which would make it a"
            " genie; name another dataset as `calibration`"
        )
