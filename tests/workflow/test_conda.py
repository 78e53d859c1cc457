"""Jobs in an environment of conda, which has all packages but rdpipe; conda is a stand-in."""

import subprocess
import sys
import sysconfig

import pytest
from one_baseline import TARGET, run, write_folder

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
    write_folder(folder)
    return folder


def test_jobs_outside_the_clone_find_the_package(folder):
    printed = run(folder, folder.parent / "conda/bin", "--sdm", "conda")
    assert "Creating conda environment" in printed and (folder / TARGET).exists()
    python = next((folder / ".snakemake/conda").glob("*/bin/python"))
    # an editable install has the workflow, and no module, in the folder of packages
    command = [python, "-c", "import numpy, rdpipe.core"]
    missing = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True)
    assert "No module named 'rdpipe" in missing.stderr
