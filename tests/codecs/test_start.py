"""A training that begins with the weights of another."""

import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from small_training import FILES, SPEC

from rdpipe.training import model as trainable
from rdpipe.codecs.compressai.adapter import from_gained
from rdpipe.core.errors import InputError
from rdpipe.training.trainer import train


def test_a_training_begins_with_the_weights_of_another(tmp_path):
    first = train({**SPEC, "steps": 5, "learning_rate": 0.02}, FILES, tmp_path / "first")
    weights = tmp_path / "first.safetensors"
    save_file(first, weights)
    still = {**SPEC, "steps": 1, "learning_rate": 1e-9, "start": str(weights)}
    taken = train(still, FILES, tmp_path / "second")
    solved = {name for name in first if name.endswith("quantiles")}
    assert all(torch.equal(taken[name], first[name]) for name in first.keys() - solved)
    save_file({"other": torch.zeros(3)}, weights)
    with pytest.raises(InputError, match="no weights of a training; they lack g_a.0.weight"):
        train(still, FILES, tmp_path / "fourth")


@pytest.mark.parametrize("mean, variance", trainable.FAMILIES)
def test_a_network_with_more_latents_begins_as_the_one_it_grew_from(tmp_path, mean, variance):
    axes = {"mean": mean, "variance": variance, "precision": "32-true"}
    small = train({**SPEC, **axes, "steps": 5, "learning_rate": 0.02}, FILES, tmp_path / "small")
    save_file(small, tmp_path / "small.safetensors")
    spec = {**SPEC, **axes, "M": 12, "steps": 1, "learning_rate": 1e-9}
    spec["start"] = str(tmp_path / "small.safetensors")
    grown = train(spec, FILES, tmp_path / "grown")
    save_file(grown, tmp_path / "grown.safetensors")
    image = data.astronaut()[:128, :128]
    found = []
    for name in ("small", "grown"):
        codec = from_gained(2, str(tmp_path / f"{name}.safetensors"))
        one = codec.analyse("a", image)
        y_hat = (one.latents.y - one.latents.mean).round() + one.latents.mean
        kept = one.latents.y[:8], one.latents.mean[:8], one.latents.scale[:8]
        image_found = torch.from_numpy(codec.synthesise(y_hat, 128, 128)).float()
        found.append((*kept, torch.tensor(one.side_bits), image_found))
    (*before, x_hat), (*after, x_hat_grown) = found
    if not hasattr(codec.model, "h_s"):  # the outer quantiles, hence the scale, are solved for anew
        del before[2], after[2]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert (x_hat_grown - x_hat).abs().max() <= 1 and (x_hat_grown - x_hat).abs().mean() < 0.01


@pytest.mark.parametrize(
    "change, message",
    [
        ({"N": 16}, "N = 8, M = 8 and 2 rates; this training has N = 16, M = 8 and 2 rates"),
        ({"lambdas": [0.01, 0.02, 0.04]}, "this training has N = 8, M = 8 and 3 rates"),
        ({"M": 4}, "this training has N = 8, M = 4"),
    ],
)
def test_a_start_of_another_size_is_refused(tmp_path, change, message):
    save_file(train({**SPEC, "steps": 1}, FILES, tmp_path), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=message):
        train({**SPEC, **change, "start": str(tmp_path / "a.safetensors")}, FILES, tmp_path / "b")


def test_another_kind_of_prior_is_not_taken_over(tmp_path):
    first = train({**SPEC, "steps": 3, "learning_rate": 0.02}, FILES, tmp_path / "first")
    save_file(first, tmp_path / "first.safetensors")
    spec = {**SPEC, "mean": "zero", "steps": 1, "learning_rate": 1e-9}
    taken = train(
        {**spec, "start": str(tmp_path / "first.safetensors")}, FILES, tmp_path / "second"
    )
    assert torch.equal(taken["g_a.6.weight"], first["g_a.6.weight"])
    assert not torch.equal(taken["h_a.0.weight"], first["h_a.0.weight"])
