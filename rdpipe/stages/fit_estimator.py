"""Fit an estimator on the latents of the calibration images."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from rdpipe.io import store
from rdpipe.core.axes import TABLES
from rdpipe.evaluation.cell import build
from rdpipe.core.plugins import build_entry
from rdpipe.stages.inputs import StoredLatents, identity, read_fits


def run(spec: dict, latents: list[Path], fits: list[Path], out: Path) -> None:
    """Write what an estimator finds.

    Parameters
    ----------
    spec : dict
        ``axis``, ``name`` and ``entry`` (``use`` and ``args`` from the config); for a variance,
        ``means``.
    latents : list of Path
        From ``extract_latents``, of the calibration images, in the order of the shards.
    fits : list of Path
        From ``fit_estimator``, of the fitted ones among ``means``.
    out : Path
        Store of ``fitted_on``, SHA-256 of the images, and a group ``found`` of the estimator's arrays.
    """
    estimator = build_entry(spec["axis"], spec["name"], spec["entry"], TABLES[spec["axis"]])
    known, images = read_fits(fits), StoredLatents(latents)
    table = images.table
    means = {name: build("mean", name, entry, known) for name, entry in spec["means"].items()}
    found = estimator.fit(images, means) if means else estimator.fit(images)
    arrays = {
        name: ([f"{name}_{i}" for i in range(array.ndim)], array) for name, array in found.items()
    }
    about = {**identity(table), "axis": spec["axis"], "estimator": spec["name"]}
    fitted_on = {"fitted_on": ("calibration_image", table["sha256"].values)}
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(fitted_on, about))
        writer.write(xr.Dataset(arrays), group="found")
