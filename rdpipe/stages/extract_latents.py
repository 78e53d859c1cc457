"""Run a codec over a dataset: latents, their prediction, real bytes, decoded quality."""

from __future__ import annotations

from pathlib import Path

from rdpipe.codecs.extraction import extract, known_limits, tabulate
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load_image
from rdpipe.io import store
from rdpipe.stages.inputs import codec_of
from rdpipe.stages.specs import CodecSpec


class ExtractLatentsSpec(CodecSpec, frozen=True, kw_only=True):
    """One codec at one quality on one shard of a dataset.

    Parameters
    ----------
    decoder_gain : bool
        Whether to measure the gain of the decoder, which only calibration images need.
    """

    decoder_gain: bool = False


def run(spec: ExtractLatentsSpec, manifest_file: Path, table: Path, out: Path) -> None:
    """Extract the latents of every image, one at a time.

    Parameters
    ----------
    spec : ExtractLatentsSpec
    manifest_file : Path
        Manifest from ``prepare_dataset``.
    table : Path
        Store to write, which remains if latents are deleted: a table over ``image``, and a group
        ``references`` if the codec knows the rate-distortion function of its source.
    out : Path
        Store to write: the same table, and a group ``0``, ``1``, ... for each image with ``y``,
        ``mean`` and ``scale`` over (channel, row, column), and ``hyper``, ``gain`` and ``own_bits``
        if the codec has them.
    """
    codec = codec_of(spec)
    images = manifest.load_shard(manifest_file, *spec.shard)
    names, digests = ([image[key] for image in images] for key in ("name", "sha256"))
    rows = []
    with store.create(out, spec) as writer:
        for index, image in enumerate(images):
            pixels = load_image(image["file"], image["sha256"])
            row, latents = extract(codec, image["name"], pixels, spec.decoder_gain)
            rows.append(row)
            writer.write(latents, group=str(index))
        described = tabulate(rows, names, digests, spec.run_id)
        writer.write(described)
    with store.create(table, spec) as writer:
        writer.write(described)
        if (limits := known_limits(codec)) is not None:
            writer.write(limits, group="references")
