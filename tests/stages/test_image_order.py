"""Stages that join two inputs compare the names of the images."""

import json

import pytest
from small_field_specs import CODEC, ENTRIES, GAP, LIMIT, prepare_fields

from rdpipe.core.errors import InputError
from rdpipe.io import store
from rdpipe.stages import (
    extract_latents,
    map_latents,
    measure_gap,
    read_bitstreams,
    simulate,
    write_bitstreams,
)

OWN = {"mean": "codec", "variance": "codec", "quantizer": "rounding"}
CELLS = {**CODEC, **ENTRIES, "seed": 0}
CODED = {**CELLS, "cells": {"codec": OWN}}


class Inputs:
    """Products of two Gaussian fields, and a manifest that lists them in the other order."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest, self.swapped = folder / "manifest.json", folder / "swapped.json"
        self.latents, self.joint = folder / "latents.zarr.zip", folder / "joint.zarr.zip"
        self.streams, self.out = folder / "streams.zarr.zip", folder / "out.zarr.zip"
        self.simulation = folder / "simulation.zarr.zip"
        prepare_fields(self.manifest)
        content = json.loads(self.manifest.read_text())
        content["images"].reverse()
        self.swapped.write_text(json.dumps(content))
        self.extract(self.manifest, self.latents)
        gap = measure_gap.MeasureGapSpec.from_mapping(GAP)
        measure_gap.run(gap, [self.latents], [], [self.joint])
        self.simulate(self.manifest, self.simulation)
        self.write(self.manifest, self.streams)

    def extract(self, manifest_file, out):
        spec = extract_latents.ExtractLatentsSpec.from_mapping(CODEC)
        extract_latents.run(spec, manifest_file, self.folder / "images.zarr.zip", out)

    def simulate(self, manifest_file, out=None):
        spec = {**CELLS, "curves": {"bound": LIMIT}, "measure": "psnr", "matching": "image"}
        spec = simulate.SimulateSpec.from_mapping(spec)
        simulate.run(spec, manifest_file, [self.latents], [], out or self.out)

    def map(self, manifest_file, joint=None):
        spec = map_latents.MapLatentsSpec.from_mapping({**CELLS, "limits": {"bound": LIMIT}})
        map_latents.run(spec, manifest_file, self.latents, joint or self.joint, [], self.out)

    def write(self, manifest_file, out=None):
        spec = write_bitstreams.WriteBitstreamsSpec.from_mapping(CODED)
        inputs = manifest_file, self.latents, self.simulation
        write_bitstreams.run(spec, *inputs, [], out or self.out)

    def read(self, manifest_file, latents=None):
        spec = read_bitstreams.ReadBitstreamsSpec.from_mapping(CODED)
        inputs = manifest_file, self.streams, latents or self.latents
        read_bitstreams.run(spec, *inputs, [], self.out)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("order"))


@pytest.mark.parametrize("stage", ["simulate", "map", "write", "read"])
def test_manifest_in_another_order_than_the_latents_is_refused(inputs, stage):
    getattr(inputs, stage)(inputs.manifest)
    names = store.read(inputs.latents)["image"].values
    message = f"swapped.json: image 0 is '{names[1]}'; expected '{names[0]}'"
    with pytest.raises(InputError, match=message):
        getattr(inputs, stage)(inputs.swapped)


def test_bitstreams_in_another_order_than_the_latents_are_refused(inputs, tmp_path):
    inputs.read(inputs.manifest)
    inputs.extract(inputs.swapped, tmp_path / "latents.zarr.zip")
    with pytest.raises(InputError, match=r"streams.zarr.zip: image 0 is '.*'; expected '.*'"):
        inputs.read(inputs.swapped, tmp_path / "latents.zarr.zip")


def test_array_without_an_image_is_refused_and_its_order_does_not_matter(inputs, tmp_path):
    array, reordered, shorter = (
        store.read(inputs.joint),
        tmp_path / "reordered.zarr.zip",
        tmp_path / "shorter.zarr.zip",
    )
    inputs.map(inputs.manifest)
    expected = inputs.out.read_bytes()
    for path, part in (
        (reordered, array.isel(image=[1, 0])),
        (shorter, array.isel(image=[0])),
    ):
        with store.create(path, {}) as writer:
            writer.write(part)
    inputs.map(inputs.manifest, reordered)
    assert inputs.out.read_bytes() == expected
    with pytest.raises(InputError, match=r"shorter.zarr.zip: image '.*' is missing"):
        inputs.map(inputs.manifest, shorter)
