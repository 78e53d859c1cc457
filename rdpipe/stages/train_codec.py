"""Train a variable-rate codec; resume from the state folder after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import safetensors.torch
from msgspec.structs import replace

from rdpipe.core.errors import InputError
from rdpipe.core.process import limit_threads
from rdpipe.core.provenance import source_digest
from rdpipe.datasets import manifest
from rdpipe.io.files import write_atomically
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import train


class TrainCodecSpec(TrainingSpec, frozen=True, kw_only=True):
    """A network to train, as an entry of ``training`` in the config."""


def run(
    spec: TrainCodecSpec, manifest_file: Path, state: Path, out: Path, threads: int = 1
) -> None:
    """Train a network, and write its weights.

    Parameters
    ----------
    spec : TrainCodecSpec
    manifest_file : Path
        Manifest of the training images from ``prepare_dataset``.
    state : Path
        Side folder of the state to continue from and of the TensorBoard scalars. It is not an
        output of the rule.
    out : Path
        Float16 ``.safetensors`` to write; its metadata contains the specification as JSON.
    threads : int
        Number of threads of PyTorch. The last bits of the weights depend on it.
    """
    limit_threads(threads)
    images = manifest.load(manifest_file)["images"]
    check_sizes(images, spec.crop)
    files = [Path(image["file"]) for image in images]
    weights = train(with_digests(spec, images), files, state)
    if weights is None:  # another process writes them
        return
    description = {"spec": spec.to_mapping(), "images": len(images)}
    metadata = {"rdpipe": json.dumps(description, sort_keys=True)}  # one key: keys have no order
    data = safetensors.torch.save(weights, metadata)
    write_atomically(out, lambda path: path.write_bytes(data))


def with_digests(spec: TrainCodecSpec, images: Sequence[manifest.ImageEntry]) -> TrainCodecSpec:
    """Return a specification with digests of all else that the weights depend on."""
    return replace(
        spec,
        images=sha256("".join(image["sha256"] for image in images).encode()).hexdigest(),
        start_weights=spec.start and sha256(Path(spec.start).read_bytes()).hexdigest(),
        source=source_digest("rdpipe.training.trainer"),
    )


def check_sizes(images: Sequence[manifest.ImageEntry], crop: int) -> None:
    """Check that every image has at least the size of a crop.

    Raises
    ------
    InputError
        If an image is smaller.
    """
    for image in images:
        if min(image["width"], image["height"]) < crop:
            raise InputError(
                f"{image['name']!r} has {image['width']} x {image['height']} pixels; expected at"
                f" least {crop} x {crop}, the size of a crop"
            )
