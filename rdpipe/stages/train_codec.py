"""Train a variable-rate codec; interrupted, it goes on from its side folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import safetensors.torch

from rdpipe.datasets import manifest
from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically
from rdpipe.training.trainer import train


def check_sizes(images: list[dict], crop: int) -> None:
    """Whether every image has the pixels of a crop."""
    for image in images:
        if min(image["width"], image["height"]) < crop:
            raise InputError(
                f"{image['name']!r} has {image['width']} x {image['height']} pixels: crops of {crop} do not fit"
            )


def run(spec: dict, manifest_file: Path, state: Path, out: Path) -> None:
    """Write the trained weights.

    Parameters
    ----------
    spec : dict
        As for :func:`rdpipe.training.train`, without ``images``.
    manifest_file : Path
        Training images, from ``prepare_dataset``.
    state : Path
        Side folder of the resume state and the TensorBoard scalars; no output of the rule.
    out : Path
        Float16 ``.safetensors``; the spec is in its metadata, as JSON.
    """
    images = manifest.load(manifest_file)["images"]
    check_sizes(images, spec["crop"])
    digest = hashlib.sha256("".join(image["sha256"] for image in images).encode()).hexdigest()
    weights = train({**spec, "images": digest}, [Path(image["file"]) for image in images], state)
    if weights is None:  # another process writes them
        return
    about = {"spec": spec, "images": len(images)}
    metadata = {"rdpipe": json.dumps(about, sort_keys=True)}  # one key: their order is random
    data = safetensors.torch.save(weights, metadata)
    write_atomically(out, lambda path: path.write_bytes(data))
