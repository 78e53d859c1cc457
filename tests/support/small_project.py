"""A small project: a copy of the workflow with a config on two small images."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]

SOURCES = (*("rdpipe", "snakemake_logger_plugin_rdpipe", "workflow", "config", "Snakefile"),)
"""What a project has of the repository."""

FIRST_RUN = "first_run.txt"
"""File with the output of a project's first run."""

CONFIG = {
    "datasets": {
        "tiny": {"use": "folder", "args": {"root": "images"}},
        "other": {"use": "folder", "args": {"root": "calibration"}},
    },
    "calibration": "other",
    "bitstream": True,
    "codecs": {
        "mini-mean-scale": {"qualities": [1, 2]},
        "mine": {
            "use": "trained",
            "args": {"checkpoint": "results/training/net.safetensors"},
            "qualities": [1],
        },
        "joint": {
            "use": "trained",
            "args": {"checkpoint": "results/training/net.safetensors"},
            "qualities": [1, 3],
            "bound_for": {
                "codec": "mini-mean-scale",
                "cell": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
            },
        },
    },
    "baselines": {"jpeg": {"qualities": [5, 40, 95]}},
    "references": {
        "tiny": {"table": ["published.csv", "theirs.json"], "curves": ["theirs", "VTM"]}
    },
    "variances": {"codec": {}, "calibrated": {}, "window-3": {}},
    "limits": {"decodable": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}},
    "simulate": {
        "curves": [
            {"mean": "codec", "variance": "codec", "quantizer": "rounding"},
            {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
        ],
    },
    "training": {
        "net": {
            "dataset": "other",
            "lambdas": [0.01, 0.02, 0.04],
            "steps": 3,
            "N": 8,
            "M": 8,
            "batch": 3,
            "crop": 64,
        }
    },
}
"""Two datasets, a codec, a network that is trained, and a bound."""

PUBLISHED = """curve,kind,bpp,psnr_db,source
theirs,upper bound on R(D),0.01,20,A & B 2022
theirs,upper bound on R(D),0.5,40.0,A & B 2022
others,learned codec,0.2,30.0,C 2023
"""
"""Published curves as CSV."""

THEIRS = """{"name": "VTM", "description": "VTM 9.1",
"results": {"psnr": [29.0, 41.0], "ms-ssim": [0.9, 0.99], "bpp": [0.3, 0.9]}}"""
"""A published curve in CompressAI's format."""


class Project:
    """A folder with a copy of the sources, or of another project, so that a test may edit them."""

    def __init__(self, folder: Path, original: Path | None = None):
        self.folder = folder
        if original is not None:
            shutil.copytree(original, folder, symlinks=True)
            return
        for name in SOURCES:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / name)
        self.configure(CONFIG)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which Python imports the copy."""
        return {**os.environ, "PYTHONPATH": str(self.folder)}

    def configure(self, config: dict) -> None:
        """Write the config."""
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(config))

    def snakemake(self, *flags: str) -> subprocess.CompletedProcess:
        """Run Snakemake with the config."""
        command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2"]
        return subprocess.run(
            [*command, *flags],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def jobs(self, *flags: str) -> set[str]:
        """Return the first output of every job that Snakemake would run, without ``results/``."""
        process = self.snakemake("--dry-run", *flags)
        assert process.returncode == 0, process.stdout
        return {
            path.removeprefix("results/")
            for path in re.findall(r"^    output: ([^,\n]+)", process.stdout, re.M)
        }

    def commands(self) -> dict[str, str]:
        """Return the command of one job of every stage, as Snakemake prints it."""
        printed = self.snakemake("--dry-run", "--forceall", "--printshellcmds").stdout
        commands = re.findall(r"python -P -m rdpipe .*$", printed, re.M)
        return {command.split()[4]: command for command in commands}


def write_inputs(folder: Path) -> None:
    """Write the images and published curves of the project."""
    y, x = np.mgrid[:96, :130]
    for i, name in enumerate(("images/one.png", "images/two <b>{q}&.png", "calibration/three.png")):
        colors = [128 + 100 * np.sin(x / (9 + 5 * i + c)) * np.cos(y / (7 + c)) for c in range(3)]
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.stack(colors, -1).astype(np.uint8)).save(folder / name)
    (folder / "published.csv").write_text(PUBLISHED)
    (folder / "theirs.json").write_text(THEIRS)


def run_project(folder: Path, config: dict = CONFIG) -> Project:
    """Return the project in a folder after one complete run, whose output is in ``FIRST_RUN``."""
    write_inputs(folder)
    project = Project(folder)
    project.configure(config)
    process = project.snakemake()
    assert process.returncode == 0, process.stdout
    (folder / FIRST_RUN).write_text(process.stdout)
    return project
