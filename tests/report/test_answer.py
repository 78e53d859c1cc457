"""Sentences that hold at equal PSNR."""

import numpy as np
import pandas as pd
import pytest

from rdpipe.core.axes import CellId
from rdpipe.core.kinds import BoundKind
from rdpipe.report import answer


@pytest.fixture
def bd_rates(tables):
    return tables["bd_rates"]


@pytest.fixture
def points(tables):
    return tables["points"]


def only(bd_rates, curve, **values):
    """Return the BD-rate of one curve, with other values."""
    return bd_rates[bd_rates["curve"] == curve].assign(**values)


def raised(points, curve, decibels):
    """Return the points with the PSNR of one curve raised."""
    return points.assign(psnr=points["psnr"] + decibels * (points["curve"] == curve))


def test_best_bound_includes_joint_training_and_never_a_genie(bd_rates, points):
    assert answer.best_bound(bd_rates).curve == "joint"
    assert answer.bound_sentence(bd_rates, points) == (
        "At equal PSNR, over the curve: the best upper bound on R(D), “joint”, has a BD-rate of"
        " -20.0 % (95 % interval -22.0 to -18.0 %). In theory, at least 20.0 % of the bits are"
        " avoidable, with retrained transforms."
    )
    cells = bd_rates[bd_rates["curve"] != "joint"]
    assert "at least 12.3 % of the bits are avoidable, with the codec's own transforms" in (
        answer.bound_sentence(cells, points)
    )


def test_bound_above_the_codec_or_no_bound_is_said(bd_rates, points):
    above = bd_rates.assign(bd_rate=bd_rates["bd_rate"].abs())
    assert "no upper bound on R(D) lies below the codec" in answer.bound_sentence(above, points)
    assert "has a BD-rate of +12.3 %" in answer.bound_sentence(above, points)
    unknown = bd_rates.assign(bd_rate=np.nan)
    assert "two qualities or more" in answer.bound_sentence(unknown, points)
    assert answer.lever_sentence(unknown, points) == ""


def test_largest_lever_with_the_codecs_own_transforms(bd_rates, points):
    assert answer.lever_sentence(bd_rates, points) == (
        "Largest lever with the codec's own transforms: quantization (“codec/codec/test-channel”,"
        " upper bound on R(D)), worth 12.3 % (11.0 to 14.0 %) at equal PSNR."
    )
    changes = {lever.curve: lever.change for lever in answer.levers(bd_rates)}
    assert changes == {
        "joint": "joint training",
        "codec/codec/test-channel": "quantization",
        "codec/codec/rounding": "entropy coder and prior",
    }


@pytest.mark.parametrize(
    ("cell", "change"),
    [
        ("codec/codec/codec", "entropy coder"),
        ("codec/codec/rounding", "entropy coder and prior"),
        ("codec/calibrated/test-channel", "variance and quantization"),
    ],
)
def test_change_of_a_cell(cell, change):
    """The codec's own prior differs from the real bytes in the entropy coder, not in y_hat."""
    assert answer.change_of(cell, "cell") == change


def test_saving_whose_interval_includes_0_is_not_claimed(bd_rates, points):
    channel = "codec/codec/test-channel"
    uncertain = only(bd_rates, channel, bd_rate=-0.4, bd_rate_low=-2.0, bd_rate_high=1.0)
    for sentence in (answer.bound_sentence, answer.lever_sentence):
        text = sentence(uncertain, points)
        assert "cannot be distinguished from 0 with these images" in text
        assert "95 % interval -2.0 to +1.0 %" in text
        assert "at least" not in text and "worth" not in text


def test_saving_below_a_tenth_of_a_percent(bd_rates, points):
    channel = "codec/codec/test-channel"
    small = only(bd_rates, channel, bd_rate=-0.03, bd_rate_low=-0.04, bd_rate_high=-0.02)
    assert "some, but less than 0.1 %, of the bits" in answer.bound_sentence(small, points)
    assert "worth less than 0.1 % at equal PSNR" in answer.lever_sentence(small, points)


def test_small_common_range_of_psnr_is_stated(bd_rates, points):
    """The codec has 29 and 30 dB, the curve 29.75 and 30.75 dB."""
    channel = "codec/codec/test-channel"
    rates, cell = only(bd_rates, channel), CellId.parse(channel)
    for share, decibels in (("over only 25 % of the codec's PSNR range", 0.75), ("over only", 0.5)):
        moved = raised(points, channel, decibels)
        for text in (
            answer.bound_sentence(rates, moved),
            answer.lever_sentence(rates, moved),
            answer.limit_sentence(rates, moved, cell),
        ):
            assert (share in text) == (decibels > 0.5)


def test_available_saving_whose_interval_includes_0(tables):
    code = tables["available"].assign(bd_rate_high=0.5)
    assert "cannot be distinguished from 0" in answer.available_sentence(code)


def test_available_today(tables):
    code = tables["available"]
    assert answer.available_sentence(code) == (
        "Available today: 1.25 % (1.00 to 1.50 %) in real bytes, by codec/calibrated/rounding,"
        " which decodes to the codec's own pictures."
    )
    assert "by code length" in answer.available_sentence(code.assign(kind=BoundKind.ACHIEVABLE))
    assert "nothing" in answer.available_sentence(code.assign(bd_rate=0.0))
    assert "two qualities or more" in answer.available_sentence(code.assign(bd_rate=np.nan))
    assert "not measured" in answer.available_sentence(code[:0])
    recoded = code.assign(cell="codec/codec/rounding")
    assert "its own variance, and rdpipe's range coder" in answer.available_sentence(recoded)


def test_limit_has_the_bd_rate_and_the_kind_of_its_curve(bd_rates, points):
    sentence = answer.limit_sentence(bd_rates, points, CellId("codec", "element", "test-channel"))
    assert "-55.0 %" in sentence and sentence.endswith("a genie-aided estimate, not a bound.")
    assert answer.limit_sentence(bd_rates, points, CellId("zero", "codec", "test-channel")) == ""


def test_summary_for_the_comparison(tables):
    summary = answer.equal_psnr_summary(tables["bd_rates"], tables["available"])
    assert summary == {"bound": "joint", "bd_rate": -20.0, "available": 1.25}
    empty = pd.DataFrame(columns=tables["available"].columns)
    nothing = answer.equal_psnr_summary(tables["bd_rates"][:0], empty)
    assert nothing == {"bound": "none", "bd_rate": None, "available": None}


def test_limit_without_an_interval(bd_rates, points):
    cell = CellId("codec", "codec", "test-channel")
    unknown = bd_rates.assign(bd_rate_low=np.nan, bd_rate_high=np.nan)
    assert "is -12.3 % (BD-rate); it is" in answer.limit_sentence(unknown, points, cell)
