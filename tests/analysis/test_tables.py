"""Tidy tables of curves and codes."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from small_curves import BITS, IMAGES, PIXELS, make_curve

from rdpipe.analysis.references import read_tables
from rdpipe.analysis.tables import (
    bd_rate_frame,
    code_frame,
    decomposition_frame,
    image_bd_rate_frame,
    image_points_frame,
    points_frame,
)
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.metrics import psnr

MSE = np.array([40.0, 20.0, 10.0]) * np.ones((2, 1))
TIES = {"equal": (24, 31, 31, 36), "nearly": (24, 31, 31.0000001, 36)}
"""PSNRs of published curves with a tie."""
BASELINE = {"role": CurveRole.BASELINE, "name": "jpeg"}


def published():
    labels = {"role": CurveRole.PUBLISHED, "kind": BoundKind.REFERENCE, "name": "theirs"}
    return make_curve(0.8 * BITS, MSE, **labels)


def rates_of(curves, measure="psnr"):
    """Return the BD-rates in one measure."""
    rates = bd_rate_frame(curves, image_bd_rate_frame(curves))
    return rates[rates["measure"] == measure].reset_index(drop=True)


def test_curves_are_labeled_by_role():
    curves = [make_curve(BITS, MSE), make_curve(2 * BITS, MSE, **BASELINE), published()]
    frames = [
        points_frame(curves),
        rates_of(curves),
        image_points_frame(curves),
    ]
    roles = [frame["role"].unique().tolist() for frame in frames]
    assert roles == [["codec", "baseline", "published"], ["baseline", "published"], roles[0][:2]]
    assert frames[1]["bd_rate"].tolist() == pytest.approx([100, -20])


def test_published_curves_have_no_intervals():
    points = points_frame([published()])
    assert points[["bpp_low", "bpp_high", "psnr_low", "psnr_of_mean_mse"]].isna().all(axis=None)
    rates = rates_of([make_curve(BITS, MSE), published()])
    assert rates[["bd_rate_low", "bd_rate_high", "win_rate"]].isna().all(axis=None)
    assert rates["defined_images"].tolist() == [0]


def test_interval_of_a_rate_is_that_of_student_and_not_negative():
    bpp = BITS / 1000
    points = points_frame([make_curve(BITS, MSE, pixels=np.array([1000, 1000]))])
    half = stats.t.ppf(0.975, 1) * stats.sem(bpp)
    assert points["bpp_high"].to_numpy() == pytest.approx(bpp.mean(0) + half)
    assert points["bpp_low"].tolist() == [0, 0, 0] and (bpp.mean(0) < half).all()
    assert points["psnr_low"].tolist() == points["psnr_high"].tolist()  # the images have one PSNR


def test_one_image_has_no_interval_and_the_remark_says_so():
    image = {"pixels": np.array([1000.0]), "images": np.array(["a"])}
    curves = [
        make_curve(factor * BITS[:1], MSE[:1], **image, **labels)
        for factor, labels in ((1, {}), (2, BASELINE))
    ]
    (row,) = rates_of(curves).to_dict("records")
    assert row["bd_rate"] == pytest.approx(100) and row["remark"] == "no interval: one image"
    assert np.isnan([row["bd_rate_low"], row["bd_rate_high"]]).all()
    assert points_frame(curves)[["bpp_low", "bpp_high", "psnr_low"]].isna().all(axis=None)
    labels = {"quality": 1, "limit": "l", "kind": "achieved", "latent_mse_ratio": np.nan}
    labels |= {"matched_at": "psnr"}
    term = {"dataset": "d", "codec": "c", **labels, "order": "paper", "term": "side", "bpp": 0.5}
    (mean,) = decomposition_frame(pd.DataFrame([term])).to_dict("records")
    assert mean["bpp"] == 0.5 and np.isnan([mean["bpp_low"], mean["bpp_high"]]).all()


def test_images_have_bd_rates_of_their_own():
    """The curve needs half the bits on image a, and twice the bits on b, whose last PSNR is lost.

    The codec has no bits to compare on c, and the same bits on d.
    """
    images = {"pixels": np.full(4, 1000.0), "images": np.array(list("abcd"))}
    bits, mse = np.tile(BITS[:1], (4, 1)), np.tile(MSE[:1], (4, 1))
    own_mse = mse.copy()
    own_mse[2] = 20
    curve_mse = mse.copy()
    curve_mse[1, 2] = 0
    curves = [
        make_curve(bits, own_mse, **images),
        make_curve(bits * [[0.5], [2], [1], [1]], curve_mse, **images, **BASELINE),
        make_curve(bits[:, :1], mse[:, :1], **images, **{**BASELINE, "name": "point"}),
    ]
    rates = image_bd_rate_frame(curves)
    assert list(rates) == [
        "dataset",
        "codec",
        "curve",
        "role",
        "kind",
        "measure",
        "image",
        "bd_rate",
        "reason",
    ]
    jpeg = rates.query("curve == 'jpeg' and measure == 'psnr'").set_index("image")
    assert jpeg["bd_rate"].tolist() == pytest.approx([-50, 100, np.nan, 0], nan_ok=True)
    assert jpeg["reason"].tolist() == [
        "",
        "",
        "the anchor has the same PSNR at all its 3 points",
        "",
    ]
    of_curves = rates_of(curves).set_index("curve")
    assert of_curves.loc["jpeg", "win_rate"] == pytest.approx(1 / 3)
    assert of_curves["defined_images"].tolist() == [3, 0]
    assert np.isnan(of_curves.loc["point", "win_rate"])
    assert (image_bd_rate_frame(curves[:1]).columns == rates.columns).all()


def test_published_table_with_two_equal_psnrs(tmp_path):
    """The point of the higher rate is left out, and said; PSNRs 1e-7 apart count as equal."""
    rows = "".join(f"{name},k,{bpp},{psnr},me\n" for name, psnrs in TIES.items()
                   for bpp, psnr in zip((0.3, 0.6, 0.9, 3), psnrs, strict=True))  # fmt: skip
    (tmp_path / "table.csv").write_text("curve,kind,bpp,psnr_db,source\n" + rows)
    theirs = [
        make_curve(
            PIXELS[:, None] * table["bpp"].to_numpy(),
            np.tile(255**2 / 10 ** (table["psnr_db"].to_numpy() / 10), (2, 1)),
            role=CurveRole.PUBLISHED,
            name=name,
        )
        for name, table in read_tables([tmp_path / "table.csv"]).groupby("curve", sort=False)
    ]
    rates = rates_of([make_curve(BITS * 10, MSE * 10), *theirs])
    assert rates["curve"].tolist() == list(TIES)
    assert rates["remark"].str.startswith("the curve: 1 dominated point left out").all()
    assert np.ptp(rates["bd_rate"]) == pytest.approx(0, abs=1e-5)


def test_bd_rates_have_their_overlap_reason_and_remark():
    """The second quality of the first baseline is dominated; the second has an infinite PSNR."""
    dip = make_curve(BITS, MSE * [1, 3, 1], **BASELINE)
    lossless = make_curve(BITS[:, :2], MSE[:, :2] * [1, 0], **{**BASELINE, "name": "lossless"})
    rows = rates_of([make_curve(BITS, MSE), dip, lossless, published()])
    assert rows["overlap"].tolist()[::2] == pytest.approx([1, 1]) and rows["overlap"].isna()[1]
    assert rows["reason"].tolist() == ["", "the curve has only one point with a finite PSNR", ""]
    assert rows["remark"].tolist()[0].startswith("the curve: 1 dominated point left out")
    names = "the curve: 1 lossless point left out (infinite PSNR of a, b)"
    assert rows["remark"].tolist()[1:] == [names, ""]


def test_image_with_an_infinite_psnr_is_named_and_has_an_interval_without_the_point():
    """One image is enough for the mean PSNR to be infinite."""
    mse = MSE.copy()
    mse[1, 2] = 0
    (row,) = rates_of([make_curve(BITS, mse), make_curve(2 * BITS, MSE, **BASELINE)]).to_dict(
        "records"
    )
    assert row["remark"] == "the anchor: 1 lossless point left out (infinite PSNR of b)"
    assert row["bd_rate"] == pytest.approx(100) and row["bd_rate_low"] == pytest.approx(100)


def test_mean_mse_of_a_lossless_image_is_finite_but_not_without_the_others():
    mse = MSE.copy()
    mse[1, 2] = 0
    curves = [make_curve(BITS, mse), make_curve(2 * BITS, mse, **BASELINE)]
    (row,) = rates_of(curves, "psnr-of-mean-mse").to_dict("records")
    assert row["bd_rate"] == pytest.approx(100) and np.isnan(row["bd_rate_low"])
    assert row["remark"] == "no interval: not defined without a"


def test_interval_that_is_not_known_has_its_reason():
    """The PSNR of image b alone falls with the rate, so there is no BD-rate without image a."""
    falls = make_curve(BITS[:, :2], np.array([[40.0, 20.0], [30.0, 40.0]]), **BASELINE)
    curves = [make_curve(BITS[:, :2], MSE[:, :2]), falls]
    (row,) = rates_of(curves).to_dict("records")
    assert np.isfinite(row["bd_rate"]) and np.isnan(row["bd_rate_low"]) and not row["reason"]
    assert row["remark"] == "no interval: not defined without a"


def test_curves_of_other_images_are_refused():
    """Images are paired by position, so they must be the same."""
    other_order = make_curve(2 * BITS, MSE, images=IMAGES[::-1], **BASELINE)
    with pytest.raises(InputError, match="curve jpeg: image 0 is 'b'; expected 'a'"):
        rates_of([make_curve(BITS, MSE), other_order])


def test_savings_of_codes_are_against_the_codec(tables, arrays):
    """What was simulated is predicted at its level, another variance by the array."""
    cells = ["codec/calibrated/rounding", "codec/codec/trellis/calibrated"]
    size = xr.Dataset(
        {
            "size": (("cell", "image"), [[10.0, 12.0], [8.0, 9.0]]),
            "mse": (("cell", "image"), [[40.0, 44.0], [40.0, 44.1]]),
        },
        {"cell": cells, "image": IMAGES},
    )
    simulation = xr.Dataset(
        {"bits": (("curve", "image"), [BITS[:, 0], 0.8 * BITS[:, 0]])},
        {
            "curve": ["codec/codec/rounding", cells[1]],
            "image": IMAGES,
            "includes_side": ("curve", [True, True]),
            "kind": ("curve", ["achievable", "achievable"]),
            "measure": "psnr",
        },
    )
    table = tables[1].assign(bytes=("image", [12.5, 15.0]))
    key = "d", "c"
    runs = {key: {1: table}}, {key: {1: simulation}}, {key: {1: arrays[1]}}
    frame = code_frame(*runs, {key: {1: size}}).set_index("cell")
    first, second = (frame.loc[cell] for cell in cells)
    assert first["predicted_saving"] == pytest.approx(0.05 * BITS[:, 0].mean() / 100)
    assert second["predicted_saving"] == pytest.approx(0.2 * BITS[:, 0].mean() / 100)
    assert first["real_saving"] == pytest.approx(8 * (13.75 - 11) / 100)
    assert [first["matched_at"], second["matched_at"]] == ["same picture", "psnr"]
    assert second["psnr"] == pytest.approx(psnr([40.0, 44.1]).mean())
    assert frame["remark"].tolist() == ["", ""]
    swapped = size.assign_coords(image=IMAGES[::-1])
    with pytest.raises(InputError, match="the decoded bytes: image 0"):
        code_frame(*runs, {key: {1: swapped}})


def test_bd_rates_have_a_row_for_each_measure():
    """The MS-SSIM of the baseline is that of the codec at half the rate."""
    similarity = np.array([[0.9, 0.95, 0.975]] * 2)
    codec_curve = make_curve(BITS, MSE, ms_ssim=similarity)
    jpeg = make_curve(2 * BITS, MSE, ms_ssim=similarity, **BASELINE)
    field = make_curve(2 * BITS, MSE, **{**BASELINE, "name": "field"})
    curves = [codec_curve, jpeg, field, published()]
    of_images = image_bd_rate_frame(curves)
    rates = bd_rate_frame(curves, of_images).set_index(["curve", "measure"])
    names = ["psnr", "psnr-of-mean-mse", "ms-ssim"]
    assert rates.loc["jpeg"].index.tolist() == names
    assert rates.loc["jpeg", "bd_rate"].tolist() == pytest.approx([100, 100, 100])
    assert rates.loc["jpeg", "defined_images"].tolist() == [2, 2, 2]
    assert rates.loc["jpeg", "win_rate"].tolist() == [0, 0, 0]
    assert rates.loc["field", "bd_rate"].notna().tolist() == [True, True, False]
    assert rates.loc[("field", "ms-ssim"), "reason"] == "the curve has no known MS-SSIM"
    assert rates.loc["theirs", "reason"].tolist() == [
        "",
        "the curve has no known PSNR of the mean MSE",
        "the curve has no known MS-SSIM",
    ]
    assert of_images.groupby(["curve", "measure"]).size().to_dict() == {
        (curve, measure): 2 for curve in ("jpeg", "field") for measure in ("psnr", "ms-ssim")
    }


def test_points_have_the_quality_in_each_measure():
    """10 and 20 dB of MS-SSIM; a mean of MSE of 20."""
    mse, similarity = np.array([[10.0], [30.0]]), np.array([[0.9], [0.99]])
    (row,) = points_frame([make_curve(BITS[:, :1], mse, ms_ssim=similarity)]).to_dict("records")
    assert row["ms_ssim"] == pytest.approx(15)
    assert row["psnr_of_mean_mse"] == pytest.approx(psnr(20.0))
    assert row["psnr"] == pytest.approx(psnr(np.sqrt(300)))
    images = image_points_frame([make_curve(BITS[:, :1], mse, ms_ssim=similarity)])
    assert images["ms_ssim"].tolist() == pytest.approx([10, 20])
    assert np.isnan(points_frame([make_curve(BITS, MSE)])["ms_ssim"]).all()
