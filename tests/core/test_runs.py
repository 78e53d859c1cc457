"""The identity of a run, in the coordinates of a store."""

import xarray as xr

from rdpipe.core.runs import RunId


def test_run_is_written_to_and_read_from_coordinates():
    run = RunId("kodak", "mini", 2)
    table = xr.Dataset({"bits": ("image", [1.0])}, run.coordinates())
    assert RunId.from_coordinates(table) == run
    assert isinstance(RunId.from_coordinates(table).quality, int)
