"""Jobs in an environment of conda, which has all packages but rdpipe; conda is a stand-in."""

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
CONDA = f"""#!/bin/bash
case "$1" in
  info) echo '{{"conda_prefix": "PREFIX", "platform": "linux-64"}}' ;;
  --version) echo "conda 25.1.0" ;;
  config) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  clean) ;;
  env) # create ... --prefix FOLDER: packages are those of this environment, without its .pth files
    folder="${{@: -1}}"
    {sys.executable} -m venv --without-pip "$folder"
    cd "$folder"/lib/python*/site-packages
    echo "{sysconfig.get_path("purelib")}" > all.pth ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path):
    """A folder outside the clone, with a config."""
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/conda").write_text(CONDA.replace("PREFIX", str(prefix)))
    (prefix / "bin/conda").chmod(0o755)
    (prefix / "bin/activate").write_text('export PATH="$1/bin:$PATH" CONDA_PREFIX="$1"\n')
    folder = tmp_path / "run"
    (folder / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "images/a.png")
    config = {
        "datasets": {"tiny": {"use": "folder", "args": {"root": "images"}}},
        "baselines": {"jpeg": {"qualities": [10]}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_jobs_outside_the_clone_find_the_package(folder):
    target = "results/tiny/baselines/jpeg/q10/0.zarr.zip"
    path = f"{folder.parent / 'conda/bin'}:{os.environ['PATH']}"
    flags = ["--cores", "1", "--sdm", "conda"]
    done = subprocess.run(
        [sys.executable, "-m", "rdpipe", "run", "tiny.yaml", target, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    assert "Creating conda environment" in done.stdout and (folder / target).exists()
    python = next((folder / ".snakemake/conda").glob("*/bin/python"))
    # an editable install has the workflow, and no module, in the folder of packages
    command = [python, "-c", "import numpy, rdpipe.core"]
    missing = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True)
    assert "No module named 'rdpipe" in missing.stderr
