"""The summary in the terminal says only what holds at equal PSNR."""

import math

import pandas as pd
import pytest
import xarray as xr

from rdpipe.io import store
from rdpipe.stages import summarise

RUN = {"dataset": "d", "codec": "c"}
RATES = [
    ("codec/codec/test-channel", "cell", "upper bound on R(D)", -5.0),
    ("joint", "joint", "upper bound on R(D)", -10.0),
    ("codec/element/test-channel", "cell", "genie-aided estimate", -50.0),
    ("jpeg", "baseline", "achieved", float("nan")),
]


@pytest.fixture
def bounds(tmp_path):
    return write_bounds(tmp_path / "bounds.zarr.zip", "psnr")


def write_bounds(path, measure):
    """Write a store of bounds with one codec at two qualities, and a baseline."""
    point = {"curve": "codec", "role": "codec", "kind": "achieved", **RUN}
    points = [
        {**point, "quality": q, "bpp": q / 4, "psnr": 28.0 + q, "ms_ssim": 9.0 + q} for q in (1, 2)
    ]
    points.append(
        {
            **point,
            "codec": "",
            "curve": "jpeg",
            "role": "baseline",
            "quality": 5,
            "bpp": 1.0,
            "psnr": 30.0,
            "ms_ssim": 10.0,
        }
    )
    bd_rates = [
        {
            **RUN,
            "curve": curve,
            "role": role,
            "kind": kind,
            "measure": name,
            "bd_rate": rate + more,
            "bd_rate_low": rate + more - 1,
            "bd_rate_high": rate + more + 1,
            "interpolation_error": 0.125 if curve == "joint" else 0.0,
            "win_rate": 0.5,
            "defined_images": 2,
            "overlap": 1.0,
            "reason": "the curve has only one point" if math.isnan(rate) else "",
            "remark": "",
        }
        for curve, role, kind, rate in RATES
        for name, more in (("psnr", 0.0), ("psnr-of-mean-mse", 1.0), ("ms-ssim", -3.0))
    ]
    code = {"cell": "codec/calibrated/rounding", "role": "cell", "kind": "achieved"}
    rates = {"bd_rate": -0.5, "bd_rate_low": -0.75, "bd_rate_high": -0.25}
    available = [{**RUN, **code, **rates}]
    images = [
        {**row, "image": image, "bpp": bpp}
        for row in points
        for image, bpp in (("a", 1), ("1x1", 9))
    ]
    tables = {
        "points": points,
        "image_points": images,
        "bd_rates": bd_rates,
        "available": available,
        "ladder": [{**RUN, "matched_at": measure}],
    }
    with store.create(path, {}) as writer:
        for name, rows in tables.items():
            frame = pd.DataFrame(rows).rename_axis("row")
            writer.write(xr.Dataset.from_dataframe(frame), group=name)
    return path


def test_summary_is_at_equal_psnr(bounds, tmp_path, capsys):
    page = tmp_path / "report.html"
    page.touch()
    summarise.run(bounds, page)
    shown = capsys.readouterr().out
    assert "c at q1 on d: 0.250 bpp at 29.00 dB." in shown
    assert "“joint”, has a BD-rate of -10.0 % (95 % interval -11.0 to -9.0 %)" in shown
    assert "Available today: 0.50 % (0.25 to 0.75 %) in real bytes" in shown
    assert "not defined: the curve has only one point; achieved" in shown  # the baseline
    (joint,) = [line for line in shown.splitlines() if line.startswith("    joint")]
    assert joint.endswith("; another interpolation changes it by 0.12 points")
    assert shown.count("another interpolation") == 1
    assert "Warning: 1x1 alone makes up to 90 % of the mean bit/pixel" in shown
    assert str(page) in shown
    assert shown.count("c on d") == 1  # a baseline has no summary


def test_genie_is_only_in_the_table_and_marked(bounds, tmp_path, capsys):
    page = tmp_path / "report.html"
    page.touch()
    summarise.run(bounds, page)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "genie-aided" in line]
    assert line.startswith("    codec/element/test-channel") and "not a bound" in line


def test_line_of_a_bd_rate_has_the_common_range():
    row = {"curve": "jpeg", "kind": "achieved", "bd_rate": -2.0, "undefined": "not defined"}
    row |= {"bd_rate_low": -3.0, "bd_rate_high": -1.0, "common_range": "over only 25 %"}
    row |= {"interpolation": ""}
    line = summarise.bd_rate_line({**row, "remark": "1 point left out"})
    assert "-2.0 %  [-3.0, -1.0]" in line and line.endswith("; over only 25 %; 1 point left out")
    row["remark"] = ""
    unknown = dict.fromkeys(("bd_rate", "bd_rate_low", "bd_rate_high"), float("nan"))
    assert "not defined" in summarise.bd_rate_line(row | unknown)


def test_summary_is_at_the_measure_of_the_run(tmp_path, capsys):
    (tmp_path / "report.html").touch()
    bounds = write_bounds(tmp_path / "bounds.zarr.zip", "ms-ssim")
    summarise.run(bounds, tmp_path / "report.html")
    shown = capsys.readouterr().out
    assert "c at q1 on d: 0.250 bpp at 29.00 dB, MS-SSIM 10.00 dB." in shown
    assert "At equal MS-SSIM, over the curve" in shown and "equal PSNR" not in shown
    assert "“joint”, has a BD-rate of -13.0 % (95 % interval -14.0 to -12.0 %)" in shown
    (joint,) = [line for line in shown.splitlines() if line.startswith("    joint")]
    assert "-13.0 %" in joint
