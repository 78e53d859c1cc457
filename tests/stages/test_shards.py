"""A data set in parts gives what it gives as a whole, to the last bit."""

import json

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from rdpipe.io import store
from rdpipe.datasets import manifest
from rdpipe.core.errors import InputError
from rdpipe.stages import (
    extract_latents,
    fit_estimator,
    measure_gap,
    prepare_dataset,
    simulate,
    write_bitstreams,
)

IMAGES, SHARDS = 5, 3
AXES = {"means": {"codec": {}}, "variances": {"codec": {}, "calibrated": {}, "window-5": {}},
        "quantizers": {"rounding": {}, "test-channel": {}}}  # fmt: skip
CELLS = {"bound": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}}
CODEC = {"dataset": "d", "codec": "mini-mean-scale", "quality": 2, "entry": {}, "device": "cpu"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Latents of a few images as one shard and as three, with the manifest."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):  # of different sizes
        ramp = np.add.outer(np.arange(64 + 32 * i), np.arange(96))[..., None] + rng.integers(0, 60, 3)
        Image.fromarray((ramp % 256).astype(np.uint8)).save(folder / f"{i}.png")
    data = {"name": "d", "entry": {"use": "folder", "args": {"root": str(folder)}}, "on_error": "stop"}
    prepare_dataset.run(data, folder / "manifest.json")
    found = {"manifest": folder / "manifest.json"}
    for shards in (1, SHARDS):
        found[shards] = []
        for i in range(shards):
            images, latents = (folder / f"{name}-{i}-{shards}.zarr.zip" for name in ("images", "latents"))
            extract_latents.run({**CODEC, "shard": [i, shards]}, found["manifest"], images, latents)
            found[shards].append(latents)
    return found


def test_shards_hold_every_image_once_and_in_order(stores):
    names = [store.read(path)["image"].values.tolist() for path in stores[SHARDS]]
    assert sum(names, []) == [f"{i}.png" for i in range(IMAGES)]
    assert sorted(map(len, names)) == [1, 2, 2]
    xr.testing.assert_identical(store.joined(stores[SHARDS]).drop_attrs(), store.joined(stores[1]).drop_attrs())
    for one, other in zip(store.image_groups(stores[1]), store.image_groups(stores[SHARDS])):
        xr.testing.assert_identical(store.read(*one), store.read(*other))


def test_more_shards_than_images_are_refused(stores):
    with pytest.raises(InputError, match="5 images make no 6 shards; allowed are 1 to 5"):
        manifest.load_shard(stores["manifest"], 0, 6)


def test_statistics_of_shards_merge_exactly(stores, tmp_path):
    spec = {"axis": "variance", "name": "calibrated", "entry": {}, "means": AXES["means"]}
    for shards in (1, SHARDS):
        fit_estimator.run(spec, stores[shards], [], tmp_path / f"{shards}.zarr.zip")
    assert (tmp_path / "1.zarr.zip").read_bytes() == (tmp_path / f"{SHARDS}.zarr.zip").read_bytes()


def test_a_level_for_the_data_set_sees_all_shards(stores, tmp_path):
    axes = {**AXES, "variances": {"codec": {}, "window-5": {}}}
    spec = {"component": "joint", **axes, "matching": "dataset", "seed": 0}
    for shards in (1, SHARDS):
        measure_gap.run(spec, stores[shards], [], tmp_path / f"{shards}.zarr.zip")
    assert (tmp_path / "1.zarr.zip").read_bytes() == (tmp_path / f"{SHARDS}.zarr.zip").read_bytes()
    cube = store.read(tmp_path / "1.zarr.zip").sel(mean="codec", variance="codec")
    distortion = cube["distortion"].sum("image")
    assert distortion.sel(quantizer="test-channel").item() == pytest.approx(
        distortion.sel(quantizer="rounding").item(), rel=1e-9
    )
    assert len(set(cube["level"].sel(quantizer="test-channel").values)) == 1


def test_what_is_measured_on_shards_joins_to_the_whole(stores, tmp_path):
    axes = {**AXES, "variances": {"codec": {}, "window-5": {}}}
    parts = {}
    for shards in (1, SHARDS):
        for i, latents in enumerate(stores[shards]):
            spec = {**CODEC, **axes, "seed": 0, "matching": "image", "shard": [i, shards]}
            gap, swept, sent = (tmp_path / f"{name}-{i}-{shards}.zarr.zip" for name in ("gap", "sweep", "sent"))
            measure_gap.run({**spec, "component": "joint"}, [latents], [], gap)
            sweep = {**spec, "curves": CELLS, "levels": [0.05, 0.2]}
            simulate.run(sweep, stores["manifest"], latents, [], swept)
            write_bitstreams.run(spec, stores["manifest"], latents, [], sent)
            for name, path in (("gap", gap), ("sweep", swept), ("sent", sent)):
                parts.setdefault((name, shards), []).append(path)
    for name in ("gap", "sweep", "sent"):
        whole, joined = (store.joined(parts[name, shards]).drop_attrs() for shards in (1, SHARDS))
        xr.testing.assert_identical(joined, whole)


def test_products_of_other_runs_are_not_joined(stores, tmp_path):
    other = tmp_path / "other.zarr.zip"
    spec = {**CODEC, "quality": 3, "shard": [0, 5]}
    extract_latents.run(spec, stores["manifest"], other, tmp_path / "latents.zarr.zip")
    runs = store.runs([*stores[SHARDS], other])
    assert runs == [stores[SHARDS], [other]]
    assert json.loads(store.read(other).attrs["spec"])["shard"] == [0, 5]
