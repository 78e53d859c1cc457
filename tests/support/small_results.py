"""A folder of results with the tables that commands read."""

import xarray as xr

from rdpipe.io import store


def write_results(tables, folder):
    """Write the tables of a run and an empty page, and return the folder."""
    folder.mkdir()
    with store.create(folder / "bounds.zarr.zip", {}) as writer:
        for name in ("points", "image_points", "ladder", "bd_rates", "available"):
            table = tables[name].reset_index(drop=True)
            writer.write(xr.Dataset.from_dataframe(table), name)
    (folder / "report.html").touch()
    return folder
