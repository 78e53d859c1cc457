"""Measure rates and distortions along each axis, and along all of them, from stored latents."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rdpipe.core.axes import axis_named
from rdpipe.core.specs import Spec
from rdpipe.evaluation.array import evaluate, evaluate_context
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, read_fits
from rdpipe.stages.specs import EstimatorSpec

CONTEXT = axis_named("mean").term
"""The component whose store also has the cells with and without context, and their group."""


class SliceSpec(EstimatorSpec, frozen=True, kw_only=True):
    """A slice of the array.

    Parameters
    ----------
    component : str
        The component of the gap that the slice is for, or ``joint``: along all axes.
    means, variances, quantizers : dict
        Config entries by name.
    """

    component: str


class MeasureGapSpec(Spec, frozen=True, kw_only=True):
    """Slices of the array.

    Parameters
    ----------
    slices : list of SliceSpec
    matching : {"image", "dataset"}
        Whether levels are matched for each image or over the dataset.
    seed : int
        Seed of the noise of random quantizers.
    """

    slices: list[SliceSpec]
    matching: Literal["image", "dataset"]
    seed: int


def run(spec: MeasureGapSpec, latents: list[Path], fits: list[Path], out: list[Path]) -> None:
    """Evaluate slices of the array bits[image, mean, variance, quantizer].

    Parameters
    ----------
    spec : MeasureGapSpec
    latents : list of Path
        Latents from ``extract_latents``, in the order of the shards: of one shard, or of all shards
        if levels are matched over the dataset.
    fits : list of Path
        Stores from ``fit_estimator`` of all fitted estimators in the slices.
    out : list of Path
        Store to write for each slice: the array, and ``pixels`` over image. That of the
        component ``context`` of a codec with a context model has a group ``context``: rounding with
        and without context in the mean and in the variance.
    """
    images = StoredLatents(latents)
    states = read_fits(fits, images.table)
    for part, path in zip(spec.slices, out, strict=True):
        array = evaluate(
            images,
            part.means,
            part.variances,
            part.quantizers,
            matching=spec.matching,
            seed=spec.seed,
            fits=states,
        )
        array = array.assign_coords({**images.run.coordinates(), "component": part.component})
        with store.create(path, spec) as writer:
            writer.write(array.assign(pixels=images.table["pixels"]))
            if part.component == CONTEXT and has_context(images):
                table = evaluate_context(images).assign_coords(images.run.coordinates())
                writer.write(table, CONTEXT)


def has_context(images: StoredLatents) -> bool:
    """Return whether the codec has a context model."""
    return bool(len(images)) and any(latent.with_context for latent in images[0])
