"""The tiny project again: on one core instead of two, in shards, without keeping latents."""

import copy
import shutil

import pytest
from conftest import CONFIG

from rdpipe import store

SAME = ["bounds.zarr.zip", "bounds.csv", "bd_rates.csv", "decomposition.csv", "codes.csv", "levers.csv",
        "training/net.safetensors", "fits/mine/q1/variance/calibrated.zarr.zip",
        "figures/tiny/mine/bounds.png", "figures/tiny/mine/water.pdf", "figures/tiny/mine/maps.svg",
        "compressai/tiny/mine.json"]  # fmt: skip


@pytest.fixture(scope="module")
def sharded(project, new_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    for name in ("images", "calibration", "published.csv", "theirs.json"):
        copied = shutil.copytree if (project.folder / name).is_dir() else shutil.copy
        copied(project.folder / name, folder / name)
    sharded = new_project(folder)
    config = copy.deepcopy(CONFIG)
    config["datasets"]["tiny"]["shards"] = 2
    config["keep_latents"] = False
    sharded.configure(config)
    done = sharded.snakemake("--cores", "1")
    assert done.returncode == 0, done.stdout
    return sharded


def test_neither_shards_nor_cores_change_a_byte(project, sharded):
    results = [one.folder / "results" for one in (project, sharded)]
    assert [name for name in SAME if len({(r / name).read_bytes() for r in results}) != 1] == []


def test_each_shard_is_jobs_of_its_own(project, sharded):
    run = "results/tiny/mini-mean-scale/q1"
    for name in ("images", "simulation", "maps", "decoded", "gaps/joint"):
        shards = [sharded.folder / run / name / f"{i}.zarr.zip" for i in range(2)]
        assert [store.read(one).sizes["image"] for one in shards] == [1, 1], name
        whole = store.read(project.folder / run / name / "0.zarr.zip").drop_attrs()
        assert store.joined(shards).drop_attrs().identical(whole), name


def test_latents_go_when_all_is_measured_and_nothing_is_left_to_do(sharded):
    assert not list(sharded.folder.glob("results/*/*/*/latents/*"))
    done = sharded.snakemake("--cores", "1")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout


def test_more_shards_than_images_are_refused(sharded):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["tiny"]["shards"] = 3
    sharded.configure(config)
    done = sharded.snakemake("--show-failed-logs", "results/tiny/mine/q1/images/2.zarr.zip")
    assert done.returncode != 0
    assert "2 images make no 3 shards; allowed are 1 to 2" in done.stdout
