"""Fit an estimator on the latents of the calibration images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from msgspec import field

from rdpipe.core.axes import axis_named
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.plugins import build_entry
from rdpipe.core.specs import Spec
from rdpipe.estimators.base import FittedEstimator, State
from rdpipe.evaluation.cell import ADAPTERS, Fits, build_part
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, read_fits
from rdpipe.stages.specs import Entries, Entry


class FitEstimatorSpec(Spec, frozen=True, kw_only=True):
    """A fitted estimator.

    Parameters
    ----------
    axis, name : str
        Axis, and name in the config.
    entry : dict
        ``use`` and ``args``.
    means : dict
        For a variance, the config entries of the means to whose residuals it is fitted.
    """

    axis: str
    name: str
    entry: Entry
    means: Entries = field(default_factory=dict)


def run(spec: FitEstimatorSpec, latents: list[Path], fits: list[Path], out: Path) -> None:
    """Fit an estimator, and write its state.

    Parameters
    ----------
    spec : FitEstimatorSpec
    latents : list of Path
        Latents of the calibration images from ``extract_latents``, in the order of the shards.
    fits : list of Path
        Stores from ``fit_estimator`` of the fitted estimators among the means.
    out : Path
        Store to write: ``fitted_on``, the SHA-256 of the images, and a group ``state/y`` for each
        latent with the arrays of the estimator.
    """
    build_estimator(spec)  # refused before anything is read
    images, states = StoredLatents(latents), read_fits(fits)
    coordinates = {
        **images.run.coordinates(),
        "axis": spec.axis,
        "estimator": spec.name,
        "latent": images.latents,
    }
    fitted_on = {"fitted_on": ("calibration_image", images.table["sha256"].values)}
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(fitted_on, coordinates))
        for latent in images.latents:
            state = fit(spec, images.of_latent(latent), latent, states)
            arrays = {
                name: ([f"{name}_{i}" for i in range(array.ndim)], array)
                for name, array in state.items()
            }
            writer.write(xr.Dataset(arrays), group=f"state/{latent}")


def fit(spec: FitEstimatorSpec, images: Sequence[Latents], latent: str, states: Fits) -> State:
    """Return the state of an estimator that is fitted to one latent of the calibration images."""
    means = {
        name: build_part("mean", name, entry, states, latent) for name, entry in spec.means.items()
    }
    return build_estimator(spec).fit(images, means or None).state()


def build_estimator(spec: FitEstimatorSpec) -> FittedEstimator:
    """Return the estimator of a specification, which is not fitted yet.

    Raises
    ------
    InputError
        If it cannot be fitted.
    """
    instance = build_entry(spec.axis, spec.name, spec.entry, axis_named(spec.axis).registry)
    estimator = ADAPTERS[spec.axis](spec.name, instance)
    if not isinstance(estimator, FittedEstimator):
        raise InputError(
            f"{spec.axis} {spec.name!r} is a {type(instance).__name__}; expected a FittedEstimator"
        )
    return estimator
