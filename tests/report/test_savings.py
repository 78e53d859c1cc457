"""Savings at equal PSNR."""

import numpy as np
import pytest

from rdpipe.report.savings import image_savings, savings


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


def test_savings_of_an_image_are_at_the_quality_of_its_own_picture(tables):
    """The second image has 0.01 bit/pixel more in all curves."""
    saved = image_savings(tables["image_points"], "codec/codec/test-channel", "psnr")
    assert saved["one", 1] == pytest.approx(100 * 0.2 / 1.0)
    assert saved["one", 2] == pytest.approx(100 * 0.2 / 2.0)
    assert {quality for _, quality in saved} == {1, 2} and len(saved) == 4
    points = tables["image_points"]
    far = points["psnr"] + 0.5 * (points["curve"] == "codec/codec/test-channel")
    inside = image_savings(points.assign(psnr=far), "codec/codec/test-channel", "psnr")
    assert {quality for _, quality in inside} == {2}
    assert inside["one", 2] > saved["one", 2]
    assert image_savings(points, "no such curve", "psnr") == {}
