"""Jobs in a container, which has only rdpipe and its packages; apptainer is a stand-in."""

import subprocess
import sys
import sysconfig

import pytest
from one_baseline import ROOT, TARGET, run, write_folder

APPTAINER = """#!/bin/bash
[[ $1 == --version ]] && { echo "apptainer version 1.3.4"; exit; }
while [[ $1 != *.sif ]]; do shift; done
echo "$1" >> IMAGES
shift
exec env PYTHONPATH=HOST PATH=IMAGE/bin:/usr/bin:/bin "$@"
"""


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
    write_folder(folder)
    (folder / "rdpipe.sif").write_text("first image")
    return folder


def test_jobs_run_in_the_image(folder):
    flags = folder.parent / "bin", "--sdm", "apptainer"
    run(folder, *flags)
    assert (folder / TARGET).exists()
    assert (folder.parent / "images.txt").read_text() == "rdpipe.sif\n" * 2
    assert "Nothing to be done" in run(folder, *flags, "--dry-run")
    (folder / "rdpipe.sif").write_text("another image")
    assert "run_baseline" in run(folder, *flags, "--dry-run")
