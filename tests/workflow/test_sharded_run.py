"""The small project on one core instead of two, in shards, without keeping latents."""

import copy
import shutil

import pytest
import xarray as xr
from small_project import CONFIG
from timeless import content

from rdpipe.io import store
from rdpipe.stages import trace_bounds

RUN = "results/tiny/mini-mean-scale/q1"
KINDS = ("images", "simulation", "maps", "decoded", "gaps/variance", "gaps/joint")


@pytest.fixture(scope="module")
def sharded(project, new_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    for name in ("images", "calibration"):
        shutil.copytree(project.folder / name, folder / name)
    sharded = new_project(folder)
    config = copy.deepcopy(CONFIG)
    config.update(references={}, training={}, codecs={"mini-mean-scale": {"qualities": [1]}},
                  baselines={"jpeg": {"qualities": [40]}}, keep_latents=False)  # fmt: skip
    config["datasets"]["tiny"]["shards"] = 2
    sharded.configure(config)
    process = sharded.snakemake("--cores", "1")
    assert process.returncode == 0, process.stdout
    return sharded


def shards(project, kind: str) -> list:
    return sorted((project.folder / RUN / kind).iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_neither_shards_nor_cores_change_a_bit(project, sharded, kind):
    assert [store.read(path).sizes["image"] for path in shards(sharded, kind)] == [1, 1]
    joined, whole = (
        store.join_shards(shards(run, kind)).drop_attrs().drop_vars("seconds", errors="ignore")
        for run in (sharded, project)
    )
    xr.testing.assert_identical(joined, whole)
    groups = (store.image_groups(shards(run, kind)) for run in (sharded, project))
    for left, right in zip(*groups, strict=True) if kind == "maps" else ():
        xr.testing.assert_identical(store.read(*left), store.read(*right))


@pytest.mark.parametrize(
    "file",
    [
        "fits/mini-mean-scale/q1/variance/calibrated.zarr.zip",
        "other/mini-mean-scale/q1/images/0.zarr.zip",
    ],
)
def test_products_without_shards_have_the_same_bytes(project, sharded, file):
    assert len({(run.folder / "results" / file).read_bytes() for run in (project, sharded)}) == 1


def test_bounds_of_shards_have_the_same_bytes(project, sharded, tmp_path):
    fields = {
        "limits": CONFIG["limits"],
        "attached": {},
        "references": {},
    }
    spec = trace_bounds.TraceBoundsSpec.from_mapping(fields)
    names = ("out", "points", "bd_rates", "image_bd_rates", "decomposition", "ladder", "codes")
    names += ("latent_matched", "context")
    for run, folder in ((project, tmp_path / "whole"), (sharded, tmp_path / "shards")):
        kinds = ("images", "gaps/joint", "gaps/variance", "gaps/context", "simulation")
        stores = [shards(run, kind) for kind in kinds]
        baselines = sorted((run.folder / "results/tiny/baselines/jpeg/q40").iterdir())
        files = {name: folder / name for name in names}
        trace_bounds.run(spec, *stores, baselines, shards(run, "decoded"), [], [], **files)
    for name in names:
        files = (tmp_path / folder / name for folder in ("whole", "shards"))
        whole, shards_of_it = map(content, files)
        assert whole == shards_of_it, name


def test_latents_are_deleted_after_use_and_nothing_is_left_to_do(sharded):
    assert not list(sharded.folder.glob("results/*/*/*/latents/*"))
    process = sharded.snakemake("--cores", "1")
    assert process.returncode == 0 and "Nothing to be done" in process.stdout


def test_more_shards_than_images_are_refused(sharded):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["tiny"]["shards"] = 3
    sharded.configure(config)
    process = sharded.snakemake("--show-failed-logs", f"{RUN}/images/2.zarr.zip")
    assert process.returncode != 0
    assert "3 shards of 2 images; expected 1 to 2 shards" in process.stdout
