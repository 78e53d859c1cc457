"""A folder outside the clone with one image, whose config has one baseline at one quality."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
TARGET = "results/tiny/baselines/jpeg/q10/0.zarr.zip"
CONFIG = {
    "datasets": {"tiny": {"use": "folder", "args": {"root": "images"}}},
    "baselines": {"jpeg": {"qualities": [10]}},
}


def write_folder(folder: Path) -> None:
    """Write the image and the config."""
    (folder / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "images/a.png")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))


def run(folder: Path, programs: Path, *flags: str) -> str:
    """Run the workflow with the programs of a folder first; return what it printed."""
    path = f"{programs}:{os.environ['PATH']}"
    process = subprocess.run(
        [sys.executable, "-m", "rdpipe", "run", "tiny.yaml", TARGET, "--cores", "1", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout
