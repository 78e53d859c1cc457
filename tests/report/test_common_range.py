"""What limits a BD-rate, in words."""

import pandas as pd
import pytest

from rdpipe.report.common_range import bd_rate_rows, common_range_text, interpolation_text


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
    assert common_range_text(overlap, "psnr") == text


def test_rows_of_bd_rates_keep_their_numbers():
    row = {"curve": "jpeg", "bd_rate": float("nan"), "overlap": 0.0, "reason": "one point"}
    defined = {"curve": "webp", "bd_rate": 1.5, "overlap": 0.25, "reason": ""}
    row |= {"interpolation_error": float("nan"), "win_rate": float("nan"), "defined_images": 0}
    defined |= {"interpolation_error": 0.25, "win_rate": 2 / 3, "defined_images": 3}
    rows = [
        {**item, "role": "baseline", "measure": measure, "bd_rate": item["bd_rate"] + more}
        | {"bd_rate_low": float("nan"), "bd_rate_high": float("nan")}
        for item in (row, defined)
        for measure, more in (("psnr", 0), ("psnr-of-mean-mse", 10), ("ms-ssim", 20))
    ]
    first, second = bd_rate_rows(pd.DataFrame(rows), "psnr")
    assert first["undefined"] == "not defined: one point" and first["common_range"] == ""
    assert pd.isna(first["bd_rate"])
    assert second["undefined"] == "" and second["bd_rate"] == 1.5
    assert second["common_range"].startswith("over only 25 %")
    assert second["interpolation"] == "another interpolation changes it by 0.25 points"
    assert [rates["bd_rate"] for rates in second["others"]] == [11.5, 21.5]
    (_, similar) = bd_rate_rows(pd.DataFrame(rows), "ms-ssim")
    assert similar["bd_rate"] == 21.5 and "of the codec's MS-SSIM range" in similar["common_range"]
    assert [rates["bd_rate"] for rates in similar["others"]] == [1.5, 11.5]
    assert [first["wins"], second["wins"]] == ["", "2 of 3"] and first["interpolation"] == ""


@pytest.mark.parametrize(
    ("bd_rate", "error", "is_stated"),
    [
        (-30.0, 0.11, True),  # more than 0.1 points
        (-30.0, 0.09, False),
        (-0.5, 0.06, True),  # more than a tenth
        (-0.5, 0.04, False),
        (0.01, 0.004, False),  # rounds to 0
        (float("nan"), float("nan"), False),
    ],
)
def test_interpolation_error_is_stated_above_a_tenth_or_a_tenth_of_a_point(
    bd_rate, error, is_stated
):
    assert bool(interpolation_text(bd_rate, error)) == is_stated
