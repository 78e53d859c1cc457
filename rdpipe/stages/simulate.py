"""Simulate cells through the codec's decoder: true PSNR beside the rate."""

from __future__ import annotations

from pathlib import Path

from rdpipe.datasets.image import load_image
from rdpipe.evaluation.simulation import Simulation
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, codec_of, load_images, read_fits
from rdpipe.stages.specs import CellNames, CellSpec, cell_ids


class SimulateSpec(CellSpec, frozen=True, kw_only=True):
    """Cells of one codec at one quality, and a sweep of levels.

    Parameters
    ----------
    curves : dict
        The cells by the name of their curve.
    levels : list of float
        The sweep of the level of the test channel: theta, squared latent units.
    """

    curves: dict[str, CellNames]
    levels: list[float]


def run(
    spec: SimulateSpec, manifest_file: Path, latents: Path, fits: list[Path], out: Path
) -> None:
    """Simulate cells of the array over a sweep of levels.

    Parameters
    ----------
    spec : SimulateSpec
    manifest_file, latents : Path
        Manifest from ``prepare_dataset``, and latents from ``extract_latents``.
    fits : list of Path
        Stores from ``fit_estimator`` of all fitted estimators in the cells.
    out : Path
        Store to write: ``bits`` and ``mse`` over (curve, image, sweep), and ``level`` over (curve,
        sweep). A cell whose quantizer has a level of its own, such as rounding, stands at the first
        place of the sweep; its other places are NaN.
    """
    codec, stored = codec_of(spec), StoredLatents([latents])
    simulation = Simulation(
        codec,
        cell_ids(spec.curves),
        spec.entries,
        read_fits(fits, stored.table),
        stored[0],
        spec.levels,
        spec.seed,
    )
    results = []
    images = load_images(manifest_file, spec.shard, stored)
    for entry, image in zip(images, stored, strict=True):
        pixels = load_image(entry["file"], entry["sha256"])
        results.append(simulation.run(image, pixels))
    with store.create(out, spec) as writer:
        writer.write(simulation.label(results, stored.names, stored.run))
