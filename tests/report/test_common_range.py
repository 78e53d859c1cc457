"""The reason for a BD-rate that is not defined, and the share of a common range."""

import pandas as pd
import pytest

from rdpipe.report.common_range import bd_rate_rows, common_range_text


@pytest.mark.parametrize(
    ("overlap", "text"),
    [
        (0.25, "over only 25 % of the codec's PSNR range"),
        (0.001, "over less than 1 % of the codec's PSNR range"),
        (0.5, ""),
        (1.0, ""),
        (0.0, ""),
        (float("nan"), ""),
    ],
)
def test_common_range_is_stated_below_one_half(overlap, text):
    assert common_range_text(overlap) == text


def test_rows_of_bd_rates_keep_their_numbers():
    row = {"curve": "jpeg", "bd_rate": float("nan"), "overlap": 0.0, "reason": "one point"}
    defined = {"curve": "webp", "bd_rate": 1.5, "overlap": 0.25, "reason": ""}
    first, second = bd_rate_rows(pd.DataFrame([row, defined]))
    assert first["undefined"] == "not defined: one point" and first["common_range"] == ""
    assert pd.isna(first["bd_rate"])
    assert second["undefined"] == "" and second["bd_rate"] == 1.5
    assert second["common_range"].startswith("over only 25 %")
