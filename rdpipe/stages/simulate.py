"""Simulate cells through the codec's decoder, at the quality of the codec's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rdpipe.datasets import manifest
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.simulation import CodedImage, Simulation
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, encoder_of, load_images, read_fits
from rdpipe.stages.specs import CellNames, CellSpec, cell_ids


class SimulateSpec(CellSpec, frozen=True, kw_only=True):
    """Cells of one codec at one quality.

    Parameters
    ----------
    curves : dict
        The cells by the name of their curve.
    measure : {"psnr", "ms-ssim"}
        What is equal to that of the codec's own picture.
    matching : {"image", "dataset"}
        Whether it is equal for each image, or on average over the dataset.
    level : float, optional
        The level of all cells, if it is not solved for.
    """

    curves: dict[str, CellNames]
    measure: Literal["psnr", "ms-ssim"]
    matching: Literal["image", "dataset"]
    level: float | None = None


class StoredImages(Sequence[CodedImage]):
    """Images and their latents, read one at a time.

    Parameters
    ----------
    entries : sequence of ImageEntry
        From the manifest.
    latents : StoredLatents
    """

    def __init__(self, entries: Sequence[manifest.ImageEntry], latents: StoredLatents):
        self._entries, self._latents = entries, latents

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> CodedImage:  # type: ignore[override]
        entry = self._entries[index]
        return CodedImage(self._latents[index], load_image(entry["file"], entry["sha256"]))


def run(
    spec: SimulateSpec,
    manifest_file: Path,
    latents: list[Path],
    fits: list[Path],
    out: Path,
    refined: list[Path] = [],  # noqa: B006 (the default of a flag)
) -> None:
    """Simulate cells of the array, each at the quality of the codec's own pictures.

    Parameters
    ----------
    spec : SimulateSpec
    manifest_file : Path
        Manifest from ``prepare_dataset``.
    latents : list of Path
        Latents from ``extract_latents``, in the order of the shards: of one shard, or of all shards
        if the quality is equal on average over the dataset.
    fits : list of Path
        Stores from ``fit_estimator`` and ``fit_reconstruction`` for the cells.
    out : Path
        Store to write: see :meth:`rdpipe.evaluation.simulation.Simulation.run`.
    refined : list of Path
        Refined latents from ``refine_latents``; empty if the codec is not a refined one.
    """
    codec, stored = encoder_of(spec, refined), StoredLatents(latents)
    simulation = Simulation(
        codec,
        cell_ids(spec.curves),
        spec.entries,
        read_fits(fits, stored.table),
        stored[0],
        spec.seed,
        spec.measure,
        spec.level,
    )
    entries = load_images(manifest_file, spec.shard, stored)
    images = StoredImages(entries, stored)
    if spec.matching == "dataset":
        results = [simulation.run(images)]
    else:
        results = [simulation.run([image]) for image in images]
    with store.create(out, spec) as writer:
        writer.write(simulation.label(results, stored.names, stored.run))
