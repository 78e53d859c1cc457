"""Published datasets and pretrained weights are fetched first; later jobs need no network."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from http_server import Server
from PIL import Image

from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES, zoo

ROOT = Path(__file__).parents[2]
STORE = "results/photos/factorized/q1/images/0.zarr.zip"


def archive() -> bytes:
    """Return a zip archive with the number of images of the published one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for i in range(100):
            image = io.BytesIO()
            Image.fromarray(np.full((64, 64, 3), i, np.uint8)).save(image, "png")
            opened.writestr(f"RGB_OR_1200x1200/{i:03}.png", image.getvalue())
    return packed.getvalue()


@pytest.fixture(scope="module")
def server():
    with Server({"/testimages.zip": archive()}) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory, server):
    """A folder with a config, and weights in a cache of torch.hub, as if they were downloaded."""
    folder = tmp_path_factory.mktemp("fetch")
    args = {"root": "data", "url": f"{server.url}/testimages.zip"}
    codec = {"architecture": "bmshj2018-factorized", "pretrained": True}
    config = {
        "datasets": {"photos": {"use": "tecnick", "args": args, "shards": 50}},
        "codecs": {"factorized": {"use": "compressai", "args": codec, "qualities": [1]}},
    }
    (folder / "zoo.yaml").write_text(yaml.safe_dump(config))
    name = zoo.model_urls["bmshj2018-factorized"]["mse"][1].rsplit("/", 1)[1]
    weights = folder / "online/hub/checkpoints" / name
    weights.parent.mkdir(parents=True)
    family, _ = ARCHITECTURES["bmshj2018-factorized"]
    torch.save(family(8, 8).state_dict(), weights)
    return folder


def snakemake(folder: Path, *flags: str, config: str = "zoo.yaml", cache: str = "offline") -> str:
    """Run Snakemake; caches are empty unless those of the downloads are named."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--cores", "2"]
    process = subprocess.run(
        [*command, "--snakefile", ROOT / "Snakefile", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TORCH_HOME": str(folder / cache)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def test_jobs_use_what_local_jobs_have_fetched(folder, server):
    fetched = ["results/photos/files.json", "results/weights/factorized/q1.pth.tar"]
    log = snakemake(folder, *fetched, cache="online")
    assert "localrule fetch_dataset:" in log and "localrule fetch_weights:" in log
    assert len(server.requests) == 1
    log = snakemake(folder, STORE)  # without the weights in a cache
    assert "rule prepare_dataset:" in log and "rule extract_latents:" in log
    assert len(server.requests) == 1 and not (folder / "offline").exists()
    assert (folder / STORE).exists()


def test_other_datasets_and_codecs_fetch_nothing(folder):
    (folder / "own.yaml").write_text(
        yaml.safe_dump({"datasets": {"sample": {}}, "codecs": {"mini-scale": {"qualities": [1]}}})
    )
    assert "rule fetch" not in snakemake(folder, "--dry-run", config="own.yaml")
