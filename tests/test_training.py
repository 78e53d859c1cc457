"""The trainer: it learns, and an interruption leaves no trace in the weights."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data

from rdpipe.axes.quantizer import TestChannel as Channel
from rdpipe.codecs import trainable
from rdpipe.codecs.compressai import from_gained
from rdpipe.codecs.trainable import THETA, GainedHyperprior, fold, round_through
from rdpipe.datasets import manifest, sample
from rdpipe.errors import InputError
from rdpipe.training import Crops, learning_rate, train

SPEC = {"N": 8, "M": 8, "lambdas": [0.01, 0.04], "mean": "hyper", "variance": "hyperprior", "quantizer": "ste", "steps": 12, "batch": 2, "crop": 64,
        "learning_rate": 0.003, "seed": 1, "precision": "32-true", "save_every": 2}  # fmt: skip
FILES = [Path(source.file) for source in sample.find()]


@pytest.fixture(autouse=True)
def signals_as_before():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def command(folder: Path, spec: dict) -> list[str]:
    manifest.write(folder / "manifest.json", manifest.build(sample.find()))
    return [sys.executable, "-m", "rdpipe", "train_codec", "--spec", json.dumps(spec), "--manifest_file",
            str(folder / "manifest.json"), "--state", str(folder / "state"), "--out",
            str(folder / "net.safetensors")]  # fmt: skip


def weights(folder: Path, spec: dict) -> bytes:
    subprocess.run(command(folder, spec), check=True, capture_output=True, env=one_thread())
    return (folder / "net.safetensors").read_bytes()


def one_thread() -> dict:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("undisturbed"), SPEC)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_training_ends_in_the_same_bytes(tmp_path, undisturbed, how):
    process = subprocess.Popen(command(tmp_path, SPEC), stderr=subprocess.PIPE, env=one_thread())
    while not (tmp_path / "state" / "state.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(how)
    process.communicate()
    interrupted = torch.load(tmp_path / "state" / "state.pt", weights_only=True)["step"]
    assert process.returncode != 0 and not (tmp_path / "net.safetensors").exists()
    assert 2 <= interrupted < 12
    assert weights(tmp_path, SPEC) == undisturbed


def test_more_steps_go_on_where_fewer_ended(tmp_path):
    train({**SPEC, "steps": 2}, FILES, tmp_path)
    train({**SPEC, "steps": 4}, FILES, tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 4
    assert state["average"]["n_averaged"] == 4


def test_fewer_steps_than_were_made_are_refused(tmp_path):
    train({**SPEC, "steps": 2}, FILES, tmp_path)
    with pytest.raises(InputError, match="2 steps; 1 are asked for"):
        train({**SPEC, "steps": 1}, FILES, tmp_path)


def test_a_state_of_another_spec_is_refused(tmp_path):
    train({**SPEC, "steps": 1}, FILES, tmp_path)
    with pytest.raises(InputError, match=r"seed 1 -> 2\).*remove the folder"):
        train({**SPEC, "seed": 2}, FILES, tmp_path)


def test_training_lowers_the_cost(tmp_path):
    x = torch.from_numpy(data.chelsea()[:256, :256].copy()).permute(2, 0, 1)[None].float() / 255

    def cost(steps: int) -> float:
        state = train({**SPEC, "steps": steps, "learning_rate": 0.01}, FILES, tmp_path)
        model = GainedHyperprior(8, 8, SPEC["lambdas"])
        model.load_state_dict({**model.state_dict(), **{k: v.float() for k, v in state.items()}})
        with torch.no_grad():
            out = model.eval()(x, torch.tensor([1]))
        bpp = out["bits"].item() / 256**2
        return bpp + 0.04 * 255**2 * (out["x_hat"] - x).square().mean().item()

    before, after = cost(1), cost(100)
    assert after < 0.75 * before


def test_a_training_begins_with_the_weights_of_another(tmp_path):
    first = train({**SPEC, "steps": 5, "learning_rate": 0.02}, FILES, tmp_path / "first")
    weights = tmp_path / "first.safetensors"
    save_file(first, weights)
    still = {**SPEC, "steps": 1, "learning_rate": 1e-9, "start": str(weights)}
    taken = train(still, FILES, tmp_path / "second")
    solved = {name for name in first if name.endswith("quantiles")}
    assert all(torch.equal(taken[name], first[name]) for name in first.keys() - solved)
    save_file({**first, "g_a.0.weight": first["g_a.0.weight"][:4]}, weights)
    partly = train(still, FILES, tmp_path / "third")
    differing = {
        name for name in first.keys() - solved if not torch.equal(partly[name], first[name])
    }
    assert differing == {"g_a.0.weight"}
    save_file({"other": torch.zeros(3)}, weights)
    with pytest.raises(InputError, match="none of its 1 arrays fits"):
        train(still, FILES, tmp_path / "fourth")


def test_a_training_that_explodes_says_where(tmp_path):
    train({**SPEC, "steps": 2}, FILES, tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["model"]["g_a.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(FloatingPointError, match=r"at step 2, with crops of \w+\.\w+.*state\.pt"):
        train({**SPEC, "steps": 4}, FILES, tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


@pytest.mark.parametrize("distance", [0.0, 3.0, 1e3, 1e15])
def test_an_outlier_feels_a_gradient_that_is_not_too_large(distance):
    means = torch.full((1, 1, 1, 1), distance, requires_grad=True)
    bits, _ = round_through(-means, torch.full((1, 1, 1, 1), 0.04), training=True)
    bits.sum().backward()
    assert bits.item() < 23 + 2 * np.log2(1 + distance)
    assert abs(means.grad.item()) < 60 and (distance == 0 or means.grad.item() > 0)


def test_the_test_channel_in_training_is_the_one_of_the_array():
    torch.manual_seed(0)
    scales = torch.rand(4, 8, 50, 50) * 4 + 0.3
    r = scales * torch.randn(4, 8, 50, 50).clamp(-3, 3)
    bits, r_hat = trainable.test_channel(r, scales.square())
    known = Channel().code(r.double(), scales.double().square(), THETA)
    assert torch.allclose(bits.double(), known.bits, atol=0.01)  # but for escapes
    noise = (r_hat - known.residual) / (THETA * (1 - THETA / scales**2)).sqrt()
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    # below the level the expected variance is the level's, and nothing is sent
    bits, r_hat = trainable.test_channel(0.01 * r, 1e-4 * scales.square())
    assert bits.mean() < 1e-3 and r_hat.std() < 0.02


def test_the_channels_variance_feels_a_gradient_at_the_level():
    """An element that is not sent can come back: where sending would lower the distortion."""
    v = torch.full((1, 1, 100, 100), 0.01, requires_grad=True)
    r = torch.full_like(v, 0.9)
    bits, r_hat = trainable.test_channel(r, v)
    (bits.sum() + 50 * (r - r_hat).square().sum()).backward()
    assert v.grad.isfinite().all() and v.grad.mean() < 0


@pytest.mark.parametrize(
    "mean, variance, quantizer", itertools.product(*trainable.CHOICES.values())
)
def test_every_combination_trains_and_folds(tmp_path, mean, variance, quantizer):
    axes = {"mean": mean, "variance": variance, "quantizer": quantizer}
    spec = {**SPEC, "steps": 3, **axes}
    save_file(train(spec, FILES, tmp_path), tmp_path / "net.safetensors")
    codec = from_gained(1, str(tmp_path / "net.safetensors"))
    image = data.astronaut()[:130, :140]
    one = codec.analyse("a", image)
    assert (one.latents.mean == 0).all() == (mean == "zero")
    assert codec.decompress(codec.compress(image)).shape == image.shape


def test_each_rate_folds_into_a_plain_model(tmp_path):
    torch.manual_seed(0)
    model = GainedHyperprior(8, 12, [0.01, 0.04]).eval()
    with torch.no_grad():
        model.log_gain += 0.1 * torch.randn_like(model.log_gain)
        model.h_s[4].bias[:12] += torch.randn(12)  # scales of both signs
    model.entropy_bottleneck.update(force=True, update_quantiles=True)
    torch.save(dict(model.named_parameters()), tmp_path / "net.pt")
    x = torch.rand(1, 3, 64, 64)
    for rate in (0, 1):
        plain = from_gained(rate + 1, str(tmp_path / "net.pt")).model
        with torch.no_grad():
            gained, folded = model(x, torch.tensor([rate])), plain(x)
        bits = -sum(l.log2().sum() for l in folded["likelihoods"].values())
        assert bits.item() == pytest.approx(gained["bits"].item(), rel=1e-4)
        assert torch.allclose(folded["x_hat"], gained["x_hat"], atol=1e-4)
    with pytest.raises(InputError, match="no quality 3; it has 1 to 2"):
        from_gained(3, str(tmp_path / "net.pt"))
    with pytest.raises(IndexError, match="rates 0 to 1"):
        fold(model.state_dict(), 2)


def test_a_crop_is_a_pure_function_of_seed_and_index():
    first, second = Crops(FILES, 64, 5), Crops(FILES, 64, 5)
    late = second[9]
    assert all(np.array_equal(first[i], second[i]) for i in range(5))
    assert np.array_equal(first[9], late) and not np.array_equal(first[8], late)
    assert first[0].shape == (3, 64, 64) and first[0].dtype == np.uint8
    assert not np.array_equal(Crops(FILES, 64, 6)[9], late)


def test_every_rate_is_trained_whatever_the_batch(tmp_path):
    spec = {**SPEC, "lambdas": [0.01, 0.02, 0.04], "batch": 2, "steps": 3, "learning_rate": 0.01}
    trained = train(spec, FILES, tmp_path)["log_gain"]
    initial = GainedHyperprior(8, 8, spec["lambdas"]).log_gain.detach().half()
    assert (trained != initial).any(1).all()


def test_a_longer_schedule_begins_like_a_shorter_one():
    rates = [[learning_rate(step, steps, 1e-3) for step in range(2000)] for steps in (3000, 30000)]
    assert rates[0] == rates[1]
    assert max(rates[0]) == 1e-3 and learning_rate(2999, 3000, 1e-3) < 3e-5
