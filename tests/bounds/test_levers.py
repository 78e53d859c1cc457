"""Levers, on tables whose BD-rates are known: a rate that is a fixed share less."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rdpipe.analysis.curves import Curve
from rdpipe.analysis.bootstrap import resamples
from rdpipe.analysis.levers import levers

QUALITIES = [1, 2, 3]


@pytest.fixture
def found():
    """A codec of 100, 200, 400 bit; quantization is worth 20 %, a trellis has 10 % of its bits, and a
    dead zone 30 % at more distortion; a calibrated variance would have 5 %, a genie 50 %."""
    bits = np.array([100.0, 200.0, 400.0]) * np.array([[1.0], [1.2]])
    mse = np.array([40.0, 20.0, 10.0]) * np.array([[1.0], [1.1]])
    own = Curve("d", "c", "codec", "achieved", QUALITIES, bits, mse, np.array([100, 100]), np.array(["a", "b"]))
    table = xr.Dataset({"side_bits": ("image", [5.0, 5.0]), "pixels": ("image", [100, 100])})
    tables = {q: table.assign(latent_bits=("image", bits[:, i])) for i, q in enumerate(QUALITIES)}
    cubes = {q: cube(bits[:, i]) for i, q in enumerate(QUALITIES)}
    terms = pd.DataFrame(
        {"image": image, "quality": q, "limit": "l", "order": "paper", "term": term, "bpp": share * bits[k, i] / 100}
        for k, image in enumerate("ab") for i, q in enumerate(QUALITIES)
        for term, share in (("coder", 0.01), ("variance", 0.1), ("quantization", 0.2))
    )  # fmt: skip
    return levers(own, tables, cubes, terms, resamples(2, 30, 0)).set_index("term")


def cube(bits: np.ndarray) -> xr.Dataset:
    variances, quantizers = ["codec", "calibrated", "window-3"], ["rounding", "trellis", "deadzone"]
    rates = np.outer([1.0, 0.95, 0.5], [1.0, 0.9, 0.7])[None, None] * bits[:, None, None, None]
    kind = np.array([["achievable"] * 3, ["achievable"] * 3, ["genie-aided estimate"] * 3])[None]
    distortion = np.broadcast_to([1.0, 1.0, 1.2], rates.shape)
    dims = ("image", "mean", "variance", "quantizer")
    return xr.Dataset(
        {"bits": (dims, rates), "distortion": (dims, distortion)},
        {"image": ["a", "b"], "mean": ["codec"], "variance": variances, "quantizer": quantizers,
         "kind": (dims[1:], kind), "side_counted": (dims[1:], kind != "genie-aided estimate")},
    )  # fmt: skip


def test_a_fixed_share_of_the_bits_is_that_bd_rate(found):
    assert found.loc["quantization"]["bd_rate"] == pytest.approx(-20)
    assert found.loc["variance"]["bd_rate"] == pytest.approx(-10)
    low, high = found.loc["quantization"][["bd_rate_low", "bd_rate_high"]]
    assert low == pytest.approx(-20) and high == pytest.approx(-20)


def test_available_is_the_best_real_code_at_no_more_distortion(found):
    lever = found.loc["quantization"]
    assert lever["available"] == "codec/codec/trellis"
    assert lever["available_bd_rate"] == pytest.approx(-10)
    assert found.loc["variance"]["available"] == "codec/calibrated/rounding"  # the genie is no code
    assert found.loc["variance"]["available_bd_rate"] == pytest.approx(-5)


def test_of_what_is_no_axis_nothing_is_known(found):
    assert found.loc["coder"]["available"] == "" and np.isnan(found.loc["coder"]["available_bd_rate"])
