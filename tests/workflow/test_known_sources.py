"""Sources whose R(D) is known, through the whole workflow (docs/explanation/science.md)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
LIMIT = "R(D) of the coefficients"
"""Reverse water-filling over the blocks of the transform."""


@pytest.fixture(scope="module", params=["gaussian", "power-law"])
def points(request, tmp_path_factory, new_project):
    """Points of a config of the repository, reduced to one field and two rates."""
    config = yaml.safe_load((ROOT / f"config/{request.param}.yaml").read_text())
    del config["pathvars"]
    config["datasets"]["field"]["args"].update(count=1, size=256)
    for codec in config["codecs"].values():
        codec["args"]["size"] = 256
        codec["qualities"] = [2, 4]
    curves = config["simulate"]["curves"]
    config["simulate"]["curves"] = [
        c for c in curves if c["quantizer"] in ("rounding", "test-channel")
    ]
    config["quantizers"] = {"rounding": {}, "test-channel": {}}
    project = new_project(tmp_path_factory.mktemp(request.param))
    project.configure(config)
    process = project.snakemake("results/bounds.csv")
    assert process.returncode == 0, process.stdout
    return pd.read_csv(project.folder / "results/bounds.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, new_project):
    """Points of the config that trains on fields, with smaller fields and one rate."""
    config = yaml.safe_load((ROOT / "config/gaussian-trained.yaml").read_text())
    del config["pathvars"]
    for dataset in config["datasets"].values():
        dataset["args"]["size"] = 256
    for codec in config["codecs"].values():
        codec["qualities"] = [2]
        codec["args"] |= {"size": 256} if "rho" in codec["args"] else {}
    for training in config["training"].values():
        training.update(steps=400, crop=128, lambdas=training["lambdas"][1:2])
    project = new_project(tmp_path_factory.mktemp("trained"))
    project.configure(config)
    process = project.snakemake("results/bounds.csv")
    assert process.returncode == 0, process.stdout
    return pd.read_csv(project.folder / "results/bounds.csv")


@pytest.mark.parametrize("start", ["joint-from-klt", "joint-from-scratch"])
def test_joint_training_reaches_reverse_water_filling(trained, start):
    """The interval around the limit is the sampling error of two fields."""
    gap = above(trained, "klt", start, LIMIT)
    rate = trained[(trained["codec"] == "klt") & (trained["curve"] == start)]["bpp"]
    assert len(gap) == 1 and (gap < 0.05 * rate).all() and (gap > -0.01 * rate).all()
    before = above(trained, "random-transform", "codec/codec/test-channel", LIMIT, of="klt")
    assert (before > 0.1 * rate.values).all()


def above(points, codec, curve, limit, of=None):
    """Return how far a curve is above a limit (of another codec) at equal MSE, bit/pixel."""
    known = points[(points["codec"] == (of or codec)) & (points["curve"] == limit)]
    known = known.sort_values("psnr_of_mean_mse")
    some = points[(points["codec"] == codec) & (points["curve"] == curve)]
    return some["bpp"] - np.interp(
        some["psnr_of_mean_mse"], known["psnr_of_mean_mse"], known["bpp"]
    )


@pytest.mark.parametrize("codec", ["klt", "dct"])
def test_test_channel_reaches_the_closed_form(points, codec):
    gap = above(points, codec, "codec/codec/test-channel", LIMIT)
    assert len(gap) == 2 and (abs(gap) < 0.01).all()


@pytest.mark.parametrize("codec", ["klt", "dct"])
def test_rounding_is_a_quarter_of_a_bit_above_at_high_rate(points, codec):
    gap = above(points, codec, "codec/codec/rounding", LIMIT)
    assert gap.iloc[-1] == pytest.approx(0.2546, abs=0.01)


@pytest.mark.parametrize("codec", ["klt", "dct"])
def test_only_genie_aided_curves_are_below_the_source(points, codec):
    """Every other curve is above the R(D) of the field."""
    for curve, kind in points[points["codec"] == codec].groupby("curve")["kind"].first().items():
        gap = above(points, codec, curve, "R(D) of the field")
        if kind == "genie-aided estimate":
            assert gap.min() < -0.05
        elif kind != "reference":
            assert (gap > 0).all(), curve
