"""A dataset in shards gives what it gives as a whole, to the last bit."""

import json
from itertools import chain

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from rdpipe.core.errors import InputError
from rdpipe.datasets import manifest
from rdpipe.io import store
from rdpipe.stages import (
    extract_latents,
    fit_estimator,
    measure_gap,
    prepare_dataset,
    simulate,
    write_bitstreams,
)

IMAGES, SHARDS = 5, 3
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}, "window-5": {}},
    "quantizers": {"rounding": {}, "test-channel": {}},
}
CELLS = {"bound": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}}
CODED = {"codec": {"mean": "codec", "variance": "codec", "quantizer": "rounding"}}
SIMULATION = {"curves": CELLS, "measure": "psnr", "matching": "image"}
CODEC = {"dataset": "d", "codec": "mini-mean-scale", "quality": 2, "entry": {}, "device": "cpu"}
GAP = {"slices": [{"component": "joint", **ENTRIES}], "seed": 0}


def extract(manifest_file, table, latents, **changes):
    spec = extract_latents.ExtractLatentsSpec.from_mapping({**CODEC, **changes})
    extract_latents.run(spec, manifest_file, table, latents)


def gap(latents, out, **changes):
    spec = measure_gap.MeasureGapSpec.from_mapping({**GAP, **changes})
    measure_gap.run(spec, latents, [], [out])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Latents of a few images of different sizes in one shard and in three, with the manifest."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        ramp = np.add.outer(np.arange(64 + 32 * i), np.arange(96))
        ramp = ramp[..., None] + rng.integers(0, 60, 3)
        Image.fromarray((ramp % 256).astype(np.uint8)).save(folder / f"{i}.png")
    entry = {"use": "folder", "args": {"root": str(folder)}}
    spec = prepare_dataset.PrepareDatasetSpec(name="d", entry=entry, on_error="stop")
    stores = {"manifest": folder / "manifest.json"}
    prepare_dataset.run(spec, stores["manifest"])
    for shards in (1, SHARDS):
        stores[shards] = []
        for i in range(shards):
            images, latents = (
                folder / f"{name}-{i}-{shards}.zarr.zip" for name in ("images", "latents")
            )
            extract(stores["manifest"], images, latents, shard=[i, shards])
            stores[shards].append(latents)
    return stores


def test_shards_contain_every_image_once_and_in_order(stores):
    names = [store.read(path)["image"].values.tolist() for path in stores[SHARDS]]
    assert [*chain(*names)] == [f"{i}.png" for i in range(IMAGES)]
    assert sorted(map(len, names)) == [1, 2, 2]
    joined, whole = (store.join_shards(stores[shards]).drop_attrs() for shards in (SHARDS, 1))
    xr.testing.assert_identical(joined, whole)
    groups = (store.image_groups(stores[shards]) for shards in (1, SHARDS))
    for left, right in zip(*groups, strict=True):
        xr.testing.assert_identical(store.read(*left), store.read(*right))


def test_more_shards_than_images_are_refused(stores):
    with pytest.raises(InputError, match="6 shards of 5 images; expected 1 to 5 shards"):
        manifest.load_shard(stores["manifest"], 0, 6)


def test_estimator_fitted_on_shards_has_the_same_bytes(stores, tmp_path):
    spec = fit_estimator.FitEstimatorSpec(
        axis="variance", name="calibrated", entry={}, means=ENTRIES["means"]
    )
    for shards in (1, SHARDS):
        fit_estimator.run(spec, stores[shards], [], tmp_path / f"{shards}.zarr.zip")
    assert (tmp_path / "1.zarr.zip").read_bytes() == (tmp_path / f"{SHARDS}.zarr.zip").read_bytes()


def test_level_matched_over_the_dataset_depends_on_all_shards(stores, tmp_path):
    for shards in (1, SHARDS):
        gap(stores[shards], tmp_path / f"{shards}.zarr.zip", matching="dataset")
    assert (tmp_path / "1.zarr.zip").read_bytes() == (tmp_path / f"{SHARDS}.zarr.zip").read_bytes()
    array = store.read(tmp_path / "1.zarr.zip").sel(mean="codec", variance="codec")
    distortion = array["distortion"].sum("image")
    assert distortion.sel(quantizer="test-channel").item() == pytest.approx(
        distortion.sel(quantizer="rounding").item(), rel=1e-9
    )
    assert len(set(array["level"].sel(quantizer="test-channel").values)) == 1


def test_quality_that_is_equal_over_the_dataset_depends_on_all_shards(stores, tmp_path):
    """Its stage reads the latents of all shards."""
    codec = {**CODEC, **ENTRIES, **SIMULATION, "seed": 0, "matching": "dataset"}
    spec = simulate.SimulateSpec.from_mapping(codec)
    for shards in (1, SHARDS):
        out = tmp_path / f"{shards}.zarr.zip"
        simulate.run(spec, stores["manifest"], stores[shards], [], out)
    assert (tmp_path / "1.zarr.zip").read_bytes() == (tmp_path / f"{SHARDS}.zarr.zip").read_bytes()
    assert store.read(tmp_path / "1.zarr.zip").sizes["image"] == IMAGES


def test_measurements_on_shards_join_to_those_on_the_whole(stores, tmp_path):
    products = {}
    for shards in (1, SHARDS):
        for i, latents in enumerate(stores[shards]):
            codec = {**CODEC, **ENTRIES, "seed": 0, "shard": [i, shards]}
            names = ("gap", "simulation", "streams")
            paths = [tmp_path / f"{name}-{i}-{shards}.zarr.zip" for name in names]
            gap([latents], paths[0], matching="image")
            simulated = simulate.SimulateSpec.from_mapping({**codec, **SIMULATION})
            simulate.run(simulated, stores["manifest"], [latents], [], paths[1])
            streams = write_bitstreams.WriteBitstreamsSpec.from_mapping({**codec, "cells": CODED})
            write_bitstreams.run(streams, stores["manifest"], latents, paths[1], [], paths[2])
            for name, path in zip(names, paths, strict=True):
                products.setdefault((name, shards), []).append(path)
    for name in ("gap", "simulation", "streams"):
        whole, joined = (
            store.join_shards(products[name, shards])
            .drop_attrs()
            .drop_vars("seconds", errors="ignore")
            for shards in (1, SHARDS)
        )
        xr.testing.assert_identical(joined, whole)


def test_stores_of_another_run_are_not_joined(stores, tmp_path):
    other = tmp_path / "other.zarr.zip"
    extract(stores["manifest"], other, tmp_path / "latents.zarr.zip", quality=3, shard=[0, 5])
    runs = store.group_by_run([*stores[SHARDS], other])
    assert runs == [stores[SHARDS], [other]]
    assert json.loads(store.read(other).attrs["spec"])["shard"] == [0, 5]
