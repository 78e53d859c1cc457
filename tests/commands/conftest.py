"""The results of a small run, with the tables that commands read."""

import pytest
import xarray as xr
from small_page import make_tables

from rdpipe.io import store


@pytest.fixture
def tables():
    return make_tables()


@pytest.fixture
def results(tables, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    with store.create(folder / "bounds.zarr.zip", {}) as writer:
        for name in ("points", "image_points", "ladder", "bd_rates", "available"):
            table = tables[name].reset_index(drop=True)
            writer.write(xr.Dataset.from_dataframe(table), name)
    (folder / "report.html").touch()
    return folder
