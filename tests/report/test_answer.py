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


def test_best_bound_includes_joint_training_and_never_a_genie(bd_rates):
    assert answer.best_bound(bd_rates).curve == "joint"
    assert answer.bound_sentence(bd_rates) == (
        "At equal PSNR, over the curve: the best upper bound on R(D), “joint”, has a BD-rate of"
        " -20.0 % (95 % interval -22.0 to -18.0 %). In theory, at least 20.0 % of the bits are"
        " avoidable, with retrained transforms."
    )
    cells = bd_rates[bd_rates["curve"] != "joint"]
    assert "at least 12.3 % of the bits are avoidable, with the codec's own transforms" in (
        answer.bound_sentence(cells)
    )


def test_bound_above_the_codec_or_no_bound_is_said(bd_rates):
    above = bd_rates.assign(bd_rate=bd_rates["bd_rate"].abs())
    assert "no upper bound on R(D) lies below the codec" in answer.bound_sentence(above)
    assert "has a BD-rate of +12.3 %" in answer.bound_sentence(above)
    unknown = bd_rates.assign(bd_rate=np.nan)
    assert "two qualities or more" in answer.bound_sentence(unknown)
    assert answer.lever_sentence(unknown) == ""


def test_largest_lever_with_the_codecs_own_transforms(bd_rates):
    assert answer.lever_sentence(bd_rates) == (
        "Largest lever with the codec's own transforms: quantization (“codec/codec/test-channel”,"
        " upper bound on R(D)), worth 12.3 % (11.0 to 14.0 %) at equal PSNR."
    )
    changes = {lever.curve: lever.change for lever in answer.levers(bd_rates)}
    assert changes == {
        "joint": "joint training",
        "codec/codec/test-channel": "quantization",
        "codec/codec/rounding": "entropy coder",
    }


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


def test_limit_has_the_bd_rate_and_the_kind_of_its_curve(bd_rates):
    sentence = answer.limit_sentence(bd_rates, CellId("codec", "element", "test-channel"))
    assert "-55.0 %" in sentence and sentence.endswith("a genie-aided estimate, not a bound.")
    assert answer.limit_sentence(bd_rates, CellId("zero", "codec", "test-channel")) == ""


def test_summary_for_the_comparison(tables):
    summary = answer.equal_psnr_summary(tables["bd_rates"], tables["available"])
    assert summary == {"bound": "joint", "bd_rate": -20.0, "available": 1.25}
    empty = pd.DataFrame(columns=tables["available"].columns)
    nothing = answer.equal_psnr_summary(tables["bd_rates"][:0], empty)
    assert nothing == {"bound": "none", "bd_rate": None, "available": None}
