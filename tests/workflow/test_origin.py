"""The command that the page prints reproduces the run, as it is printed."""

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from small_project import write_inputs

ROOT = Path(__file__).parents[2]
CONFIG = {
    "datasets": {"tiny": {"use": "folder", "args": {"root": "images"}}},
    "codecs": {"mini-mean-scale": {"qualities": [1]}},
}


def plan(folder: Path, *flags: str) -> str:
    """Return what a dry run in a folder prints."""
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", *flags],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def make_report(printed: str) -> dict:
    """Return the value of each flag of the job that makes the report."""
    words = shlex.split(re.search("python -P -m rdpipe make_report.*", printed)[0])
    return dict(pairwise(words))


@pytest.fixture
def folder(tmp_path):
    """A folder with images and configs, without a Snakefile."""
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "images/a.png")
    (tmp_path / "it's.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"seed": 5}))
    return tmp_path


@pytest.mark.parametrize(
    "flags",
    [
        ["--configfile", "it's.yaml"],
        ["--configfile", "it's.yaml", "other.yaml"],
        ["--configfile", "it's.yaml", "--config", "seed=7", "keep_latents=False"],
        ["--configfile", "it's.yaml", "--config", "device=cpu", "pathvars={results: elsewhere}"],
    ],
    ids=" ".join,
)
def test_command_plans_the_same_run(folder, flags):
    flags = ["--snakefile", str(ROOT / "Snakefile"), *flags, "--cores", "2"]
    first = make_report(plan(folder, "--printshellcmds", *flags))
    command = json.loads(first["--origin"])["command"]
    assert command.startswith("snakemake --snakefile ")
    again = make_report(plan(folder, "--printshellcmds", *shlex.split(command)[1:]))
    assert again == first


def test_snakefile_that_snakemake_finds_is_not_named(new_project, tmp_path):
    write_inputs(tmp_path)
    flags = make_report(new_project(tmp_path).commands()["make_report"])
    command = json.loads(flags["--origin"])["command"]
    assert command == "snakemake --configfile tiny.yaml --cores 2"


def test_command_of_a_run_in_another_directory(folder):
    (folder / "run").mkdir()
    (folder / "images").rename(folder / "run/images")
    flags = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "it's.yaml", "--cores", "2"]
    first = make_report(plan(folder, "-p", "--directory", "run", *flags))
    command = json.loads(first["--origin"])["command"]
    assert make_report(plan(folder / "run", "-p", *shlex.split(command)[1:])) == first
