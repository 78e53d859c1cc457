"""Train a variable-rate codec; resume from the state folder after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import safetensors.torch
from msgspec.structs import replace
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.process import limit_threads
from rdpipe.core.provenance import installed_versions
from rdpipe.datasets import gaussian_field, manifest
from rdpipe.io.files import write_atomically
from rdpipe.stages.inputs import training_images
from rdpipe.training.spec import LoopSpec, TrainingSpec
from rdpipe.training.trainer import train


class TrainCodecSpec(TrainingSpec, frozen=True, kw_only=True):
    """A network to train, as an entry of ``training`` in the config."""


def run(
    spec: TrainCodecSpec,
    manifest_file: Path,
    source: list[str],
    state: Path,
    out: Path,
    threads: int = 1,
) -> None:
    """Train a network, and write its weights.

    Parameters
    ----------
    spec : TrainCodecSpec
    manifest_file : Path
        Manifest of the training images from ``prepare_dataset``.
    source : list of str
        ``name: digest or version`` of the code and packages that the weights depend on.
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
    check_photographs(images)
    check_sizes(images, spec.crop)
    complete = replace(
        spec,
        images=digest_of(images),
        start_weights=spec.start and sha256(Path(spec.start).read_bytes()).hexdigest(),
        source=source_of(source, "train_codec"),
    )
    weights = train(complete, files_of(images), state)
    write_weights(weights, spec, images, out, [Path(spec.start)] if spec.start else [])


def source_of(source: Sequence[str], stage: str) -> list[str]:
    """Return the source with the versions of the packages of this process.

    The rule leaves them out if the environment is one of conda, which Snakemake compares itself.
    """
    return sorted({*source, *installed_versions(stage)})


def digest_of(images: Sequence[manifest.ImageEntry]) -> str:
    """Return a digest of the content of the training images."""
    return sha256("".join(image["sha256"] for image in images).encode()).hexdigest()


def files_of(images: Sequence[manifest.ImageEntry]) -> list[Path]:
    """Return the files of the training images."""
    return [Path(image["file"]) for image in images]


def write_weights(
    weights: dict[str, Tensor] | None,
    spec: LoopSpec,
    images: Sequence[manifest.ImageEntry],
    out: Path,
    starts: Sequence[Path],
) -> None:
    """Write weights with a description; None if another process writes them.

    The images of the weights that the training starts with count as images of the training.
    """
    if weights is not None:
        before = set().union(*map(training_images, starts))
        trained_on = sorted({image["sha256"] for image in images} | before)
        description = {"spec": spec.to_mapping(), "images": len(images), "trained_on": trained_on}
        # one key: keys have no order
        metadata = {"rdpipe": json.dumps(description, sort_keys=True)}
        data = safetensors.torch.save(weights, metadata)
        write_atomically(out, lambda path: path.write_bytes(data))


def check_photographs(images: Sequence[manifest.ImageEntry]) -> None:
    """Check that no image is a Gaussian field, of which the networks have no model.

    Raises
    ------
    InputError
        If one is.
    """
    for image in images:
        if image["file"].startswith(gaussian_field.PREFIX):
            raise InputError(
                f"{image['name']!r} is a Gaussian field; expected photographs, or a training with"
                " start: {codec: ...} of a codec for fields, such as random-transform"
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
