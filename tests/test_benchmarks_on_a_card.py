"""What runs on a machine with a card, in its smallest form on a pretended one."""

import signal
import zipfile

import pytest
from msgspec.structs import replace
from PIL import Image
from pretended_cuda import pretend_cuda
from safetensors.numpy import load_file
from small_run import photographs
from small_spec import SPEC

from benchmarks import card, training

SMALL = replace(training.SPEC, N=8, M=12, batch=2, crop=64, precision="32-true")


@pytest.fixture
def images(tmp_path):
    """A folder with two photographs."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, pixels in enumerate(photographs(2, 80, 96)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A command that prints how busy a card is, a line for each sample, until it is ended."""
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nwhile true; do echo 85; sleep 0.05; done\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")


def test_training_and_the_plain_loop_are_timed_on_a_card(images, nvidia_smi, monkeypatch):
    monkeypatch.setattr(training, "DEVICE", "cuda")
    monkeypatch.setattr(training, "WARM_UP_STEPS", 1)
    files = sorted(images.iterdir())
    with pretend_cuda():
        assert training.seconds_of_plain_loop(SMALL, files, 2) > 0
        seconds, busy = training.speed_of_trainer(SMALL, files, 2)
    assert seconds > 0 and busy == 0.85


def test_embedded_trainings_continue_for_some_time(images, tmp_path, monkeypatch):
    entry = {**SPEC, "dataset": "photographs", "on_change": "restart"}
    monkeypatch.setattr(card, "training_entry", lambda name: dict(entry))
    before = signal.getsignal(signal.SIGTERM)
    try:
        for start in (None, "small.start.safetensors"):
            with pretend_cuda():
                card.train_embedded(0.1, tmp_path, images, ["small"])
            assert load_file(tmp_path / "small.safetensors")["log_gain"].shape == (2, 8)
            assert start is None or (tmp_path / start).exists()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_wheels_are_packed_smaller_and_unpacked(tmp_path):
    wheel, folder = tmp_path / "small-1-py3-none-any.whl", tmp_path / "packed"
    folder.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small/__init__.py", "NUMBER = 1\n" * 1000)
        archive.writestr("small/tests/test_small.py", "assert True\n")
    card.compress(wheel, folder / wheel.name)
    assert (folder / wheel.name).stat().st_size < wheel.stat().st_size
    card.unpack(folder, tmp_path / "site")
    files = [file.name for file in (tmp_path / "site").rglob("*.py")]
    assert files == ["__init__.py"]


def test_images_are_packed_as_many_as_fit(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(100))
    assert [file.name for file in card.images_within(tmp_path, 250)] == ["0.jpg", "1.jpg"]
