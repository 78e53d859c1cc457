"""A few small images through the stages, for several tests."""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from rdpipe.core.axes import CellId
from rdpipe.io import store
from rdpipe.stages import (
    extract_latents,
    fit_reconstruction,
    prepare_dataset,
    read_bitstreams,
    simulate,
    write_bitstreams,
)

ENTRIES = {
    "means": {"zero": {}, "codec": {}},
    "variances": {"codec": {}, "window-5": {}, "channel": {}},
    "quantizers": {"rounding": {}, "deadzone": {}, "test-channel": {}},
}


def cell(name):
    """Return the names of a cell such as ``codec/codec/rounding``."""
    return CellId.parse(name).names()


def cells(*names):
    """Return cells by their names."""
    return {name: cell(name) for name in names}


def photographs(count, height=48, width=64, top=40):
    """Return parts of a photograph, none of which share a pixel."""
    photograph = skimage.data.chelsea()
    left = [60 + i * width for i in range(count)]
    return [np.ascontiguousarray(photograph[top : top + height, x : x + width]) for x in left]


class SmallRun:
    """Images, and the products of the stages for a codec.

    Parameters
    ----------
    folder : Path
        An empty folder.
    images : list of array
    codec : str
    entry : dict
        ``use`` and ``args`` of the codec.
    """

    def __init__(self, folder: Path, images, codec="mini-mean-scale", entry=None, device="cpu"):
        self.folder, self.images = folder, images
        self.manifest, self.latents = folder / "manifest.json", folder / "latents.zarr.zip"
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{i}.png")
        data = {"use": "folder", "args": {"root": str(folder), "pattern": "*.png"}}
        spec = prepare_dataset.PrepareDatasetSpec(name="d", entry=data, on_error="stop")
        prepare_dataset.run(spec, self.manifest)
        self.codec = {"dataset": "d", "codec": codec, "quality": 2, "entry": entry or {}}
        self.codec["device"] = device
        spec = extract_latents.ExtractLatentsSpec.from_mapping(self.codec)
        extract_latents.run(spec, self.manifest, folder / "images.zarr.zip", self.latents)
        self.table = store.read(self.latents)
        self.cell_spec = {**self.codec, **ENTRIES, "seed": 0}

    def simulate(self, curves, fits=(), out="simulation", **changes):
        """Return the path of a simulation of cells."""
        path = self.folder / f"{out}.zarr.zip"
        spec = {**self.cell_spec, "curves": curves, "measure": "psnr", "matching": "image"}
        spec = simulate.SimulateSpec.from_mapping({**spec, **changes})
        simulate.run(spec, self.manifest, [self.latents], list(fits), path)
        return path

    def fit(self, quantizer, out="fit"):
        """Return the path of a reconstruction that is fitted on these images."""
        path = self.folder / f"{out}.zarr.zip"
        spec = {**self.cell_spec, "quantizer": quantizer}
        spec = fit_reconstruction.FitReconstructionSpec.from_mapping(spec)
        fit_reconstruction.run(spec, self.manifest, path)
        return path

    def write(self, coded, simulation, fits=()):
        """Return the path of the bitstreams of cells."""
        path = self.folder / "streams.zarr.zip"
        spec = write_bitstreams.WriteBitstreamsSpec.from_mapping({**self.cell_spec, "cells": coded})
        write_bitstreams.run(spec, self.manifest, self.latents, simulation, list(fits), path)
        return path

    def read(self, coded, streams, fits=()):
        """Return the path of what the bitstreams of cells decode to."""
        path = self.folder / "decoded.zarr.zip"
        spec = read_bitstreams.ReadBitstreamsSpec.from_mapping({**self.cell_spec, "cells": coded})
        read_bitstreams.run(spec, self.manifest, streams, self.latents, list(fits), path)
        return path
