"""Codecs whose weights are trained on, through the workflow."""

import copy

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
from small_models import adapt
from small_project import run_project

from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.datasets.image import read_image
from rdpipe.io import store

LIMIT = {
    "mean": "codec",
    "variance": "codec",
    "quantizer": "test-channel",
    "reconstruction": "calibrated",
}
LOOP = {"dataset": "other", "steps": 2, "batch": 1, "crop": 64, "learning_rate": 0.001}
CONFIG = {
    "datasets": {
        "tiny": {"use": "folder", "args": {"root": "images"}},
        "other": {"use": "folder", "args": {"root": "calibration"}},
    },
    "calibration": "other",
    "codecs": {
        "mini-mean-scale": {"qualities": [1, 2]},
        "channel": {"use": "retuned", "args": {"training": "for-channel"}, "qualities": [1, 2]},
        "e8": {"use": "retuned", "args": {"training": "for-e8"}, "qualities": [1, 2]},
        "rounded": {"use": "retuned", "args": {"training": "for-rounding"}, "qualities": [1, 2]},
        "whole": {"use": "retuned", "args": {"training": "for-all"}, "qualities": [1, 2]},
        "refined": {
            "use": "refined",
            "args": {"codec": "rounded", "steps": 1},
            "qualities": [2],
        },
    },
    "training": {
        "for-channel": {**LOOP, "start": {"codec": "mini-mean-scale"}},
        "for-e8": {**LOOP, "start": {"codec": "mini-mean-scale"}, "quantizer": "lattice-e8"},
        "for-rounding": {**LOOP, "start": {"codec": "mini-mean-scale"}, "quantizer": "rounding"},
        "for-all": {
            **LOOP,
            "start": {"codec": "mini-mean-scale"},
            "train": "all",
            "lambdas": [0.0012, 0.005],
        },
    },
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"rounding": {}, "lattice-e8": {}, "test-channel": {}},
    "limits": {"decodable": LIMIT},
    "simulate": {"curves": []},
    "bitstream": True,
}
STAGES = ("images", "simulation", "bitstreams", "decoded")
AFTERWARDS = {"bounds.zarr.zip", "report.html", "compressai/tiny/mini-mean-scale.json"}


@pytest.fixture(scope="module")
def retuned(tmp_path_factory):
    """The project after one complete run."""
    return run_project(tmp_path_factory.mktemp("retuned"), CONFIG)


def test_retuned_codecs_are_curves_and_rungs_of_the_codec(retuned):
    ladder = pd.read_csv(retuned.folder / "results/ladder.csv")
    assert set(ladder["codec"]) == {"mini-mean-scale", "rounded", "refined"}
    curve = ladder[ladder["quality"].isna()]
    terms = {codec: rungs["term"].tolist()[4:] for codec, rungs in curve.groupby("codec")}
    assert terms == {
        "mini-mean-scale": [
            *("context", "decoder", "decoder", "quantization", "decoder", "transforms"),
        ],
        "rounded": ["context", "encoder", "quantization"],
        "refined": ["context", "quantization"],
    }
    rates = pd.read_csv(retuned.folder / "results/bd_rates.csv").query("measure == 'psnr'")
    rows = rates[rates["codec"] == "mini-mean-scale"].set_index("curve")
    kinds = {role: curves["kind"].to_dict() for role, curves in rows.groupby("role")}
    assert kinds["retuned"] == {
        "channel": "upper bound on R(D)",
        "e8": "achieved",
        "rounded": "achieved",
    }
    assert kinds["joint"] == {"whole": "upper bound on R(D)"}
    page = (retuned.folder / "results/report.html").read_text()
    assert all(name in page for name in ("whole", "rounded", "jointly trained transforms"))


def test_retuned_codec_for_rounding_is_analyzed_with_its_own_reconstruction(retuned):
    """Its decoder is another one, so the fit is another one, and its bytes are those of it."""
    fits = [
        store.read(retuned.folder / f"results/fits/{codec}/q2/reconstruction/test-channel.zarr.zip")
        for codec in ("mini-mean-scale", "rounded")
    ]
    assert not fits[0].equals(fits[1])
    for codec in ("rounded", "refined"):
        run = retuned.folder / f"results/tiny/{codec}/q2"
        decoded, table = (store.read(run / f"{n}/0.zarr.zip") for n in ("decoded", "images"))
        cell = decoded.sel(cell="codec/codec/rounding")
        np.testing.assert_allclose(cell["mse"], table["mse"], rtol=1e-4)


def test_level_is_that_of_the_training_and_latents_are_those_of_the_codec(retuned):
    results = retuned.folder / "results/tiny"
    codec_table = store.read(results / "mini-mean-scale/q2/images/0.zarr.zip")
    for codec, level in (("channel", 1 / 12), ("e8", 1.0)):
        simulated = store.read(results / codec / "q2/simulation/0.zarr.zip")
        np.testing.assert_allclose(simulated["level"], level)
        table = store.read(results / codec / "q2/images/0.zarr.zip")
        np.testing.assert_array_equal(table["bytes"], codec_table["bytes"])
        assert (table["mse"] != codec_table["mse"]).all()


def test_checkpoint_opens_in_compressai(retuned):
    file = retuned.folder / "results/training/for-all/q2.safetensors"
    family, _ = ARCHITECTURES["mbt2018-mean"]
    model = family.from_state_dict(safetensors.torch.load_file(file)).eval()
    table = store.read(retuned.folder / "results/tiny/whole/q2/images/0.zarr.zip")
    for name, size in zip(table["image"].values, table["bytes"].values, strict=True):
        image = read_image(str(retuned.folder / "images" / name), max_pixels=None)[0]
        assert len(adapt(model).compress(image)) == size


def test_only_what_the_training_touches_runs_again(retuned):
    config = copy.deepcopy(CONFIG)
    config["training"]["for-e8"]["steps"] = 3
    retuned.configure(config)
    expected = {f"training/for-e8/q{quality}.safetensors" for quality in (1, 2)}
    expected |= {f"tiny/e8/q{q}/{stage}/0.zarr.zip" for q in (1, 2) for stage in STAGES}
    assert retuned.jobs() == expected | AFTERWARDS
    retuned.configure(CONFIG)
    assert retuned.jobs() == set()


def test_changed_code_of_the_quantizer_trains_again(retuned):
    """The state of the training has what the rule compares, so no old weights are written."""
    module = retuned.folder / "rdpipe/quantizers/lattice.py"
    original = module.read_text()
    try:
        module.write_text(original + "\nADDED = 1\n")
        weights = {f"training/for-e8/q{quality}.safetensors" for quality in (1, 2)}
        assert retuned.jobs("--until", "retune_codec") == weights
        process = retuned.snakemake("results/training/for-e8/q1.safetensors")
        assert process.returncode == 0, process.stdout
    finally:
        module.write_text(original)
    log = (retuned.folder / "logs/retune_codec/for-e8/q1.log").read_text()
    assert "(source: rdpipe.quantizers.lattice): starting again" in log
    assert (retuned.folder / "results/training/for-e8/q1.state/stale.pt").exists()


def test_real_bytes_have_the_code_length_and_the_picture_of_the_rung(retuned):
    run = retuned.folder / "results/tiny/e8/q2"
    decoded, simulated = (
        store.read(run / f"{name}/0.zarr.zip") for name in ("decoded", "simulation")
    )
    table = store.read(run / "images/0.zarr.zip")
    bits = simulated["bits"][0] + table["side_bits"]
    np.testing.assert_allclose(8 * decoded["size"][0], bits, rtol=0.01, atol=320)  # a header
    np.testing.assert_allclose(decoded["mse"][0], simulated["mse"][0], rtol=0.01)
    points = pd.read_csv(retuned.folder / "results/bounds.csv").query("curve == 'e8'")
    bpp = (8 * decoded["size"][0] / table["pixels"]).mean().item()
    np.testing.assert_allclose(points["bpp"].max(), bpp)
