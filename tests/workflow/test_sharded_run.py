"""The tiny project again: on one core instead of two, in shards, without keeping latents."""

import copy
import shutil

import pytest
import xarray as xr
from conftest import CONFIG

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
                  anchors={"jpeg": {"qualities": [40]}}, keep_latents=False)  # fmt: skip
    config["datasets"]["tiny"]["shards"] = 2
    sharded.configure(config)
    done = sharded.snakemake("--cores", "1")
    assert done.returncode == 0, done.stdout
    return sharded


def shards(one, kind: str) -> list:
    return sorted((one.folder / RUN / kind).iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_neither_shards_nor_cores_change_a_bit(project, sharded, kind):
    assert [store.read(path).sizes["image"] for path in shards(sharded, kind)] == [1, 1]
    found, known = (store.joined(shards(one, kind)).drop_attrs() for one in (sharded, project))
    xr.testing.assert_identical(found, known)
    pairs = zip(*(store.image_groups(shards(one, kind)) for one in (sharded, project)))
    for one, other in pairs if kind == "maps" else ():
        xr.testing.assert_identical(store.read(*one), store.read(*other))


@pytest.mark.parametrize("file", ["fits/mini-mean-scale/q1/variance/calibrated.zarr.zip", "other/mini-mean-scale/q1/images/0.zarr.zip"])
def test_what_is_not_sharded_has_the_same_bytes(project, sharded, file):
    assert len({(one.folder / "results" / file).read_bytes() for one in (project, sharded)}) == 1


def test_the_bounds_of_shards_have_the_same_bytes(project, sharded, tmp_path):
    spec = {"limits": CONFIG["limits"], "beside": {}, "references": {}, "resamples": 50, "seed": 0}
    names = ("out", "points", "bd_rates", "decomposition", "codes", "levers")
    for one, folder in ((project, tmp_path / "whole"), (sharded, tmp_path / "shards")):
        kinds = ("images", "gaps/joint", "simulation")
        anchors = sorted((one.folder / "results/tiny/anchors/jpeg/q40").iterdir())
        trace_bounds.run(spec, *(shards(one, kind) for kind in kinds), anchors, shards(one, "decoded"), [],
                         **{name: folder / name for name in names})  # fmt: skip
    for name in names:
        assert len({(tmp_path / one / name).read_bytes() for one in ("whole", "shards")}) == 1, name


def test_latents_go_when_all_is_measured_and_nothing_is_left_to_do(sharded):
    assert not list(sharded.folder.glob("results/*/*/*/latents/*"))
    done = sharded.snakemake("--cores", "1")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout


def test_more_shards_than_images_are_refused(sharded):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["tiny"]["shards"] = 3
    sharded.configure(config)
    done = sharded.snakemake("--show-failed-logs", f"{RUN}/images/2.zarr.zip")
    assert done.returncode != 0
    assert "2 images make no 3 shards; allowed are 1 to 2" in done.stdout
