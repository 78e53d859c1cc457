"""The rate of a cell: bits, and side information if a decoder needs it."""

import numpy as np
import pytest
import xarray as xr

from rdpipe.analysis.rates import cell_bits, cell_side_bits
from rdpipe.core.errors import InputError


@pytest.fixture
def array():
    bits = ("image", "variance"), np.array([[10.0, 20.0], [30.0, 40.0]])
    labels = {"variance": ["codec", "element"], "includes_side": ("variance", [True, False])}
    return xr.Dataset({"bits": bits}, {"image": ["a", "b"], **labels})


def test_side_information_is_added_only_where_it_is_included(array):
    table = xr.Dataset({"side_bits": ("image", [1.0, 2.0])}, {"image": ["a", "b"]})
    rates = cell_bits(array, table)
    assert rates.sel(variance="codec").values.tolist() == [11.0, 32.0]
    assert rates.sel(variance="element").values.tolist() == [20.0, 40.0]
    assert cell_side_bits(array, table).sel(variance="element").values.tolist() == [0.0, 0.0]


def test_images_of_array_and_table_must_agree(array):
    """Positions alone would add the side information of the wrong image."""
    table = xr.Dataset({"side_bits": ("image", [2.0, 1.0])}, {"image": ["b", "a"]})
    with pytest.raises(InputError, match="image 0 is 'a'; expected 'b'"):
        cell_bits(array, table)
