"""Fine-tune a codec of the config; resume from the state folder after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from msgspec.structs import replace
from torch import Tensor

from rdpipe.codecs import weights_of
from rdpipe.codecs.building import build_codec
from rdpipe.core.process import limit_threads
from rdpipe.datasets import manifest
from rdpipe.stages.specs import Entry
from rdpipe.stages.train_codec import check_sizes, digest_of, files_of, source_of, write_weights
from rdpipe.training.retuning import RetuningTrainer, check_trainable
from rdpipe.training.spec import RetuningSpec
from rdpipe.training.trainer import train


class RetuneCodecSpec(RetuningSpec, frozen=True, kw_only=True):
    """One codec at one quality to fine-tune, from an entry of ``training`` in the config.

    Parameters
    ----------
    codec : str
        Name in the config.
    quality : int
        Quality of the codec.
    entry : dict
        ``use`` and ``args`` of the codec.
    """

    codec: str
    quality: int
    entry: Entry


def run(
    spec: RetuneCodecSpec,
    manifest_file: Path,
    source: list[str],
    state: Path,
    out: Path,
    threads: int = 1,
) -> None:
    """Fine-tune a codec at one quality from its own weights, and write all its weights.

    Parameters
    ----------
    spec : RetuneCodecSpec
    manifest_file : Path
        Manifest of the training images from ``prepare_dataset``.
    source : list of str
        ``name: digest or version`` of the code and packages that the weights depend on.
    state : Path
        Side folder of the state to continue from and of the TensorBoard scalars. It is not an
        output of the rule.
    out : Path
        Float32 ``.safetensors`` to write, in the format of the codec's own checkpoint: that of a
        codec of CompressAI opens there. Its metadata contains the specification as JSON.
    threads : int
        Number of threads of PyTorch. The last bits of the weights depend on it.
    """
    limit_threads(threads)
    images = manifest.load(manifest_file)["images"]
    check_sizes(images, spec.crop)
    codec = build_codec(spec.codec, spec.quality, spec.entry, spec.device)
    trainable = check_trainable(codec, spec)
    complete = replace(
        spec,
        images=digest_of(images),
        start_weights=digest_of_weights(trainable.checkpoint()),
        source=source_of(source, "retune_codec"),
    )
    make_trainer = partial(RetuningTrainer, codec=trainable)
    weights = train(complete, files_of(images), state, make_trainer)
    checkpoint = spec.entry.get("args", {}).get("checkpoint")
    starts = [Path(weights_of(checkpoint, spec.quality))] if checkpoint else []
    write_weights(weights, spec, images, out, starts)


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """Return a digest of weights and their names."""
    digest = sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode() + weight.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
