"""The table of a run, and the known limits of its source."""

import numpy as np

from rdpipe.codecs.compressai import mini_factorized
from rdpipe.codecs.extraction import UNITS
from rdpipe.codecs.linear import klt
from rdpipe.core.runs import RunId
from rdpipe.stages.extract_latents import known_limits, tabulate


def test_table_has_units_and_names():
    row = dict.fromkeys(UNITS, 1.0)
    table = tabulate([row, row], ["a", "b"], ["0", "1"], ["y"], RunId("set", "pixels", 1))
    assert {name: table[name].attrs["units"] for name in UNITS} == UNITS
    assert table["image"].values.tolist() == ["a", "b"]
    assert table["latent"].values.tolist() == ["y"] and table["sha256"].values.tolist() == [
        "0",
        "1",
    ]


def test_limits_are_those_of_a_known_source():
    codec = klt(1, steps=[10.0], rho=0.9, size=64)
    limits = known_limits(codec)
    for name, (mse, bpp) in codec.references().items():
        np.testing.assert_array_equal(limits[name].sel(axis="mse"), mse)
        np.testing.assert_array_equal(limits[name].sel(axis="bpp"), bpp)
    assert known_limits(mini_factorized(1)) is None
