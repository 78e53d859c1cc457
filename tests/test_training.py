"""The trainer: it learns, and an interruption leaves no trace in the weights."""

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

from rdpipe.axes import TRAINED_LEVEL
from rdpipe.axes.quantizer import TestChannel as Channel
from rdpipe.codecs import trainable
from rdpipe.codecs.checkpoint import fold, load_model
from rdpipe.codecs.compressai import from_gained
from rdpipe.codecs.trainable import Gained
from rdpipe.datasets import manifest, sample
from rdpipe.datasets.crops import Crops
from rdpipe.errors import InputError
from rdpipe.training import learning_rate, train

SPEC = {"N": 8, "M": 8, "lambdas": [0.01, 0.04], "mean": "hyper", "variance": "hyperprior", "quantizer": "ste", "steps": 12, "batch": 2, "crop": 64,
        "learning_rate": 0.003, "seed": 1, "precision": "32-true", "devices": 1, "save_every": 2}  # fmt: skip
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
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("undisturbed"), SPEC)


@pytest.mark.parametrize(
    "how, devices", [(signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2)]
)
def test_a_killed_training_ends_in_the_same_bytes(tmp_path, undisturbed, how, devices):
    process = subprocess.Popen(
        command(tmp_path, {**SPEC, "devices": devices}),
        stderr=subprocess.PIPE,
        env=one_thread(),
        start_new_session=True,
    )
    while not (tmp_path / "state" / "state.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, how)  # as a scheduler does: all its processes
    _, stderr = process.communicate()
    assert (b"stopped by SIGTERM at step" in stderr) == (how == signal.SIGTERM)
    interrupted = torch.load(tmp_path / "state" / "state.pt", weights_only=True)["step"]
    assert process.returncode != 0 and not (tmp_path / "net.safetensors").exists()
    assert 2 <= interrupted < 12
    if devices == 1:
        assert weights(tmp_path, SPEC) == undisturbed


SHARES = """
import json, sys, torch
from pathlib import Path
from rdpipe import training
from rdpipe.training import Trainer
# plain steps along the gradient: SOAP turns what is rounding error into steps of full size
training.KernelSOAP = lambda parameters, lr, **_: torch.optim.SGD(parameters, lr)
spec, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
trainer = Trainer(spec, folder)
trainer.model.eval()  # rounding, no noise
share = spec["batch"] // spec["devices"]
for step in range(3):
    crops = torch.arange(4 * 3 * 64 * 64).mul(step + 7).remainder(251).byte().view(4, 3, 64, 64)
    trainer.step(crops.split(share)[trainer.fabric.global_rank])
torch.save(trainer.model.state_dict(), folder / f"rank{trainer.fabric.global_rank}.pt")
"""


def test_two_processes_train_as_one_does(tmp_path):
    """The same steps, but for the order in which gradients are added."""
    (tmp_path / "shares.py").write_text(SHARES)
    found = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        spec = {**SPEC, "batch": 4, "learning_rate": 0.5, "devices": devices}
        subprocess.run(
            [sys.executable, str(tmp_path / "shares.py"), json.dumps(spec), str(folder)],
            check=True, capture_output=True, env={**one_thread(), "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        found += [torch.load(file, weights_only=True) for file in sorted(folder.glob("rank*.pt"))]
    torch.manual_seed(SPEC["seed"])
    start = Gained(8, 8, SPEC["lambdas"]).state_dict()
    start, one, first, second = (
        torch.cat([value.flatten() for value in state.values()]) for state in (start, *found)
    )
    assert torch.equal(first, second)
    assert 0 < (one - start).norm() < torch.inf
    assert (one - first).norm() < 1e-3 * (one - start).norm()


def test_the_stage_trains_with_two_processes(tmp_path):
    assert weights(tmp_path, {**SPEC, "devices": 2, "steps": 3})
    state = torch.load(tmp_path / "state" / "state.pt", weights_only=True)
    assert state["step"] == 3
    with pytest.raises(InputError, match="batch 2 is no multiple of devices 3"):
        train({**SPEC, "devices": 3}, FILES, tmp_path / "three")


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
        model = Gained(8, 8, SPEC["lambdas"])
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
    save_file({"other": torch.zeros(3)}, weights)
    with pytest.raises(InputError, match="no weights of a training; they lack g_a.0.weight"):
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
    noise = torch.full_like(means, 0.3)
    bits, _ = trainable.rounding(-means, torch.full((1, 1, 1, 1), 0.04), noise)
    bits.sum().backward()
    assert bits.item() < 23 + 2 * np.log2(1 + distance)
    assert abs(means.grad.item()) < 60 and (distance == 0 or means.grad.item() > 0)


def test_the_test_channel_in_training_is_the_one_of_the_array():
    torch.manual_seed(0)
    scales = torch.rand(4, 8, 50, 50) * 4 + 0.3
    r = scales * torch.randn(4, 8, 50, 50).clamp(-3, 3)
    bits, r_hat = trainable.test_channel(r, scales.square(), torch.randn_like(r))
    known = Channel().code(r.double(), scales.double().square(), TRAINED_LEVEL)
    assert torch.allclose(bits.double(), known.bits, atol=0.01)  # but for escapes
    noise = (r_hat - known.residual) / (TRAINED_LEVEL * (1 - TRAINED_LEVEL / scales**2)).sqrt()
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    # below the level the expected variance is the level's, and nothing is sent
    bits, r_hat = trainable.test_channel(0.01 * r, 1e-4 * scales.square(), torch.randn_like(r))
    assert bits.mean() < 1e-3 and r_hat.std() < 0.02


def test_the_channels_variance_feels_a_gradient_at_the_level():
    """An element that is not sent can come back: where sending would lower the distortion."""
    v = torch.full((1, 1, 100, 100), 0.01, requires_grad=True)
    r = torch.full_like(v, 0.9)
    bits, r_hat = trainable.test_channel(r, v, torch.randn_like(r))
    (bits.sum() + 50 * (r - r_hat).square().sum()).backward()
    assert v.grad.isfinite().all() and v.grad.mean() < 0


@pytest.mark.parametrize("quantizer", trainable.QUANTIZERS)
@pytest.mark.parametrize("mean, variance", trainable.FAMILIES)
def test_every_combination_trains_and_folds(tmp_path, mean, variance, quantizer):
    axes = {"mean": mean, "variance": variance, "quantizer": quantizer}
    spec = {**SPEC, "steps": 3, **axes}
    if (variance, quantizer) == ("factorized", "test-channel"):
        with pytest.raises(InputError, match="test channel is Gaussian; variance 'factorized'"):
            train(spec, FILES, tmp_path)
        return
    save_file(train(spec, FILES, tmp_path), tmp_path / "net.safetensors")
    codec = from_gained(1, str(tmp_path / "net.safetensors"))
    image = data.astronaut()[:130, :140]
    latents = codec.analyse("a", image).latents
    assert (latents.hyper is not None) == (mean == "checkerboard")
    if hasattr(codec.model, "h_s"):
        assert (latents.mean == 0).all() == (mean == "zero")
    assert codec.decompress(codec.compress(image)).shape == image.shape


@pytest.mark.parametrize(
    "axes, message",
    [
        ({"mean": "hyper", "variance": "factorized"}, "mean 'hyper' with variance 'factorized'"),
        ({"mean": "left"}, "mean 'left' with .* allowed are zero with factorized, zero with"),
        ({"quantizer": "lattice"}, "quantizer 'lattice'; allowed are ste, noise, test-channel"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(axes, message):
    with pytest.raises(InputError, match=message):
        Gained(8, 8, [0.01], **axes)


@pytest.mark.parametrize(
    "mean, variance", [pair for pair in trainable.FAMILIES if pair[1] != "window-5"]
)
def test_each_rate_folds_into_a_plain_model(tmp_path, mean, variance):
    """The likelihoods of CompressAI's own classes are the independent answer."""
    torch.manual_seed(0)
    model = Gained(8, 12, [0.01, 0.04], mean, variance).eval()
    with torch.no_grad():
        model.log_gain += 1.5 + 0.1 * torch.randn_like(model.log_gain)
        if mean == "hyper":
            model.log_gain -= 1.5
            model.h_s[4].bias[:12] += torch.randn(12)  # scales of both signs
        elif variance == "hyperprior":
            last = model.entropy_parameters[2] if mean == "checkerboard" else model.h_s[4]
            last.bias[:12] += 1 + 0.1 * torch.randn(12)  # residuals within ten sigma
    model.settle()
    torch.save(dict(model.named_parameters()), tmp_path / "net.pt")
    x = torch.rand(1, 3, 64, 64)
    for rate in (0, 1):
        plain = from_gained(rate + 1, str(tmp_path / "net.pt")).model
        assert isinstance(plain, trainable.FAMILIES[mean, variance])
        with torch.no_grad():
            gained, folded = model(x, torch.tensor([rate])), plain(x)
        bits = -sum(l.log2().sum() for l in folded["likelihoods"].values())
        assert bits.item() == pytest.approx(gained["bits"].item(), rel=1e-4)
        assert torch.allclose(folded["x_hat"], gained["x_hat"], atol=1e-4)
    with pytest.raises(InputError, match="no quality 3; it has 1 to 2"):
        from_gained(3, str(tmp_path / "net.pt"))
    with pytest.raises(IndexError, match="rates 0 to 1"):
        fold(model.state_dict(), 2)


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


def test_a_learned_density_is_as_wide_as_the_gain_of_its_rate(tmp_path):
    """CompressAI's model of each rate has the bits that the network was trained for, on the same grid."""
    torch.manual_seed(0)
    network = Gained(8, 12, [0.001, 0.1], "zero", "factorized").eval()
    with torch.no_grad():
        network.log_gain += 2 + 0.1 * torch.randn_like(network.log_gain)
        for bias in (p for n, p in network.entropy_bottleneck.named_parameters() if "biases" in n):
            bias += torch.randn_like(bias)
        network.settle()
        x = torch.rand(1, 3, 64, 64)
        bits = []
        for rate in (0, 1):
            model = load_model("bmshj2018-factorized", fold(network.state_dict(), rate), "here").eval()
            likelihoods = model(x)["likelihoods"]["y"]
            assert likelihoods.min() > 1e-6  # CompressAI's own limit has no part in this
            bits.append(-likelihoods.log2().sum().item())
            assert network(x, torch.tensor([rate]))["bits"].item() == pytest.approx(bits[-1], rel=1e-4)
    assert bits[1] > 1.2 * bits[0]


def test_another_kind_of_prior_is_not_taken_over(tmp_path):
    first = train({**SPEC, "steps": 3, "learning_rate": 0.02}, FILES, tmp_path / "first")
    save_file(first, tmp_path / "first.safetensors")
    spec = {**SPEC, "mean": "zero", "steps": 1, "learning_rate": 1e-9}
    taken = train(
        {**spec, "start": str(tmp_path / "first.safetensors")}, FILES, tmp_path / "second"
    )
    assert torch.equal(taken["g_a.6.weight"], first["g_a.6.weight"])
    assert not torch.equal(taken["h_a.0.weight"], first["h_a.0.weight"])


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
    initial = Gained(8, 8, spec["lambdas"]).log_gain.detach().half()
    assert (trained != initial).any(1).all()


def test_a_longer_schedule_begins_like_a_shorter_one():
    rates = [[learning_rate(step, steps, 1e-3) for step in range(2000)] for steps in (3000, 30000)]
    assert rates[0] == rates[1]
    assert max(rates[0]) == 1e-3 and learning_rate(2999, 3000, 1e-3) < 3e-5
