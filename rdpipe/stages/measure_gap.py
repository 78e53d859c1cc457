"""Measure rates and distortions along one axis, or along all of them, from stored latents."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rdpipe.evaluation.array import evaluate
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, read_fits
from rdpipe.stages.specs import EstimatorSpec


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
        Store to write: the array, and ``pixels`` over image.
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
