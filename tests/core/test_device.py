"""Devices: their names, a card for each job, and one line when its memory is exhausted."""

import os
import subprocess
import sys

import pytest
import torch
from pretended_cuda import pretend_cuda

from rdpipe.__main__ import main
from rdpipe.core import device
from rdpipe.core.device import available_device, claim_cards, resolve_device, use_full_precision


def test_auto_is_decided_by_the_cards_of_this_machine(monkeypatch, tmp_path):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(device, "DRIVER_FILES", [tmp_path / "nvidia0"])
    for count, expected in ((0, "cpu"), (2, "cuda")):
        with pretend_cuda(count):
            assert resolve_device("auto") == expected
            assert available_device("auto").type == expected
    monkeypatch.setattr(device, "DRIVER_FILES", [])
    with pretend_cuda():
        assert resolve_device("auto") == "cpu" and resolve_device("cuda:3") == "cuda:3"


def test_deciding_needs_no_pytorch_where_there_is_no_driver():
    code = (
        "import sys; from rdpipe.core import device; device.DRIVER_FILES = ();"
        "assert device.resolve_device('auto') == 'cpu' and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


CLAIM = """
import os, sys
sys.path.insert(0, "tests/support")
from pretended_cuda import pretend_cuda
from rdpipe.core.device import claim_cards
with pretend_cuda(3):
    claim_cards("cuda", int(sys.argv[1]))
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """Start a job that claims some of three cards; return the process and the cards."""
    jobs = []

    def start(count=1):
        job = subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.getcwd()},
        )
        jobs.append(job)
        return job, job.stdout.readline().strip()

    yield start
    for job in jobs:
        job.communicate()


def test_each_job_has_cards_that_no_other_job_has(claim):
    first, cards = claim(2)
    assert cards == "0,1"
    assert claim()[1] == "2"
    assert claim()[1] in {"0", "1", "2"}  # shared, as the user allows more jobs than cards
    first.communicate()
    assert claim()[1] == "0"


@pytest.mark.parametrize("name", ["cpu", "cuda:1"])
def test_choice_of_the_user_is_not_changed(name, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pretend_cuda(2):
        claim_cards(name)
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_numbers_are_float32_and_the_same_in_every_run(monkeypatch):
    cudnn = torch.backends.cudnn
    for name, value in (("allow_tf32", True), ("deterministic", False), ("benchmark", False)):
        monkeypatch.setattr(cudnn, name, value)
    use_full_precision()
    assert not cudnn.allow_tf32 and cudnn.deterministic and not cudnn.benchmark
    assert not torch.backends.cuda.matmul.allow_tf32


def test_exhausted_memory_of_a_card_is_one_line(monkeypatch, capsys):
    def run_stage(stage, flags):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has ...")

    monkeypatch.setattr("rdpipe.__main__.run_stage", run_stage)
    assert main(["extract_latents"]) == 2
    assert capsys.readouterr().err == (
        "rdpipe extract_latents: CUDA out of memory; expected a card with more memory, fewer jobs"
        " on it, device: cpu, or smaller images or batches\n"
    )
