"""The trainer: it learns, and an interruption leaves no trace in the weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from skimage import data
from small_training import FILES, SPEC

from rdpipe.training.model import Gained
from rdpipe.datasets import manifest, sample
from rdpipe.core.errors import InputError
from rdpipe.training.trainer import learning_rate, train


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


def test_a_training_that_explodes_says_where(tmp_path):
    train({**SPEC, "steps": 2}, FILES, tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["model"]["g_a.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(FloatingPointError, match=r"at step 2, with crops of \w+\.\w+.*state\.pt"):
        train({**SPEC, "steps": 4}, FILES, tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


def test_every_rate_is_trained_whatever_the_batch(tmp_path):
    spec = {**SPEC, "lambdas": [0.01, 0.02, 0.04], "batch": 2, "steps": 3, "learning_rate": 0.01}
    trained = train(spec, FILES, tmp_path)["log_gain"]
    initial = Gained(8, 8, spec["lambdas"]).log_gain.detach().half()
    assert (trained != initial).any(1).all()


def test_a_longer_schedule_begins_like_a_shorter_one():
    rates = [[learning_rate(step, steps, 1e-3) for step in range(2000)] for steps in (3000, 30000)]
    assert rates[0] == rates[1]
    assert max(rates[0]) == 1e-3 and learning_rate(2999, 3000, 1e-3) < 3e-5
