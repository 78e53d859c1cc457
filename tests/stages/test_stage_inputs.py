"""Inputs that several stages read in the same way."""

import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
import xarray as xr

from rdpipe.codecs.building import build_codec
from rdpipe.core.errors import InputError
from rdpipe.io import store
from rdpipe.stages.inputs import check_not_trained_on, read_fits, select_images

CODECS = """
class OnDevice:
    def __init__(self, quality, device="cpu"):
        self.quality, self.device = quality, device


class Anywhere:
    def __init__(self, quality):
        self.quality = quality
"""


@pytest.fixture
def codecs(tmp_path, monkeypatch):
    (tmp_path / "codecs_of_inputs.py").write_text(CODECS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "codecs_of_inputs"
    sys.modules.pop("codecs_of_inputs", None)


def test_codec_gets_the_device_if_its_factory_has_this_parameter(codecs):
    entry = {"use": f"{codecs}:OnDevice"}
    assert build_codec("a", 3, entry, "cuda:1").device == "cuda:1"
    assert build_codec("a", 3, {**entry, "args": {"device": "cpu"}}, "cuda:1").device == "cpu"
    assert build_codec("a", 3, {"use": f"{codecs}:Anywhere"}, "cuda:1").quality == 3
    assert entry == {"use": f"{codecs}:OnDevice"}


def test_images_are_not_measured_with_weights_that_were_trained_on_them(tmp_path):
    weights, others = tmp_path / "q1.safetensors", tmp_path / "others.safetensors"
    metadata = {"rdpipe": json.dumps({"trained_on": ["x", "y"]})}
    safetensors.torch.save_file({"w": torch.zeros(1)}, weights, metadata)
    safetensors.torch.save_file({"w": torch.zeros(1)}, others)
    (tmp_path / "broken.safetensors").write_text("no weights")
    files = [tmp_path / "any.pth.tar", tmp_path / "broken.safetensors", others, weights]
    check_not_trained_on(files, ["1.png"], ["a"])
    with pytest.raises(InputError, match=r"q1.safetensors was trained on .*measured \(2.png\)"):
        check_not_trained_on(files, ["1.png", "2.png"], ["a", "y"])


def fit_store(path, digests):
    coordinates = {"axis": "variance", "estimator": "calibrated", "latent": ["y"]}
    with store.create(path, {}) as writer:
        writer.write(xr.Dataset({"fitted_on": ("calibration_image", digests)}, coordinates))
        writer.write(xr.Dataset({"table": ("table_0", np.arange(3.0))}), group="state/y")
    return path


def test_fits_are_read_unless_they_were_fitted_on_the_images(tmp_path):
    path = fit_store(tmp_path / "fit.zarr.zip", ["x", "y"])
    table = xr.Dataset({"sha256": ("image", ["a", "b"])}, {"image": ["1.png", "2.png"]})
    for scored in (None, table):
        fits = read_fits([path], scored)
        assert list(fits) == [("variance", "calibrated")]
        assert fits["variance", "calibrated"]["y"]["table"].tolist() == [0, 1, 2]
    table["sha256"][1] = "y"
    with pytest.raises(InputError, match=r"'calibrated' was fitted on images .*\(2.png\)"):
        read_fits([path], table)


def test_images_are_selected_by_name(tmp_path):
    array = xr.Dataset({"level": ("image", [1.0, 2.0])}, {"image": ["a", "b"]})
    assert select_images(array, ["b", "a"], tmp_path)["level"].values.tolist() == [2, 1]
    with pytest.raises(InputError, match="image 'c' is missing"):
        select_images(array, ["a", "c"], tmp_path)
