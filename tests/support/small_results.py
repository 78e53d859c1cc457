"""A folder of results with the tables that commands read."""

import json

import xarray as xr

from rdpipe.io import store


def write_results(tables, folder, labels=None):
    """Write the tables of a run, its labels and an empty page, and return the folder."""
    folder.mkdir()
    with store.create(folder / "bounds.zarr.zip", {}) as writer:
        for name in ("points", "image_points", "ladder", "bd_rates", "available"):
            table = tables[name].reset_index(drop=True)
            writer.write(xr.Dataset.from_dataframe(table), name)
    (folder / "labels.json").write_text(json.dumps(labels or {}))
    (folder / "report.html").touch()
    return folder
