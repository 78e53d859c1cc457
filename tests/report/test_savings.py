"""Savings at equal PSNR."""

import numpy as np
import pytest

from rdpipe.report.savings import savings


def test_savings_at_equal_psnr(tables):
    saved = savings(tables["points"], tables["image_points"])
    saved = saved.set_index(["curve", "quality"])
    assert saved.loc["codec/codec/test-channel"]["saved"].to_numpy() == pytest.approx([0.2, 0.2])
    row = saved.loc["codec/codec/test-channel", 1]
    assert row["saved_low"] <= row["saved"] <= row["saved_high"]
    assert np.isnan(saved.loc["theirs", 1]["saved_low"])  # only the averages are known
    far = tables["points"].assign(psnr=lambda t: t["psnr"] + 9 * (t["curve"] == "jpeg"))
    again = savings(far, tables["image_points"])
    assert "jpeg" not in set(again["curve"])
