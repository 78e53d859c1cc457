"""Tidy tables of curves and codes."""

import numpy as np
import pytest
import xarray as xr
from small_curves import BITS, IMAGES, make_curve

from rdpipe.analysis.tables import bd_rate_frame, code_frame, image_points_frame, points_frame
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole

MSE = np.array([40.0, 20.0, 10.0]) * np.ones((2, 1))
BASELINE = {"role": CurveRole.BASELINE, "name": "jpeg"}


def published():
    labels = {"role": CurveRole.PUBLISHED, "kind": BoundKind.REFERENCE, "name": "theirs"}
    return make_curve(0.8 * BITS, MSE, **labels)


def test_curves_are_labeled_by_role(draws):
    curves = [make_curve(BITS, MSE), make_curve(2 * BITS, MSE, **BASELINE), published()]
    frames = [
        points_frame(curves, {"d": draws}),
        bd_rate_frame(curves, {"d": draws}),
        image_points_frame(curves),
    ]
    roles = [frame["role"].unique().tolist() for frame in frames]
    assert roles == [["codec", "baseline", "published"], ["baseline", "published"], roles[0][:2]]
    assert frames[1]["bd_rate"].tolist() == pytest.approx([100, -20])


def test_published_curves_have_no_intervals(draws):
    points = points_frame([published()], {"d": draws})
    assert points[["bpp_low", "bpp_high", "psnr_low", "psnr_of_mean_mse"]].isna().all(axis=None)
    rates = bd_rate_frame([make_curve(BITS, MSE), published()], {"d": draws})
    assert rates[["bd_rate_low", "bd_rate_high"]].isna().all(axis=None)


def test_bd_rates_have_their_overlap_reason_and_remark(draws):
    """The second quality of the first baseline is dominated; the second has an infinite PSNR."""
    dip = make_curve(BITS, MSE * [1, 3, 1], **BASELINE)
    lossless = make_curve(BITS[:, :2], MSE[:, :2] * [1, 0], **{**BASELINE, "name": "lossless"})
    rows = bd_rate_frame([make_curve(BITS, MSE), dip, lossless, published()], {"d": draws})
    assert rows["overlap"].tolist()[::2] == pytest.approx([1, 1]) and rows["overlap"].isna()[1]
    assert rows["reason"].tolist() == ["", "the curve has only one point with a finite PSNR", ""]
    assert rows["remark"].tolist()[0].startswith("the curve: 1 dominated point left out")
    assert rows["remark"].tolist()[1:] == ["the curve: 1 lossless point left out", ""]


def test_interval_that_is_not_known_has_its_reason():
    """The PSNR of image b alone falls with the rate, so one of the two resamples has no BD-rate."""
    falls = make_curve(BITS[:, :2], np.array([[40.0, 20.0], [30.0, 40.0]]), **BASELINE)
    curves = [make_curve(BITS[:, :2], MSE[:, :2]), falls]
    (row,) = bd_rate_frame(curves, {"d": np.array([[0, 0], [1, 1]])}).to_dict("records")
    assert np.isfinite(row["bd_rate"]) and np.isnan(row["bd_rate_low"]) and not row["reason"]
    assert row["remark"] == "no interval: not defined in 1 of 2 resamples"


def test_curves_of_other_images_are_refused(draws):
    """Resamples are paired by position, so the images must be the same."""
    other_order = make_curve(2 * BITS, MSE, images=IMAGES[::-1], **BASELINE)
    with pytest.raises(InputError, match="curve jpeg: image 0 is 'b'; expected 'a'"):
        bd_rate_frame([make_curve(BITS, MSE), other_order], {"d": draws})


def test_savings_of_codes_are_against_the_codec(tables, arrays):
    cells = ["codec/calibrated/rounding", "codec/codec/deadzone"]
    size = xr.Dataset(
        {"size": (("cell", "image"), [[10.0, 12.0], [8.0, 9.0]])}, {"cell": cells, "image": IMAGES}
    )
    table = tables[1].assign(bytes=("image", [12.5, 15.0]))
    key = "d", "c"
    frame = code_frame({key: {1: table}}, {key: {1: arrays[1]}}, {key: {1: size}})
    first = frame.set_index("cell").loc[cells[0]]
    assert first["predicted_saving"] == pytest.approx(0.05 * BITS[:, 0].mean() / 100)
    assert first["real_saving"] == pytest.approx(8 * (13.75 - 11) / 100)
    assert frame["latent_mse_ratio"].tolist() == pytest.approx([1, 1.2])
    swapped = size.assign_coords(image=IMAGES[::-1])
    with pytest.raises(InputError, match="the decoded bytes: image 0"):
        code_frame({key: {1: table}}, {key: {1: arrays[1]}}, {key: {1: swapped}})
