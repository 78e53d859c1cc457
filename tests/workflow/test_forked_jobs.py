"""Jobs that are forks of one process write the bytes of jobs that start by themselves."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from timeless import content

from rdpipe.core.forkserver import VARIABLE

ROOT = Path(__file__).parents[2]
DATASET = """
import os
from pathlib import Path
from rdpipe.datasets.source import Source

def images():
    with open("parents", "a") as parents:
        print(Path(f"/proc/{os.getppid()}/cmdline").read_text().replace("\\0", " "), file=parents)
    return [Source("a", Path("a.png").absolute())]
"""
CONFIG = {
    "datasets": {"one": {"use": "my_images:images"}},
    "bitstream": True,
    "codecs": {"mini-mean-scale": {"qualities": [1]}},
    "baselines": {"jpeg": {"qualities": [10, 50]}},
    "variances": {"codec": {}, "channel": {}},
    "simulate": {
        "curves": [
            {"mean": "codec", "variance": "codec", "quantizer": "rounding"},
            {"mean": "codec", "variance": "codec", "quantizer": "lattice-e8"},
            {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
        ]
    },
    "quantizers": {"rounding": {}, "lattice-e8": {}, "test-channel": {}},
    "limits": {"decodable": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forked")
    waves = 128 + 100 * np.sin(np.arange(96 * 130 * 3).reshape(96, 130, 3) / 40)
    Image.fromarray(waves.astype(np.uint8)).save(folder / "a.png")
    (folder / "my_images.py").write_text(DATASET)
    (folder / "copy.py").write_text("raise RuntimeError('not the module of the library')\n")
    return folder


def run(
    folder: Path, name: str, **environment: str
) -> tuple[dict[str, dict[str, bytes] | bytes], str]:
    """Return the products of a run, and the command of the process that its first job is of."""
    paths = {"results": f"{name}/results", "logs": f"{name}/logs"}
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "pathvars": paths}))
    (folder / "parents").unlink(missing_ok=True)
    subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "rdpipe",
            "run",
            "config.yaml",
            f"{name}/results/bounds.zarr.zip",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=True,
        capture_output=True,
    )
    products = (folder / name / "results").rglob("*.*")
    files = {str(file.relative_to(folder / name)): file for file in products if file.is_file()}
    return {name: content(file) for name, file in files.items()}, (folder / "parents").read_text()


def test_forked_jobs_write_the_same_bytes(folder):
    forked, parent = run(folder, "forked")
    assert "import serve" in parent
    cold, parent = run(folder, "cold", **{VARIABLE: ""})
    assert "import serve" not in parent
    assert len(forked) > 10
    assert forked.keys() == cold.keys()
    assert [name for name in forked if forked[name] != cold[name]] == []
