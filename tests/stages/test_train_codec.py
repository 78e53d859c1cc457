"""What a training is refused to start with, and what its weights depend on."""

import json

import pytest
import safetensors.torch
import torch
from small_spec import SPEC
from small_training import train_small

from rdpipe.core.errors import InputError
from rdpipe.core.provenance import installed_versions
from rdpipe.datasets import manifest, sample
from rdpipe.stages import train_codec
from rdpipe.stages.inputs import training_images
from rdpipe.stages.train_codec import TrainCodecSpec, check_sizes


def test_image_smaller_than_a_crop_is_refused():
    images = [
        {"name": name, "width": width, "height": height}
        for name, width, height in (("a.png", 128, 300), ("b.png", 300, 127))
    ]
    check_sizes(images[:1], 128)
    with pytest.raises(
        InputError, match="'b.png' has 300 x 127 pixels; expected at least 128 x 128"
    ):
        check_sizes(images, 128)


def test_other_source_or_other_bytes_of_the_start_train_again(tmp_path):
    """A finished training does not give its old weights to a changed loss or start."""
    start, out = tmp_path / "start.safetensors", tmp_path / "net.safetensors"
    manifest.write(tmp_path / "manifest.json", manifest.build(sample.find()))
    spec = TrainCodecSpec.from_mapping({**SPEC, "steps": 2, "start": str(start)})

    def train(source: str = "trainer: 1") -> dict:
        train_codec.run(spec, tmp_path / "manifest.json", [source], tmp_path / "state", out)
        return torch.load(tmp_path / "state" / "state.pt", weights_only=True)

    for seed in (1, 2):
        weights = train_small(tmp_path / str(seed), steps=1, seed=seed)
        metadata = {"rdpipe": json.dumps({"trained_on": ["an image"]})}
        start.write_bytes(safetensors.torch.save(weights, metadata))
        first = train(), out.read_bytes()
        assert train()["spec"] == first[0]["spec"] and out.read_bytes() == first[1]
        again = safetensors.torch.load_file(out)
        assert (again["g_a.0.weight"] - weights["g_a.0.weight"]).abs().max() < 1e-3
    packages = sorted(installed_versions("train_codec"))
    assert train("trainer: 2")["spec"]["source"] == sorted([*packages, "trainer: 2"])
    assert (tmp_path / "state" / "stale.pt").exists()
    with safetensors.safe_open(out, "pt") as opened:
        assert json.loads(opened.metadata()["rdpipe"])["spec"]["start"] == str(start)
    images = manifest.load(tmp_path / "manifest.json")["images"]
    assert training_images(out) == {"an image", *(image["sha256"] for image in images)}
