"""Fit an estimator on the latents of the calibration images."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from rdpipe import store
from rdpipe.axes.cube import TABLES
from rdpipe.plugins import make
from rdpipe.stages.inputs import StoredLatents, identity


def run(spec: dict, latents: Path, out: Path) -> None:
    """Write what an estimator finds.

    Parameters
    ----------
    spec : dict
        ``axis``, ``name`` and ``entry`` (``use`` and ``args`` from the config).
    latents : Path
        From ``extract_latents``, of the calibration images.
    out : Path
        Store of the estimator's arrays, and ``fitted_on``: SHA-256 of the images.
    """
    table = store.read(latents)
    estimator = make(spec["axis"], spec["name"], spec["entry"], TABLES[spec["axis"]])
    found = estimator.fit(StoredLatents(latents))
    arrays = {
        name: ([f"{name}_{i}" for i in range(array.ndim)], array) for name, array in found.items()
    }
    arrays["fitted_on"] = ("calibration_image", table["sha256"].values)
    about = {**identity(table), "axis": spec["axis"], "estimator": spec["name"]}
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(arrays, about))
