"""Configs that planning refuses with one line and status 2, as the command line does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DATASETS = "datasets: {sample: {}}\n"


def plan(folder: Path, text: str, *flags: str) -> subprocess.CompletedProcess:
    """Plan the jobs of a config."""
    (folder / "mine.yaml").write_text(text)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "-n",
        "-q",
    ]
    return subprocess.run(
        [*command, "--configfile", "mine.yaml", *flags], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "codecs: {dct: {qualities: [1]}}\ncodecs: {klt: {qualities: [1]}}\n",
            "mine.yaml: line 3: duplicate key 'codecs', which is also in line 2; expected it once",
        ),
        (
            "codecs: {mine: {use: 'json:loads', args: {gamma: 1e-3}, qualities: [1]}}\n",
            "mine.yaml: line 2: 1e-3 is a text for YAML; write 1.0e-3",
        ),
        ("codec: {dct: {qualities: [1]}}\n", "config: top level: unknown key 'codec'"),
    ],
)
def test_config_is_refused_in_one_line(text, message, tmp_path):
    process = plan(tmp_path, DATASETS + text)
    (line,) = process.stderr.splitlines()
    assert process.returncode == 2 and line.startswith("rdpipe: ") and message in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_gpu_that_this_machine_lacks_is_refused_unless_other_machines_run_the_jobs(tmp_path):
    text = DATASETS + "codecs: {mini-mean-scale: {qualities: [1]}}\ndevice: cuda\n"
    process = plan(tmp_path, text)
    (line,) = process.stderr.splitlines()
    assert process.returncode == 2 and "'cuda' is not available on this machine" in line
    assert plan(tmp_path, text, "--jobs", "9").returncode == 0  # the number of nodes of a cluster
