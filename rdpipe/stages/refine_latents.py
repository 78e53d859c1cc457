"""Refine the latents of every image for the unmodified decoder of a codec."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr
from safetensors.torch import load_file, save_file

from rdpipe.codecs.building import build_codec
from rdpipe.core.latent_arrays import DIMENSIONS
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.running import clock_of, device_of, to_tensor
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.cell import RECONSTRUCTION, Fits
from rdpipe.io import store
from rdpipe.io.files import write_atomically
from rdpipe.io.sources import Sources
from rdpipe.refinement.codec import fingerprint
from rdpipe.refinement.refine import Objective, Refinement, Refiner, Settings
from rdpipe.refinement.slope import operating_point, slope_of_curve, slope_of_step
from rdpipe.refinement.spec import RefinementSpec
from rdpipe.stages.inputs import codec_of, read_fits
from rdpipe.stages.specs import CodecSpec

SLOPE_IMAGES = 4
"""Number of images of the dataset on which the slope of a codec is measured."""
logger = logging.getLogger(__name__)


class RefineLatentsSpec(CodecSpec, frozen=True, kw_only=True):
    """One refined codec at one quality on one shard of a dataset.

    Parameters
    ----------
    refinement : RefinementSpec
        Without ``lambdas``.
    slope : float, optional
        The lambda of this quality. Default: the slope of the codec's own curve.
    neighbors : list of int
        This quality of the codec and the nearest others, from which its slope is measured.
    """

    refinement: RefinementSpec
    neighbors: list[int]
    slope: float | None = None


def run(
    spec: RefineLatentsSpec,
    manifest_file: Path,
    state: Path,
    out: Path,
    fits: list[Path] = [],  # noqa: B006 (the default of a flag)
) -> None:
    """Refine the latents of every image, one at a time.

    Parameters
    ----------
    spec : RefineLatentsSpec
    manifest_file : Path
        Manifest from ``prepare_dataset``.
    state : Path
        Side folder with the images that are finished, from which an interrupted run continues. It
        is not an output of the rule.
    out : Path
        Store to write: over ``image``, ``bits`` and ``mse`` before and after, the ``graph_bits`` of
        :class:`~rdpipe.refinement.refine.Refinement`, the ``step`` of the best latents, the
        ``seconds`` of the processor and the ``fingerprint`` of the image; and a group ``0/y``,
        ``0/z``, ... for each image and latent with its ``elements``.
    fits : list of Path
        Store from ``fit_reconstruction`` for the quantizer; empty if its reconstruction is plain.
    """
    codec = codec_of(spec)
    settings = settings_of(spec, codec, manifest_file, read_fits(fits))
    images, rows = manifest.load_shard(manifest_file, *spec.shard), []
    with store.create(out, spec) as writer:
        for index, entry in enumerate(images):
            pixels = load_image(entry["file"], entry["sha256"])
            refiner = Refiner(codec, entry["name"], pixels, settings)
            file = state / f"{key_of(refiner)}.safetensors"
            refinement, seconds = refine_once(refiner, file)
            logger.info("%s: %s", entry["name"], describe(refinement, pixels))
            for latent, elements in refinement.latents.items():
                table = xr.Dataset({"elements": (DIMENSIONS, elements[0].numpy())})
                writer.write(table, group=f"{index}/{latent}")
            rows.append((refinement, seconds, fingerprint(to_tensor(codec, pixels))))
        coords = {"image": [entry["name"] for entry in images], **spec.run_id.coordinates()}
        writer.write(tabulate(rows).assign_coords(coords).assign_attrs(slope=settings.slope))
    shutil.rmtree(state, ignore_errors=True)


def settings_of(spec: RefineLatentsSpec, codec: Codec, manifest_file: Path, fits: Fits) -> Settings:
    """Return how the latents are refined, with the slope of the codec unless it is stated."""
    args, slope = spec.refinement, spec.slope
    if slope is None:
        slope = measure_slope(spec, codec, first_images(manifest_file))
    states = fits.get((RECONSTRUCTION, str(args.quantizer)), {})
    gains = {latent: state["gain"].tolist() for latent, state in states.items()}
    return Settings(
        slope * args.lambda_factor,
        args.steps,
        args.quantizer,
        args.theta,
        args.step,
        gains,
        args.learning_rate,
        args.seed,
    )


def first_images(manifest_file: Path) -> list[Image]:
    """Return the first images of a dataset, whatever the shard."""
    images = manifest.load(manifest_file)["images"][:SLOPE_IMAGES]
    return [load_image(image["file"], image["sha256"]) for image in images]


def measure_slope(spec: RefineLatentsSpec, codec: Codec, images: Sequence[Image]) -> float:
    """Return the slope of the codec's own curve at its quality."""
    if len(spec.neighbors) == 1:
        return slope_of_step(codec, images)
    points = [
        operating_point(
            codec
            if quality == spec.quality
            else build_codec(spec.codec, quality, spec.entry, spec.device),
            images,
        )
        for quality in spec.neighbors
    ]
    bpp, mse = zip(*points, strict=True)
    return slope_of_curve(bpp, mse, spec.neighbors.index(spec.quality))


def refine_once(refiner: Refiner, file: Path) -> tuple[Refinement, float]:
    """Return the refinement of an image and its time, from a file if it is finished.

    The time is that of the processor; on a GPU, that on the clock.
    """
    if not file.exists():
        clock = clock_of(refiner.codec)
        start = clock()
        refinement = refiner.refine()
        save(refinement, clock() - start, file)
    return load(file)


def save(refinement: Refinement, seconds: float, file: Path) -> None:
    """Write a refinement completely or not at all."""
    latents = {name: latent.contiguous() for name, latent in refinement.latents.items()}
    numbers = [*refinement.before, *refinement.after, refinement.step, seconds]
    numbers.append(refinement.graph_bits)
    metadata = {"numbers": " ".join(map(repr, map(float, numbers)))}
    write_atomically(file, lambda path: save_file(latents, path, metadata))


def load(file: Path) -> tuple[Refinement, float]:
    """Read what :func:`save` wrote."""
    from safetensors import safe_open

    with safe_open(file, "pt") as reader:
        numbers = map(float, reader.metadata()["numbers"].split())
        *objectives, step, seconds, graph_bits = numbers
    before, after = Objective(*objectives[:3]), Objective(*objectives[3:])
    return Refinement(load_file(file), before, after, int(step), graph_bits), seconds


def key_of(refiner: Refiner) -> str:
    """Return a digest of all that the refined latents of an image depend on.

    The weights of the codec count with what they make of the image: its latents, bits and MSE.
    """
    digest = hashlib.sha256()
    for latent in refiner.initial.values():
        digest.update(latent.cpu().numpy().tobytes())
    rest = refiner.before, refiner.settings, str(device_of(refiner.codec)), own_source()
    digest.update(repr(rest).encode())
    return digest.hexdigest()[:32]


@cache
def own_source() -> str:
    """Return the digest of the source of this stage, which is read once for all images."""
    return Sources().digest(__name__)


def describe(refinement: Refinement, pixels: Image) -> str:
    """Return before and after in words."""
    size = pixels.shape[0] * pixels.shape[1]
    ends = [f"{x.bits / size:.4f} bit/pixel, MSE {x.mse:.2f}" for x in refinement[1:3]]
    text = f"{ends[0]} -> {ends[1]} after {refinement.step} steps"
    if math.isnan(refinement.graph_bits):
        return text
    difference = 100 * (refinement.after.bits / refinement.graph_bits - 1)
    return (
        f"{text}; coded in sequence {difference:+.2f} % of the bits in the graph of the gradients"
    )


def tabulate(rows: Sequence[tuple[Refinement, float, str]]) -> xr.Dataset:
    """Return the table over images."""
    refinements, seconds, prints = zip(*rows, strict=True)
    columns = {
        "bits_before": ([r.before.bits for r in refinements], "bit"),
        "bits": ([r.after.bits for r in refinements], "bit"),
        "mse_before": ([r.before.mse for r in refinements], "squared 8-bit levels"),
        "mse": ([r.after.mse for r in refinements], "squared 8-bit levels"),
        "graph_bits": ([r.graph_bits for r in refinements], "bit"),
        "step": ([r.step for r in refinements], ""),
        "seconds": (seconds, "second of the processor"),
    }
    table = {
        name: ("image", np.array(values, np.float64), {"units": units})
        for name, (values, units) in columns.items()
    }
    latents = list(refinements[0].latents)
    return xr.Dataset({**table, "fingerprint": ("image", list(prints))}, {"latent": latents})
