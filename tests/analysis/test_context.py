"""What a context model saves, against closed forms of Gaussian elements."""

import math

import pytest
import xarray as xr
from gaussian_latents import normal
from scipy import stats

from rdpipe.analysis.context import context_frame
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.evaluation.array import evaluate_context

KEY = "d", "c"
SHAPE = 2, 300, 300
ELEMENTS = math.prod(SHAPE)
SCALE, SHARE = 50.0, 0.6
"""Standard deviation without context, and its share that remains with context."""


def gaussian_image(seed, scale=SCALE):
    """Return elements of which a context knows all but a share of their standard deviation."""
    mean = math.sqrt(1 - SHARE**2) * scale * normal(SHAPE, 2 * seed)
    y = mean + SHARE * scale * normal(SHAPE, 2 * seed + 1)
    constant = 0 * y + scale
    return Latents(f"{seed}", y, mean, SHARE * constant, hyper=0 * y, hyper_scale=constant)


def table_of(*names, side_bits=1000.0):
    values = {"side_bits": side_bits, "pixels": ELEMENTS}
    return xr.Dataset(
        {key: ("image", [value] * len(names)) for key, value in values.items()},
        {"image": list(names)},
    )


@pytest.fixture(scope="module")
def array():
    return evaluate_context([gaussian_image(0), gaussian_image(1, 1.1 * SCALE)])


@pytest.fixture(scope="module")
def frame(array):
    return context_frame({KEY: {3: table_of("0", "1")}}, {KEY: {3: array}})


def test_gains_are_those_of_gaussian_elements(frame):
    """The code lengths of residuals of known second moment under Gaussians of known variance."""
    gains = frame[frame["quantity"] == "gain"].set_index("context")["bpp"]
    expected = {
        "mean": (1 - SHARE**2) / (2 * math.log(2)),
        "variance": -math.log2(SHARE) - (SHARE**-2 - 1) / (2 * math.log(2)),
        "both": -math.log2(SHARE),
        "interaction": (SHARE**-2 + SHARE**2 - 2) / (2 * math.log(2)),
    }
    assert gains.to_dict() == pytest.approx(expected, abs=0.01)
    assert gains["variance"] < 0 < gains["interaction"]


def test_rates_are_those_of_gaussian_elements_with_side_information(frame):
    rates = frame[frame["quantity"] == "rate"].set_index("context")
    density = 0.5 * math.log2(2 * math.pi * math.e * 1.1 * SCALE**2)  # geometric mean of two images
    assert rates["bpp"]["neither"] == pytest.approx(density + 1000 / ELEMENTS, abs=0.01)
    assert rates["cell"].to_dict() == {
        "neither": "hyper/hyper/rounding",
        "mean": "codec/hyper/rounding",
        "variance": "hyper/codec/rounding",
        "both": "codec/codec/rounding",
    }
    # the variance with context is that of the codec's y_hat, which rounding about hyper has not
    assert rates["kind"].to_dict() == {
        "neither": "achievable",
        "mean": "achievable",
        "variance": "genie-aided estimate",
        "both": "achievable",
    }
    assert rates["latent_mse_ratio"].tolist() == pytest.approx([1, 1, 1, 1], abs=0.01)
    assert rates["latent_mse_ratio"]["both"] == rates["latent_mse_ratio"]["mean"] == 1
    assert set(frame["matched_at"]) == {"rounding-step"}


def test_intervals_are_those_of_student_over_images(array, frame):
    bits = array["bits"].squeeze("quantizer").sel(image=["0", "1"])
    saved = bits.sel(mean="hyper", variance="hyper") - bits.sel(mean="codec", variance="codec")
    bpp = saved.values / ELEMENTS
    half = stats.t.ppf(0.975, 1) * stats.sem(bpp)
    row = frame.query("quantity == 'gain' and context == 'both'").iloc[0]
    assert row["bpp_low"] == pytest.approx(bpp.mean() - half)
    assert row["bpp_high"] == pytest.approx(bpp.mean() + half)


def test_gains_of_mean_variance_and_interaction_add_up(frame):
    gains = frame[frame["quantity"] == "gain"].set_index("context")["bpp"]
    assert gains[["mean", "variance", "interaction"]].sum() == pytest.approx(gains["both"])


def test_codec_without_context_has_no_row_but_all_columns(frame):
    empty = context_frame({KEY: {3: table_of("0", "1")}}, {})
    assert empty.empty and list(empty) == list(frame)


def test_other_images_are_refused(array):
    with pytest.raises(InputError, match="the array: image 0 is '0'"):
        context_frame({KEY: {3: table_of("1", "0")}}, {KEY: {3: array}})
