"""Codecs with refined latents through the workflow."""

import copy

import numpy as np
import pandas as pd
import pytest
from small_project import run_project

from rdpipe.io import store

LIMIT = {
    "mean": "codec",
    "variance": "codec",
    "quantizer": "test-channel",
    "reconstruction": "calibrated",
}
CONFIG = {
    "datasets": {
        "tiny": {"use": "folder", "args": {"root": "images"}},
        "other": {"use": "folder", "args": {"root": "calibration"}},
    },
    "calibration": "other",
    "bitstream": True,
    "codecs": {
        "mini-mean-scale": {"qualities": [1, 2]},
        "better": {
            "use": "refined",
            "args": {"codec": "mini-mean-scale", "steps": 4},
            "qualities": [1, 2],
            "analyze": False,
        },
        "on-lattice": {
            "use": "refined",
            "args": {"codec": "mini-mean-scale", "steps": 10, "quantizer": "lattice-e8"},
            "qualities": [1, 2],
        },
        "bound": {
            "use": "refined",
            "args": {"codec": "mini-mean-scale", "steps": 4, "quantizer": "test-channel"},
            "qualities": [1, 2],
        },
    },
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"rounding": {}, "lattice-e8": {}, "test-channel": {}},
    "limits": {"decodable": LIMIT},
    "simulate": {"curves": []},
}
STAGES = ("refined", "images", "simulation")
AFTERWARDS = {"bounds.zarr.zip", "report.html", "compressai/tiny/mini-mean-scale.json"}


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """The project after one complete run."""
    return run_project(tmp_path_factory.mktemp("refined"), CONFIG)


def test_refined_latents_are_rungs_of_the_ladder(refined):
    ladder = pd.read_csv(refined.folder / "results/ladder.csv")
    assert set(ladder["codec"]) == {"mini-mean-scale"}
    curve = ladder[ladder["quality"].isna()]
    assert curve["term"].tolist()[4:] == [
        "context", "encoder", "encoder", "quantization", "encoder",
    ]  # fmt: skip
    rates = pd.read_csv(refined.folder / "results/bd_rates.csv").query("measure == 'psnr'")
    kinds = rates[rates["role"] == "refined"].set_index("curve")["kind"]
    assert kinds.to_dict() == {
        "better": "achieved",
        "on-lattice": "achieved",
        "bound": "upper bound on R(D)",
    }


def test_bytes_of_the_lattice_have_the_rate_and_the_picture_of_the_refinement(refined):
    run = refined.folder / "results/tiny/on-lattice/q2"
    refinement, decoded = (
        store.read(run / f"{name}/0.zarr.zip") for name in ("refined", "decoded")
    )
    assert decoded["cell"].values.tolist() == ["codec/codec/lattice-e8/calibrated"]
    np.testing.assert_allclose(decoded["mse"].squeeze("cell"), refinement["mse"], rtol=0.01)
    np.testing.assert_allclose(
        8 * decoded["size"].squeeze("cell"), refinement["bits"], rtol=0.02, atol=400
    )
    available = store.read(refined.folder / "results/bounds.zarr.zip", "available")
    rows = available.to_dataframe().set_index("cell")
    assert rows.loc["on-lattice", ["role", "kind"]].tolist() == ["refined", "achieved"]


def test_encoders_of_rungs_with_bytes_are_timed(refined):
    ladder = pd.read_csv(refined.folder / "results/ladder.csv")
    for row in ladder.itertuples():
        timed = row.name in ("on-lattice", "better: codec/codec/rounding", "codec/codec/rounding")
        assert (row.encoder_seconds > row.refinement_seconds) == timed, row.name


def test_reported_bytes_are_those_of_the_refined_latents(refined):
    """The rate and the picture of the stage that refines are those that the extraction measures."""
    run = refined.folder / "results/tiny/better/q2"
    refinement, table = (store.read(run / f"{name}/0.zarr.zip") for name in ("refined", "images"))
    np.testing.assert_allclose(refinement["mse"], table["mse"], rtol=1e-3)
    bits = table["latent_bits"] + table["side_bits"]
    np.testing.assert_allclose(refinement["bits"], bits, rtol=1e-3)
    assert table["real"].all()
    assert (refinement["bits"] != refinement["bits_before"]).any()


def test_only_what_the_settings_touch_runs_again(refined):
    config = copy.deepcopy(CONFIG)
    config["codecs"]["better"]["args"]["steps"] = 5
    refined.configure(config)
    runs = [f"tiny/better/q{quality}" for quality in (1, 2)]
    expected = {f"{run}/{stage}/0.zarr.zip" for run in runs for stage in STAGES}
    assert refined.jobs() == expected | AFTERWARDS
    refined.configure(CONFIG)
    assert refined.jobs() == set()
