"""Times of encoders, on stores whose seconds are known."""

import numpy as np
import pytest
import xarray as xr

from rdpipe.analysis.encoder_times import cell_seconds, encoder_seconds

PIXELS = np.array([100_000, 300_000])
TABLES = {q: xr.Dataset({"pixels": ("image", PIXELS)}) for q in (1, 2)}


def decoded(**seconds):
    """Return stores in which each image of a cell takes some seconds per megapixel."""
    values = np.stack([np.full(2, value) for value in seconds.values()]) * PIXELS / 1e6
    data = {"seconds": (("cell", "image"), values)}
    return {q: xr.Dataset(data, {"cell": list(seconds)}).copy(deep=True) for q in (1, 2)}


def test_seconds_are_per_pixel_of_the_images_that_were_coded():
    stores = decoded(a=2.0, b=3.0)
    stores[2]["seconds"].loc[{"cell": "b"}] = [np.nan, 6.0]
    expected = {"a": 2.0, "b": 1e6 * (3.0 * 0.4 + 6.0) / (400_000 + 300_000)}
    assert cell_seconds(stores, TABLES) == pytest.approx(expected)


def test_cell_that_is_nowhere_coded_has_no_time():
    assert cell_seconds(decoded(a=2.0, b=np.nan), TABLES) == pytest.approx({"a": 2.0})
    assert cell_seconds({}, TABLES) == {}


def test_refinement_is_added_to_the_time_of_the_same_cell():
    names = ("c", "refined", "refined-and-coded", "lattice", "bound", "retuned")
    tables = {("d", name): TABLES for name in names}
    streams = {
        ("d", "c"): decoded(a=2.0),
        ("d", "refined-and-coded"): decoded(a=2.5),
        ("d", "lattice"): decoded(e8=4.0),
    }
    attached = {
        "refined": False,
        "refined-and-coded": False,
        "lattice": True,
        "bound": True,
        "retuned": False,
    }
    refinement = {"refined": 10.0, "refined-and-coded": 20.0, "lattice": 30.0, "bound": 40.0}
    times = encoder_seconds(("d", "c"), attached, tables, streams, refinement)
    expected = {"a": 2.0, "refined: a": 12.0, "refined-and-coded: a": 22.5, "lattice": 34.0}
    assert times == pytest.approx(expected)
