"""Measure rates and distortions along one axis, or along all of them, from stored latents."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rdpipe.core.axes import axis_named
from rdpipe.evaluation.array import evaluate, evaluate_context
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, read_fits
from rdpipe.stages.specs import EstimatorSpec

CONTEXT = axis_named("mean").term
"""The component whose store also has the cells with and without context, and their group."""


class MeasureGapSpec(EstimatorSpec, frozen=True, kw_only=True):
    """A slice of the array.

    Parameters
    ----------
    component : str
        The component of the gap that the slice is for, or ``joint`` for the whole array.
    matching : {"image", "dataset"}
        Whether levels are matched for each image or over the dataset.
    seed : int
        Seed of the noise of random quantizers.
    """

    component: str
    matching: Literal["image", "dataset"]
    seed: int


def run(spec: MeasureGapSpec, latents: list[Path], fits: list[Path], out: Path) -> None:
    """Evaluate a slice of the array bits[image, mean, variance, quantizer].

    Parameters
    ----------
    spec : MeasureGapSpec
    latents : list of Path
        Latents from ``extract_latents``, in the order of the shards: of one shard, or of all shards
        if levels are matched over the dataset.
    fits : list of Path
        Stores from ``fit_estimator`` of all fitted estimators in the slice.
    out : Path
        Store to write: the array, and ``pixels`` over image. That of the component ``context`` of a
        codec with a context model has a group ``context``: rounding with and without context in the
        mean and in the variance.
    """
    images = StoredLatents(latents)
    array = evaluate(
        images,
        spec.means,
        spec.variances,
        spec.quantizers,
        matching=spec.matching,
        seed=spec.seed,
        fits=read_fits(fits, images.table),
    )
    array = array.assign_coords({**images.run.coordinates(), "component": spec.component})
    with store.create(out, spec) as writer:
        writer.write(array.assign(pixels=images.table["pixels"]))
        if spec.component == CONTEXT and has_context(images):
            table = evaluate_context(images).assign_coords(images.run.coordinates())
            writer.write(table, CONTEXT)


def has_context(images: StoredLatents) -> bool:
    """Return whether the codec has a context model."""
    return bool(len(images)) and any(latent.with_context for latent in images[0])
