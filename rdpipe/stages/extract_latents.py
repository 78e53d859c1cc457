"""Run a codec over a dataset: latents, their prediction, real bytes, decoded quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rdpipe.codecs.extraction import UNITS, Extractor, Row
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Codec, SupportsKnownSource
from rdpipe.core.runs import RunId
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load_image
from rdpipe.io import store
from rdpipe.stages.inputs import check_not_trained_on, codec_of, encoder_of
from rdpipe.stages.specs import CodecSpec


class ExtractLatentsSpec(CodecSpec, frozen=True, kw_only=True):
    """One codec at one quality on one shard of a dataset.

    Parameters
    ----------
    decoder_gain : bool
        Whether to measure the gain of the decoder, which only calibration images need.
    """

    decoder_gain: bool = False


def run(
    spec: ExtractLatentsSpec,
    manifest_file: Path,
    table: Path,
    out: Path,
    refined: list[Path] = [],  # noqa: B006 (the default of a flag)
    weights: list[Path] = [],  # noqa: B006
) -> None:
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
        Store to write: the same table, and a group ``0/y``, ``1/y``, ... for each image and each
        latent, with the fields of :class:`~rdpipe.core.latents.Latents`: ``y``, ``mean`` and
        ``scale`` over (channel, row, column), and ``hyper``, ``gain``, ``own_bits``, ``offset``,
        ``coded`` and ``step`` where the codec has them.
    refined : list of Path
        Refined latents from ``refine_latents``; empty if the codec is not a refined one.
    weights : list of Path
        Weights of the codec that must not have been trained on the images; those that do not state
        their images are not checked.
    """
    images = manifest.load_shard(manifest_file, *spec.shard)
    names, digests = ([image[key] for image in images] for key in ("name", "sha256"))
    check_not_trained_on(weights, names, digests)
    codec = encoder_of(spec, refined)
    extractor = Extractor(codec, spec.decoder_gain, codec_of(spec) if refined else codec)
    rows, latents = [], list[str]()
    with store.create(out, spec) as writer:
        for index, image in enumerate(images):
            pixels = load_image(image["file"], image["sha256"])
            row, arrays = extractor.extract(image["name"], pixels)
            rows.append(row)
            latents = check_latents(latents, list(arrays), image["name"])
            for latent, of_latent in arrays.items():
                writer.write(of_latent, group=f"{index}/{latent}")
        content = tabulate(rows, names, digests, latents, spec.run_id)
        writer.write(content)
    with store.create(table, spec) as writer:
        writer.write(content)
        if (limits := known_limits(codec)) is not None:
            writer.write(limits, group="references")


def check_latents(expected: list[str], latents: list[str], image: str) -> list[str]:
    """Return the names of the latents of an image, if they are those of the images before.

    Raises
    ------
    InputError
        If they are not.
    """
    if expected and latents != expected:
        raise InputError(
            f"image {image!r} has the latents {', '.join(latents)}; expected"
            f" {', '.join(expected)}, those of the first image"
        )
    return latents


def tabulate(
    rows: Sequence[Row],
    names: Sequence[str],
    digests: Sequence[str],
    latents: Sequence[str],
    run_id: RunId,
) -> xr.Dataset:
    """Return the table of images of a run.

    Parameters
    ----------
    rows : sequence of dict
        From :meth:`~rdpipe.codecs.extraction.Extractor.extract`.
    names, digests : sequence of str
        Name and SHA-256 of each image.
    latents : sequence of str
        Names of the latents, in decoding order.
    run_id : RunId
    """
    table: dict[str, Any] = {
        column: ("image", [row[column] for row in rows], {"units": unit})
        for column, unit in UNITS.items()
    }
    table["sha256"] = ("image", list(digests))
    coords = {"image": list(names), "latent": list(latents), **run_id.coordinates()}
    return xr.Dataset(table, coords)


def known_limits(codec: Codec) -> xr.Dataset | None:
    """Return the rate-distortion functions of the codec's source; None if they are not known."""
    if not isinstance(codec, SupportsKnownSource):
        return None
    curves = {
        name: (("axis", "point"), np.stack(curve)) for name, curve in codec.references().items()
    }
    return xr.Dataset(curves, {"axis": ["mse", "bpp"]})
