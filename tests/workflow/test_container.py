"""Jobs in a container, which has only rdpipe and its packages; apptainer is a stand-in."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
APPTAINER = """#!/bin/bash
[[ $1 == --version ]] && { echo "apptainer version 1.3.4"; exit; }
while [[ $1 != *.sif ]]; do shift; done
echo "$1" >> IMAGES
shift
exec env PYTHONPATH=HOST PATH=IMAGE/bin:/usr/bin:/bin "$@"
"""
TARGET = "results/tiny/baselines/jpeg/q10/0.zarr.zip"


@pytest.fixture
def folder(tmp_path):
    """A folder outside the clone, with a config."""
    image = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", image], check=True)
    packages = next(image.glob("lib/python*/site-packages"))
    (packages / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (packages / "rdpipe").symlink_to(ROOT / "rdpipe")
    on_host = tmp_path / "host/rdpipe/__init__.py"
    on_host.parent.mkdir(parents=True)
    on_host.write_text("raise RuntimeError('a variable of the host is used in the image')\n")
    script = tmp_path / "bin/apptainer"
    script.parent.mkdir()
    text = APPTAINER.replace("IMAGES", str(tmp_path / "images.txt"))
    script.write_text(text.replace("IMAGE", str(image)).replace("HOST", str(tmp_path / "host")))
    script.chmod(0o755)
    folder = tmp_path / "run"
    (folder / "images").mkdir(parents=True)
    (folder / "rdpipe.sif").write_text("first image")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "images/a.png")
    config = {
        "datasets": {"tiny": {"use": "folder", "args": {"root": "images"}}},
        "baselines": {"jpeg": {"qualities": [10]}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(folder, *flags):
    """Run the workflow with the stand-in; return what it printed."""
    path = f"{folder.parent / 'bin'}:{os.environ['PATH']}"
    words = ["tiny.yaml", TARGET, "--cores", "1", "--sdm", "apptainer", *flags]
    done = subprocess.run(
        [sys.executable, "-m", "rdpipe", "run", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_jobs_run_in_the_image(folder):
    run(folder)
    assert (folder / TARGET).exists()
    assert (folder.parent / "images.txt").read_text() == "rdpipe.sif\n" * 2
    assert "Nothing to be done" in run(folder, "--dry-run")
    (folder / "rdpipe.sif").write_text("another image")
    assert "run_baseline" in run(folder, "--dry-run")
