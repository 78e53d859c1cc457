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


def only(bd_rates, curve, **values):
    """Return the BD-rate of one curve, with other values."""
    return bd_rates[bd_rates["curve"] == curve].assign(**values)


def test_best_bound_includes_joint_training_and_never_a_genie(bd_rates):
    assert answer.best_bound(bd_rates, "psnr").curve == "joint"
    assert answer.bound_sentence(bd_rates, "psnr") == (
        "At equal PSNR, over the curve: the best upper bound on R(D), “joint”, has a BD-rate of"
        " -20.0 % (95 % interval -22.0 to -18.0 %). In theory, at least 20.0 % of the bits are"
        " avoidable, with retrained transforms."
    )
    cells = bd_rates[bd_rates["curve"] != "joint"]
    assert "at least 12.3 % of the bits are avoidable, with the codec's own transforms" in (
        answer.bound_sentence(cells, "psnr")
    )


def test_bound_above_the_codec_or_no_bound_is_said(bd_rates):
    above = bd_rates.assign(bd_rate=bd_rates["bd_rate"].abs())
    assert "no upper bound on R(D) lies below the codec" in answer.bound_sentence(above, "psnr")
    assert "has a BD-rate of +12.3 %" in answer.bound_sentence(above, "psnr")
    unknown = bd_rates.assign(bd_rate=np.nan, reason="the curve has only one point")
    assert "“codec/codec/test-channel” is not defined, the curve has only one point." in (
        answer.bound_sentence(unknown, "psnr")
    )
    assert "needs a simulated curve with the test channel" in answer.bound_sentence(
        unknown[:0], "psnr"
    )
    assert answer.lever_sentence(unknown, "psnr") == ""


def test_largest_lever_with_the_codecs_own_transforms(bd_rates):
    assert answer.lever_sentence(bd_rates, "psnr") == (
        "Largest lever with the codec's own transforms: quantization (“codec/codec/test-channel”,"
        " upper bound on R(D)), worth 12.3 % (11.0 to 14.0 %) at equal PSNR."
    )
    changes = {lever.curve: lever.change for lever in answer.levers(bd_rates, "psnr")}
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


def test_saving_whose_interval_includes_0_is_not_claimed(bd_rates):
    channel = "codec/codec/test-channel"
    uncertain = only(bd_rates, channel, bd_rate=-0.4, bd_rate_low=-2.0, bd_rate_high=1.0)
    for sentence in (answer.bound_sentence, answer.lever_sentence):
        text = sentence(uncertain, "psnr")
        assert "cannot be distinguished from 0 with these images" in text
        assert "95 % interval -2.0 to +1.0 %" in text
        assert "at least" not in text and "worth" not in text


def test_saving_below_a_tenth_of_a_percent(bd_rates):
    channel = "codec/codec/test-channel"
    small = only(bd_rates, channel, bd_rate=-0.03, bd_rate_low=-0.04, bd_rate_high=-0.02)
    assert "some, but less than 0.1 %, of the bits" in answer.bound_sentence(small, "psnr")
    assert "worth less than 0.1 % at equal PSNR" in answer.lever_sentence(small, "psnr")


def test_small_common_range_of_psnr_is_stated(bd_rates):
    channel = "codec/codec/test-channel"
    for overlap, is_small in ((0.25, True), (0.5, False)):
        rates, cell = only(bd_rates, channel, overlap=overlap), CellId.parse(channel)
        for text in (
            answer.bound_sentence(rates, "psnr"),
            answer.lever_sentence(rates, "psnr"),
            answer.limit_sentence(rates, cell, "psnr"),
        ):
            assert ("over only 25 % of the codec's PSNR range" in text) == is_small
            assert ("over only" in text) == is_small


def test_what_the_modules_earn(tables):
    variance = tables["earned"]
    mean = variance.assign(module="mean", bd_rate=-21.9, bd_rate_low=float("nan"))
    both = answer.earned_sentence(pd.concat([variance, mean]), "psnr")
    assert "the variance 20.0 % (17.5 to 22.5 %), the mean 21.9 % (no 95 % interval)" in both
    alone = answer.earned_sentence(variance, "psnr")
    assert "the variance 20.0 % (17.5 to 22.5 %) (against" in alone and "the mean" not in alone
    assert answer.earned_sentence(variance.iloc[:0], "psnr") == ""


def test_available_refined_latents_say_what_they_are(tables):
    code = tables["available"].assign(cell="better", role="refined")
    sentence = answer.available_sentence(code, "psnr")
    assert "by better (refined latents, read by the codec's own decoder), at equal PSNR" in sentence


def test_available_saving_whose_interval_includes_0(tables):
    code = tables["available"].assign(bd_rate_high=0.5)
    assert "cannot be distinguished from 0" in answer.available_sentence(code, "psnr")


def test_available_today(tables):
    code = tables["available"]
    assert answer.available_sentence(code, "psnr") == (
        "Available today: 1.25 % (1.00 to 1.50 %) in real bytes, by codec/calibrated/rounding,"
        " which decodes to the codec's own pictures."
    )
    assert "by code length" in answer.available_sentence(
        code.assign(kind=BoundKind.ACHIEVABLE), "psnr"
    )
    assert "nothing" in answer.available_sentence(code.assign(bd_rate=0.0), "psnr")
    assert "two qualities or more" in answer.available_sentence(code.assign(bd_rate=np.nan), "psnr")
    assert "not measured" in answer.available_sentence(code[:0], "psnr")
    simulated = code.assign(cell="codec/calibrated/rounding/calibrated")
    assert "by codec/calibrated/rounding/calibrated, at equal PSNR." in (
        answer.available_sentence(simulated, "psnr")
    )
    recoded = code.assign(cell="codec/codec/rounding")
    assert "its own variance, and rdpipe's range coder" in answer.available_sentence(
        recoded, "psnr"
    )


def test_limit_has_the_bd_rate_and_the_kind_of_its_curve(bd_rates):
    sentence = answer.limit_sentence(bd_rates, CellId("codec", "element", "test-channel"), "psnr")
    assert "-55.0 %" in sentence and sentence.endswith("a genie-aided estimate, not a bound.")
    assert answer.limit_sentence(bd_rates, CellId("zero", "codec", "test-channel"), "psnr") == ""


def test_summary_for_the_comparison(tables):
    summary = answer.equal_picture_summary(tables["bd_rates"], tables["available"], "psnr")
    assert summary == {"bound": "joint", "bd_rate": -20.0, "available": 1.25}
    empty = pd.DataFrame(columns=tables["available"].columns)
    nothing = answer.equal_picture_summary(tables["bd_rates"][:0], empty, "psnr")
    assert nothing == {"bound": "none", "bd_rate": None, "available": None}


def test_kind_that_is_no_noun_has_no_article(bd_rates):
    cell = CellId("codec", "codec", "rounding")
    assert answer.limit_sentence(bd_rates, cell, "psnr").endswith("; it is achievable.")


def test_limit_without_an_interval(bd_rates):
    cell = CellId("codec", "codec", "test-channel")
    unknown = bd_rates.assign(bd_rate_low=np.nan, bd_rate_high=np.nan)
    assert "is -12.3 % (BD-rate; no 95 % interval); it is" in answer.limit_sentence(
        unknown, cell, "psnr"
    )


def test_saving_without_an_interval_is_not_claimed(bd_rates, tables):
    """As with one image."""
    unknown = bd_rates.assign(bd_rate_low=np.nan, bd_rate_high=np.nan)
    code = tables["available"].assign(bd_rate_low=np.nan, bd_rate_high=np.nan)
    sentences = [
        answer.bound_sentence(unknown, "psnr"),
        answer.lever_sentence(unknown, "psnr"),
        answer.available_sentence(code, "psnr"),
    ]
    for text in sentences:
        assert "no 95 % interval" in text and "needs more images to be certain" in text
        assert "at least" not in text and "worth" not in text


def test_answer_is_about_the_measure_that_is_equal(bd_rates, tables):
    """The BD-rates in MS-SSIM are 3 points higher."""
    cell = CellId("codec", "codec", "test-channel")
    texts = [
        answer.bound_sentence(bd_rates, "ms-ssim"),
        answer.lever_sentence(bd_rates, "ms-ssim"),
        answer.limit_sentence(bd_rates, cell, "ms-ssim"),
        answer.available_sentence(
            tables["available"].assign(cell="codec/calibrated/rounding/calibrated"), "ms-ssim"
        ),
    ]
    for text in texts:
        assert "equal MS-SSIM" in text and "PSNR" not in text
    assert "has a BD-rate of -17.0 % (95 % interval -19.0 to -15.0 %)" in texts[0]
    assert "worth 9.3 %" in texts[1] and "is -9.3 %" in texts[2]


def test_rate_has_the_similarity_if_it_is_the_measure(tables):
    point = next(tables["points"].itertuples())
    assert answer.rate_text(point, "psnr") == "1.000 bpp at 29.00 dB."
    assert answer.rate_text(point, "ms-ssim") == "1.000 bpp at 29.00 dB, MS-SSIM 12.00 dB."
