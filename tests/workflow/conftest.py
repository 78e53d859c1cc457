"""A small project: the repository's workflow on two small images, run for real once."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]

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
            "use": "gained",
            "args": {"checkpoint": "results/training/net.safetensors"},
            "qualities": [1],
        },
        "joint": {
            "use": "gained",
            "args": {"checkpoint": "results/training/net.safetensors"},
            "qualities": [1, 3],
            "beside": {
                "codec": "mini-mean-scale",
                "curve": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
            },
        },
    },
    "anchors": {"jpeg": {"qualities": [5, 40, 95]}},
    "references": {"tiny": {"table": ["published.csv", "theirs.json"], "curves": ["theirs", "VTM"]}},
    "variances": {"codec": {}, "calibrated": {}, "window-3": {}},
    "limits": {"decodable": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}},
    "simulate": {
        "curves": [
            {"mean": "codec", "variance": "codec", "quantizer": "rounding"},
            {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
        ],
        "levels": [0.01, 0.1, 1.0],
    },
    "training": {
        "net": {"dataset": "tiny", "lambdas": [0.01, 0.02, 0.04], "steps": 3, "N": 8, "M": 8, "batch": 3,
                "crop": 64}
    },
}  # fmt: skip


PUBLISHED = """curve,kind,bpp,psnr_db,source
theirs,upper bound on R(D),0.01,20,A & B 2022
theirs,upper bound on R(D),0.5,40.0,A & B 2022
others,learned codec,0.2,30.0,C 2023
"""

THEIRS = """{"name": "VTM", "description": "VTM 9.1",
"results": {"psnr": [29.0, 41.0], "ms-ssim": [0.9, 0.99], "bpp": [0.3, 0.9]}}"""


class Project:
    """A copy of the sources in a folder of its own, so that a test may edit them."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("rdpipe", "workflow", "Snakefile", "environment.yml"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / name)
        self.configure(CONFIG)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Python finds the copy."""
        return {**os.environ, "PYTHONPATH": str(self.folder)}

    def configure(self, config: dict) -> None:
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(config))

    def snakemake(self, *flags: str) -> subprocess.CompletedProcess:
        """Run Snakemake on the tiny config."""
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--configfile",
            "tiny.yaml",
            "--cores",
            "2",
            *flags,
        ]
        return subprocess.run(command, cwd=self.folder, env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def jobs(self, *flags: str) -> set[str]:
        """First output of every job that Snakemake would run, without ``results/``."""
        done = self.snakemake("--dry-run", *flags)
        assert done.returncode == 0, done.stdout
        return {
            path.removeprefix("results/")
            for path in re.findall(r"^    output: ([^,\n]+)", done.stdout, re.M)
        }


@pytest.fixture(scope="session")
def new_project():
    """A project in a folder, not yet run."""
    return Project


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project after one complete run."""
    folder = tmp_path_factory.mktemp("project")
    y, x = np.mgrid[:96, :130]
    for i, name in enumerate(("images/one.png", "images/two <b>{q}&.png", "calibration/three.png")):
        colours = [128 + 100 * np.sin(x / (9 + 5 * i + c)) * np.cos(y / (7 + c)) for c in range(3)]
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.stack(colours, -1).astype(np.uint8)).save(folder / name)
    (folder / "published.csv").write_text(PUBLISHED)
    (folder / "theirs.json").write_text(THEIRS)
    project = Project(folder)
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    project.first_run = done.stdout
    return project


@pytest.fixture(autouse=True)
def same_config_for_every_test(request):
    yield
    if "project" in request.fixturenames:
        request.getfixturevalue("project").configure(CONFIG)
