"""What modules earn: the change against the cell without each."""

import numpy as np
import pytest
from small_curves import BITS, make_curve

from rdpipe.analysis.earned import EARNED_COLUMNS, earned_frame
from rdpipe.core.kinds import BoundKind, CurveRole

MSE = np.tile([60.0, 30.0, 12.0], (2, 1))
IMAGE = np.array([[1.0], [1.1]])
"""Factor of the rate of each image without the variance, so that the interval is not empty."""


def cell(name, factor, mse=MSE, kind=BoundKind.ACHIEVABLE):
    return make_curve(BITS * factor, mse, name=name, role=CurveRole.CELL, kind=kind)


CURVES = [
    make_curve(BITS * 3, MSE),  # the codec's real bytes, which no module is compared with
    cell("codec/codec/rounding", 1.0),
    cell("codec/channel/rounding", 1.25 * IMAGE),
    cell("zero/channel/rounding", 1.6 * IMAGE),
]


def test_saving_is_relative_to_the_rate_without_the_module():
    """All curves have the same distortions, so the change is the ratio of the mean rates."""
    rates = {curve.name: curve.bpp.mean() for curve in CURVES}
    frame = earned_frame(CURVES).set_index(["module", "measure"])
    for module, without, with_module in (
        ("variance", "codec/channel/rounding", "codec/codec/rounding"),
        ("mean", "zero/channel/rounding", "codec/channel/rounding"),
    ):
        row = frame.loc[module, "psnr"]
        assert (row["without"], row["with"]) == (without, with_module)
        expected = 100 * (rates[with_module] / rates[without] - 1)
        assert row["bd_rate"] == pytest.approx(expected, abs=1e-6)
    low, high = frame.loc["variance", "psnr"][["bd_rate_low", "bd_rate_high"]]
    assert low < frame.loc["variance", "psnr"]["bd_rate"] < high
    mean = frame.loc["mean", "psnr"]
    assert mean["bd_rate_low"] == pytest.approx(mean["bd_rate_high"], abs=1e-6)  # paired


def test_module_without_both_cells_has_no_row():
    assert set(earned_frame(CURVES[:3])["module"]) == {"variance"}
    empty = earned_frame(CURVES[:2])
    assert empty.empty and tuple(empty.columns) == EARNED_COLUMNS
