"""The reason for a BD-rate that is not defined, and the share of a common range."""

import pandas as pd
import pytest

from rdpipe.report.common_range import bd_rate_rows, common_range_text, undefined_text

CODEC = [(1.0, 29.0), (2.0, 30.0)]
NAN = float("nan")


def make_points(curve):
    """Return the points of a codec and of a curve from their (bit/pixel, PSNR)."""
    rows = [("codec", "codec", *point) for point in CODEC]
    rows += [("jpeg", "baseline", *point) for point in curve]
    return pd.DataFrame(rows, columns=["curve", "role", "bpp", "psnr"])


@pytest.mark.parametrize(
    ("curve", "text"),
    [
        ([(1.0, 29.0)], "not defined: fewer than two points"),
        ([(1.0, 29.0), (NAN, NAN)], "not defined: fewer than two points"),
        ([(0.0, 29.0), (1.0, 30.0)], "not defined: a rate is not positive"),
        ([(1.0, 31.0), (2.0, 32.0)], "not defined: no common range of PSNR"),
        (CODEC, "not defined"),
    ],
)
def test_reason_for_a_bd_rate_that_is_not_defined(curve, text):
    assert undefined_text(make_points(curve), "jpeg", "baseline") == text


@pytest.mark.parametrize(
    ("curve", "text"),
    [
        ([(1.0, 29.75), (2.0, 31.0)], "over only 25 % of the codec's PSNR range"),
        ([(1.0, 29.999), (2.0, 31.0)], "over less than 1 % of the codec's PSNR range"),
        ([(1.0, 29.5), (2.0, 31.0)], ""),
        ([(1.0, 31.0), (2.0, 32.0)], ""),
        ([(1.0, 29.75)], ""),
    ],
)
def test_common_range_is_stated_below_one_half(curve, text):
    assert common_range_text(make_points(curve), "jpeg", "baseline") == text


def test_rows_of_bd_rates_keep_their_numbers():
    bd_rates = pd.DataFrame({"curve": ["jpeg"], "role": ["baseline"], "bd_rate": [NAN]})
    (row,) = bd_rate_rows(bd_rates, make_points([(1.0, 31.0), (2.0, 32.0)]))
    assert row["undefined"].endswith("no common range of PSNR") and row["common_range"] == ""
    assert pd.isna(row["bd_rate"])
