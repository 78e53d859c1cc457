"""Savings at equal PSNR."""

import numpy as np
import pytest
from small_page import make_tables

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


@pytest.mark.parametrize("measure", ["psnr-of-mean-mse", "ms-ssim"])
def test_savings_at_equal_quality_in_another_measure(tables, measure):
    """One dB of the quality is one bit/pixel."""
    column = measure.replace("-", "_")
    points = tables["points"]
    of_channel = points["curve"] == "codec/codec/test-channel"
    points = points.assign(**{column: points[column] + 0.5 * of_channel})
    saved = savings(points, tables["image_points"], measure).set_index(["curve", "quality"])
    row = saved.loc["codec/codec/test-channel", 2]
    mean = np.exp((np.log(0.8) + np.log(1.8)) / 2)  # between two points, log rate is linear
    assert row["saved"] == pytest.approx(2 - mean) and row["saved"] > 0.2
    assert row[column] == points[column][points["role"] == "codec"].max()
    assert "psnr" not in saved


def test_interval_belongs_to_the_measure():
    """A curve has less PSNR than the codec on one of three images, and the same MS-SSIM."""
    tables = make_tables(("one", "two", "three"))
    points, of_images = tables["points"], tables["image_points"]
    worse = (of_images["curve"] == "codec/codec/rounding") & (of_images["image"] == "one")
    of_images = of_images.assign(psnr=of_images["psnr"] - 0.2 * worse)

    def width(measure):
        saved = savings(points, of_images, measure).set_index(["curve", "quality"])
        row = saved.loc["codec/codec/rounding", 1]
        return row["saved_high"] - row["saved_low"]

    assert width("ms-ssim") == pytest.approx(0, abs=1e-9)
    assert 0 < width("psnr") != pytest.approx(width("psnr-of-mean-mse"))


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
