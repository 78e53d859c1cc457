"""Fit the reconstruction of a quantizer on the calibration images, through the codec's decoder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe.codecs.extraction import Extractor
from rdpipe.core.protocols import Image
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.cell import RECONSTRUCTION
from rdpipe.evaluation.reconstruction_fit import fit_reconstruction
from rdpipe.evaluation.simulation import CodedImage
from rdpipe.io import store
from rdpipe.stages.inputs import codec_of
from rdpipe.stages.specs import CellSpec

logger = logging.getLogger(__name__)
MOST_IMAGES = 16
"""Number of images that are used, evenly spaced in the dataset, if it has more."""
SIDE = 192
"""Side of the part in the middle of an image that is used, pixels."""


class FitReconstructionSpec(CellSpec, frozen=True, kw_only=True):
    """A quantizer of one codec at one quality.

    Parameters
    ----------
    quantizer : str
        Name of the quantizer in the config.
    """

    quantizer: str


def run(spec: FitReconstructionSpec, manifest_file: Path, out: Path) -> None:
    """Fit the reconstruction, and write its state.

    Parameters
    ----------
    spec : FitReconstructionSpec
    manifest_file : Path
        Manifest of the calibration images from ``prepare_dataset``.
    out : Path
        Store to write, in the form of those of ``fit_estimator``: ``fitted_on``, the SHA-256 of the
        images, and a group ``state/y`` for each latent with ``gain`` and ``mse``, see
        :func:`rdpipe.evaluation.reconstruction_fit.fit_reconstruction`.
    """
    codec, entries = codec_of(spec), manifest.load_shard(manifest_file, 0, 1)
    extractor = Extractor(codec)
    images, digests = [], []
    for entry in select(entries):
        pixels = middle(load_image(entry["file"], entry["sha256"]))
        images.append(CodedImage(extractor.latents(entry["name"], pixels), pixels))
        digests.append(entry["sha256"])
    states = fit_reconstruction(codec, spec.quantizer, spec.entries, images, spec.seed)
    if all((state["gain"] == 1).all() for state in states.values()):
        logger.info(
            "plain reconstruction: no gains lower the error of other images beyond the noise"
        )
    coordinates = {
        **spec.run_id.coordinates(),
        "axis": RECONSTRUCTION,
        "estimator": spec.quantizer,
        "latent": list(states),
    }
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset({"fitted_on": ("calibration_image", digests)}, coordinates))
        for latent, state in states.items():
            arrays = {name: (f"{name}_0", values) for name, values in state.items()}
            writer.write(xr.Dataset(arrays), group=f"state/{latent}")


def select(entries: list[manifest.ImageEntry]) -> Iterator[manifest.ImageEntry]:
    """Yield at most :data:`MOST_IMAGES` images, evenly spaced."""
    count = min(len(entries), MOST_IMAGES)
    yield from (entries[i] for i in np.linspace(0, len(entries) - 1, count).round().astype(int))


def middle(image: Image) -> Image:
    """Return the part of at most :data:`SIDE` x :data:`SIDE` pixels in the middle of an image."""
    rows, columns = (
        slice((side - min(side, SIDE)) // 2, (side + min(side, SIDE)) // 2)
        for side in image.shape[:2]
    )
    return image[rows, columns].copy()  # writable, as tensors expect
