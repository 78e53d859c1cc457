"""The trainer: it learns, and interruptions do not change the weights."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from skimage import data
from small_spec import SPEC
from small_training import train_small

from rdpipe.core.errors import InputError
from rdpipe.datasets import manifest, sample
from rdpipe.training.model import VariableRateModel
from rdpipe.training.trainer import compile_if_possible, learning_rate, limit_error


def command(folder: Path, spec: dict) -> list[str]:
    """Return the command of the stage, with one thread by default."""
    manifest.write(folder / "manifest.json", manifest.build(sample.find()))
    flags = {
        "--spec": json.dumps(spec),
        "--manifest_file": folder / "manifest.json",
        "--source": "loss: 1",
        "--state": folder / "state",
        "--out": folder / "net.safetensors",
    }
    arguments = [str(word) for flag in flags.items() for word in flag]
    return [sys.executable, "-P", "-m", "rdpipe", "train_codec", *arguments]


def weights(folder: Path, spec: dict) -> bytes:
    """Run the stage; return the file of weights."""
    subprocess.run(command(folder, spec), cwd=folder, check=True, capture_output=True)
    return (folder / "net.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Weights of a training that was not interrupted."""
    return weights(tmp_path_factory.mktemp("undisturbed"), SPEC)


@pytest.mark.parametrize(
    "how, devices", [(signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2)]
)
def test_interrupted_training_gives_the_same_bytes(tmp_path, undisturbed, how, devices):
    process = subprocess.Popen(
        command(tmp_path, {**SPEC, "devices": devices}),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not (tmp_path / "state" / "state.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, how)  # all its processes, as a scheduler does
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
from types import SimpleNamespace
from rdpipe.training import trainer
from rdpipe.training.spec import TrainingSpec
# steps along the gradient: SOAP would turn rounding errors into steps of full size
trainer.KernelSOAP = lambda parameters, lr, **_: torch.optim.SGD(parameters, lr)
torch.set_num_threads(1)
spec, folder = TrainingSpec.from_json(sys.argv[1]), Path(sys.argv[2])
trainer = trainer.Trainer(spec, folder)
trainer.model.eval()  # rounding, no noise
share = spec.batch // spec.devices
for step in range(3):
    crops = torch.arange(4 * 3 * 64 * 64).mul(step + 7).remainder(251).byte().view(4, 3, 64, 64)
    trainer.step(crops.split(share)[trainer.fabric.global_rank])
torch.save(trainer.model.state_dict(), folder / f"rank{trainer.fabric.global_rank}.pt")
"""


def test_two_processes_train_as_one(tmp_path):
    """The steps are the same, except for the order in which gradients are added."""
    (tmp_path / "shares.py").write_text(SHARES)
    states = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        spec = {**SPEC, "batch": 4, "learning_rate": 0.5, "devices": devices}
        subprocess.run(
            [sys.executable, str(tmp_path / "shares.py"), json.dumps(spec), str(folder)],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        states += [torch.load(file, weights_only=True) for file in sorted(folder.glob("rank*.pt"))]
    torch.manual_seed(SPEC["seed"])
    initial = VariableRateModel(8, 8, SPEC["lambdas"]).state_dict()
    initial, single, first, second = (
        torch.cat([value.flatten() for value in state.values()]) for state in (initial, *states)
    )
    assert torch.equal(first, second)
    assert 0 < (single - initial).norm() < torch.inf
    assert (single - first).norm() < 1e-3 * (single - initial).norm()


def test_stage_trains_with_two_processes(tmp_path):
    (tmp_path / "copy.py").write_text("raise RuntimeError('not the module of the library')")
    assert weights(tmp_path, {**SPEC, "devices": 2, "steps": 3})
    state = torch.load(tmp_path / "state" / "state.pt", weights_only=True)
    assert state["step"] == 3
    with pytest.raises(InputError, match="batch 2 is not a multiple of devices 3"):
        train_small(tmp_path / "three", devices=3)


def test_more_steps_continue_where_fewer_ended(tmp_path):
    train_small(tmp_path, steps=2)
    train_small(tmp_path, steps=4)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 4
    assert state["average"]["n_averaged"] == 4


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": 1}, "the state has 2 steps; expected up to 1"),
        ({"seed": 2}, "seed 1 -> 2"),
        ({"source": ["loss: another digest"]}, r"source None -> \['loss: another digest'\]"),
    ],
)
def test_state_of_another_training_is_replaced_or_refused(tmp_path, caplog, change, message):
    train_small(tmp_path, steps=2)
    with pytest.raises(InputError, match=rf"{message}\); remove the folder"):
        train_small(tmp_path, on_change="refuse", **{"steps": 2, **change})
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2
    restarted = train_small(tmp_path, **{"steps": 2, **change})
    assert re.search(rf"{message}\): starting again", caplog.text)
    assert torch.load(tmp_path / "stale.pt", weights_only=True)["spec"]["seed"] == 1
    fresh = train_small(tmp_path / "fresh", **{"steps": 2, **change})
    assert all(torch.equal(restarted[name], fresh[name]) for name in fresh)


def test_network_is_compiled_only_where_there_is_a_compiler(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("CC", raising=False)
    compiled = []
    model = SimpleNamespace(compile=lambda: compiled.append(True))
    compile_if_possible(model)
    assert compiled and not caplog.text
    monkeypatch.setenv("PATH", str(tmp_path))
    compile_if_possible(model)
    assert len(compiled) == 1
    assert len(caplog.messages) == 1 and "there is no C compiler" in caplog.text


def test_training_lowers_the_cost(tmp_path):
    x = torch.from_numpy(data.chelsea()[:256, :256].copy()).permute(2, 0, 1)[None].float() / 255

    def cost(steps: int) -> float:
        state = train_small(tmp_path, steps=steps, learning_rate=0.01)
        model = VariableRateModel(8, 8, SPEC["lambdas"])
        model.load_state_dict({**model.state_dict(), **{k: v.float() for k, v in state.items()}})
        with torch.no_grad():
            out = model.eval()(x, torch.tensor([1]))
        bpp = out["bits"].item() / 256**2
        return bpp + 0.04 * 255**2 * (out["x_hat"] - x).square().mean().item()

    before, after = cost(1), cost(100)
    assert after < 0.75 * before


def test_training_that_diverges_names_step_and_images(tmp_path):
    train_small(tmp_path, steps=2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["model"]["g_a.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(FloatingPointError, match=r"at step 2, with crops of \w+\.\w+.*state\.pt"):
        train_small(tmp_path, steps=4)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


def test_decoder_that_amplifies_without_limit_does_not_end_a_training(tmp_path):
    """The error of 1e18 has a gradient whose norm exceeds what float32 can hold."""
    train_small(tmp_path, steps=2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["model"]["g_s.0.weight"] *= 3000
    torch.save(state, tmp_path / "state.pt")
    weights = train_small(tmp_path, steps=6)
    assert all(weight.isfinite().all() for weight in weights.values())


def test_errors_inside_the_range_of_the_pixels_are_not_changed():
    mse = torch.tensor([0.0, 1e-5, 0.3, 1.0, math.e, 1e30], requires_grad=True)
    limited = limit_error(mse)
    assert torch.equal(limited[:4], mse[:4])
    assert limited[4].item() == pytest.approx(2) and limited[5].item() == pytest.approx(70.08, 1e-3)
    limited.sum().backward()
    assert mse.grad[:3].tolist() == [1, 1, 1]
    assert mse.grad[4:].tolist() == pytest.approx([1 / math.e, 1e-30])


def test_every_rate_is_trained_whatever_the_batch(tmp_path):
    lambdas = [0.01, 0.02, 0.04]
    weights = train_small(tmp_path, lambdas=lambdas, batch=2, steps=3, learning_rate=0.01)
    initial = VariableRateModel(8, 8, lambdas).log_gain.detach().half()
    assert (weights["log_gain"] != initial).any(1).all()


def test_longer_schedule_begins_like_a_shorter_one():
    rates = [[learning_rate(step, steps, 1e-3) for step in range(2000)] for steps in (3000, 30000)]
    assert rates[0] == rates[1]
    assert max(rates[0]) == 1e-3 and learning_rate(2999, 3000, 1e-3) < 3e-5
