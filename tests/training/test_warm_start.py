"""A training that starts with the weights of another training."""

import logging

import pytest
import torch
from extracting import extract
from safetensors.torch import save_file
from skimage import data
from small_training import train_small

from rdpipe.codecs.compressai import from_training
from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Walk
from rdpipe.training.model import FAMILIES


def test_training_starts_with_the_weights_of_another(tmp_path, caplog):
    first = train_small(tmp_path / "first", steps=5, learning_rate=0.02)
    weights = tmp_path / "first.safetensors"
    save_file(first, weights)
    still = {"steps": 1, "learning_rate": 1e-9, "start": str(weights)}
    with caplog.at_level(logging.INFO, logger="rdpipe.training"):
        second = train_small(tmp_path / "second", **still)
    assert f"copied {len(first)} weights of {weights}; new weights: none" in caplog.text
    solved = {name for name in first if name.endswith("quantiles")}
    assert all(torch.equal(second[name], first[name]) for name in first.keys() - solved)
    save_file({"other": torch.zeros(3)}, weights)
    with pytest.raises(InputError, match="weights of a training: g_a.0.weight is missing"):
        train_small(tmp_path / "fourth", **still)


@pytest.mark.parametrize("mean, variance", FAMILIES)
def test_network_with_more_latents_starts_as_the_smaller_network(tmp_path, mean, variance):
    axes = {"mean": mean, "variance": variance, "precision": "32-true"}
    small = train_small(tmp_path / "small", **axes, steps=5, learning_rate=0.004)
    save_file(small, tmp_path / "small.safetensors")
    start = str(tmp_path / "small.safetensors")
    large = train_small(tmp_path / "large", **axes, M=12, steps=1, learning_rate=1e-9, start=start)
    save_file(large, tmp_path / "large.safetensors")
    image = data.astronaut()[:128, :128]
    results = []
    for name in ("small", "large"):
        codec = from_training(2, str(tmp_path / f"{name}.safetensors"))
        row, arrays = extract(codec, "a", image)
        latents = as_latents("a", arrays["y"])
        shared = latents.y[:8], latents.mean[:8], latents.scale[:8]
        decoded = torch.from_numpy(decode_image(codec, Walk(), image)).float()
        results.append((*shared, torch.tensor(row["side_bits"]), decoded))
    (*before, x_hat), (*after, x_hat_large) = results
    if not codec.has_hyperprior:  # the outer quantiles, hence the scale, are solved for again
        del before[2], after[2]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert (x_hat_large - x_hat).abs().max() <= 1 and (x_hat_large - x_hat).abs().mean() < 0.01


@pytest.mark.parametrize(
    "change, message",
    [
        ({"N": 16}, "N = 8, M = 8 and 2 rates; this training has N = 16, M = 8 and 2 rates"),
        ({"lambdas": [0.01, 0.02, 0.04]}, "this training has N = 8, M = 8 and 3 rates"),
        ({"M": 4}, "this training has N = 8, M = 4"),
    ],
)
def test_start_of_another_size_is_refused(tmp_path, change, message):
    save_file(train_small(tmp_path, steps=1), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=message):
        train_small(tmp_path / "b", **change, start=str(tmp_path / "a.safetensors"))


def test_prior_of_another_kind_is_not_copied(tmp_path):
    first = train_small(tmp_path / "first", steps=3, learning_rate=0.02)
    save_file(first, tmp_path / "first.safetensors")
    start = str(tmp_path / "first.safetensors")
    second = train_small(tmp_path / "second", mean="zero", steps=1, learning_rate=1e-9, start=start)
    assert torch.equal(second["g_a.6.weight"], first["g_a.6.weight"])
    assert not torch.equal(second["h_a.0.weight"], first["h_a.0.weight"])
