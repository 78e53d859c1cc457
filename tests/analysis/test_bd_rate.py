"""BD-rates of curves whose rates differ by a known factor."""

import math
from dataclasses import replace

import bjontegaard
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import trapezoid
from small_curves import gaussian_curve, make_curve

from rdpipe.analysis.bd_rate import Points, bd_rate, bd_rate_interval, compare, mean_points
from rdpipe.analysis.curves import Curve
from rdpipe.analysis.measures import CURVE_MEASURES


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25])
def test_bd_rate_of_a_scaled_rate_is_the_scale(factor):
    rates = np.linspace(0.2, 1.5, 6)
    curves = gaussian_curve(rates), gaussian_curve(rates, factor)
    assert bd_rate(*curves) == pytest.approx(100 * (factor - 1))


def test_bd_rate_needs_a_common_range():
    low, high = gaussian_curve([0.1, 0.2, 0.3, 0.4]), gaussian_curve([1.1, 1.2, 1.3, 1.4])
    assert math.isnan(bd_rate(low, high))
    assert math.isnan(bd_rate(low, gaussian_curve([0.2])))


def test_negative_rate_has_no_bd_rate():
    """A rate is negative if more bits are subtracted than the codec has."""
    image = {"pixels": np.array([100.0]), "images": np.array(["a"])}
    mse = np.array([[100.0, 50.0, 20.0]])
    codec_curve = make_curve(np.array([[50.0, 90.0, 150.0]]), mse, **image)
    reduced = make_curve(np.array([[-5.0, 40.0, 90.0]]), mse, **image)
    assert np.isnan(bd_rate(codec_curve, reduced))
    assert np.isfinite(bd_rate(codec_curve, codec_curve))


ANCHOR = [(0.2, 27), (0.4, 30), (0.8, 33), (1.2, 35)]
"""bit/pixel and PSNR of the anchor of the cases below."""
NO_RANGE = "no common range of PSNR: the anchor has 27.00 to 35.00 dB"
INF, NAN = math.inf, math.nan


def points(pairs) -> Points:
    """Return points from pairs of bit/pixel and PSNR."""
    return Points(*np.array(pairs, dtype=float).T)


def integrated(anchor, curve) -> float:
    """Return the BD-rate of curves whose log rate is linear between points, by trapezoids."""
    low = max(anchor[0][1], curve[0][1])
    high = min(anchor[-1][1], curve[-1][1])
    psnr = np.linspace(low, high, 200_001)
    first, second = (
        np.interp(psnr, [q for _, q in pairs], np.log([b for b, _ in pairs]))
        for pairs in (anchor, curve)
    )
    return 100 * math.expm1(trapezoid(second - first, psnr) / (high - low))


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        ([(0.6, 32)], "the curve has only one point"),
        ([(0.6, 32), (NAN, NAN)], "the curve has only one point"),
        ([(NAN, NAN)], "the curve has no point"),
        ([(0.2, 27), (4, INF)], "the curve has only one point with a finite PSNR"),
        ([(4, INF), (5, INF)], "the curve has no point with a finite PSNR"),
        ([(0, 27), (0.4, 30)], "the curve has a rate of 0 bit/pixel, which is not positive"),
        ([(-0.1, 27), (0.4, 30)], "the curve has a rate of -0.1 bit/pixel, which is not positive"),
        ([(0.2, 30), (0.4, 30)], "the curve has the same PSNR at all its 2 points"),
        ([(0.2, 30), (0.4, 30 + 1e-7)], "the curve has the same PSNR at all its 2 points"),
        ([(0.2, 30), (0.4, 29)], "the curve has no higher PSNR at a higher rate"),
        (
            [(1.3, 36), (1.6, 38)],
            f"{NO_RANGE}, the curve 36.00 to 38.00 dB",
        ),
        (
            [(1.3, 35 - 1e-9), (1.6, 38)],
            f"{NO_RANGE}, the curve 35.00 to 38.00 dB",
        ),
    ],
)
def test_each_bd_rate_that_is_not_defined_has_its_own_reason(curve, reason):
    result = compare(points(ANCHOR), points(curve))
    assert math.isnan(result.value) and result.reason == reason
    swapped = compare(points(curve), points(ANCHOR))
    assert math.isnan(swapped.value)
    if reason.startswith("the curve"):
        assert swapped.reason == reason.replace("the curve", "the anchor")


def test_reasons_of_both_curves_are_given():
    reason = compare(points([(1, 30)]), points([(0, 29), (1, 30)])).reason
    assert reason.startswith("the anchor has only one point; the curve has a rate of 0")


@pytest.mark.parametrize(
    ("curve", "remaining", "remark"),
    [
        ([(0.2, 27), (0.4, 30), (0.6, 29.9), (1.2, 35)], [0, 1, 3], "1 dominated point"),
        ([(0.2, 27), (0.4, 30), (0.6, 30), (1.2, 35)], [0, 1, 3], "1 dominated point"),
        ([(0.2, 27), (0.4, 30), (0.6, 30 + 1e-7), (1.2, 35)], [0, 1, 3], "1 dominated point"),
        ([(0.2, 27), (0.4, 30), (0.4, 29), (1.2, 35)], [0, 1, 3], "1 dominated point"),
        ([(0.2, 27), (0.4, 35), (0.8, 35), (1.2, 35)], [0, 1], "2 dominated points"),
        ([(0.2, 27), (1.2, 35), (4, INF)], [0, 1], "1 lossless point"),
        ([(0.2, 27), (1.2, 35), (NAN, NAN)], [0, 1], "1 missing point"),
        (
            [(0.2, 27), (0.3, 26), (1.2, 35), (4, INF)],
            [0, 2],
            "1 lossless point, 1 dominated point",
        ),
    ],
)
def test_points_that_cannot_be_used_are_left_out_and_said(curve, remaining, remark):
    result = compare(points(ANCHOR), points(curve))
    expected = compare(points(ANCHOR), points([curve[i] for i in remaining]))
    assert result.value == expected.value and math.isfinite(result.value)
    assert result.remark.startswith(f"the curve: {remark} left out")
    shuffled = compare(points(ANCHOR[::-1]), points(curve[::-1]))
    assert shuffled == result


@pytest.mark.parametrize("gap", [0.002, 0.02, 0.1, 0.5])
def test_steep_curve_is_interpolated_monotonically(gap):
    """The rate rises by half within a small gap of PSNR; Akima interpolation would overshoot."""
    anchor = [(0.3, 24), (0.6, 28), (1.2, 32), (2.4, 36)]
    curve = [(0.3, 24), (0.6, 31), (0.9, 31 + gap), (3, 36)]
    result = compare(points(anchor), points(curve))
    assert result.remark == "monotone cubics, because Akima interpolation is not monotone here"
    assert result.value == pytest.approx(integrated(anchor, curve), abs=5)


def test_bd_rate_lies_between_the_extreme_ratios_of_the_rates():
    """Whatever the curves: a mean of ratios of monotone curves lies between bounds of the ratio."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        psnr = np.sort(rng.uniform(25, 40, 5)) + rng.choice([0, 1e-7, 0.02], 5)
        curve = Points(np.sort(rng.uniform(0.1, 3, 5)), rng.permutation(psnr))
        result = compare(points(ANCHOR), curve)
        if not result.reason:
            low, high = 0.1 / 1.2, 3 / 0.2
            assert low <= 1 + result.value / 100 <= high


def test_two_points_are_compared_on_straight_lines():
    """Two points each: the mean of the logarithm of the ratio is that of its ends."""
    anchor, curve = [(0.2, 27), (1.2, 35)], [(0.1, 27), (0.9, 35)]
    expected = 100 * (math.sqrt(0.5 * 0.75) - 1)
    assert compare(points(anchor), points(curve)).value == pytest.approx(expected)
    assert integrated(anchor, curve) == pytest.approx(expected)


def test_overlap_is_of_the_range_of_the_anchor():
    anchor = points([(1.0, 28.0), (2.0, 30.0)])
    for low, high, share in ((29.5, 40, 0.25), (20, 40, 1), (28.5, 29, 0.25), (31, 40, 0)):
        assert compare(anchor, points([(1, low), (2, high)])).overlap == pytest.approx(share)
    assert math.isnan(compare(anchor, points([(1, 30)])).overlap)


def test_common_range_of_three_percent_is_stated():
    result = compare(points([(0.3, 24), (3, 34)]), points([(2, 33.7), (9, 44)]))
    assert math.isfinite(result.value) and result.overlap == pytest.approx(0.03)


def test_both_interpolations_are_those_of_the_bjontegaard_package():
    """The interpolation error is the difference between its results."""
    curve = [(0.15, 26), (0.4, 30.5), (0.9, 33.2), (1.4, 36)]
    options = {"require_matching_points": False, "min_overlap": 0}
    values = {
        name: bjontegaard.bd_rate(*points(ANCHOR)[:2], *points(curve)[:2], name, **options)
        for name in ("akima", "pchip")
    }
    result = compare(points(ANCHOR), points(curve))
    assert result.value == pytest.approx(values["akima"], abs=1e-9)
    error = abs(values["akima"] - values["pchip"])
    assert result.interpolation_error == pytest.approx(error, abs=1e-9) and error > 1e-3


def test_straight_lines_have_no_interpolation_error():
    assert compare(points(ANCHOR[::3]), points([(0.1, 27), (0.9, 35)])).interpolation_error == 0
    assert math.isnan(compare(points(ANCHOR), points([(1, 30)])).interpolation_error)


def test_interval_of_two_points_is_that_of_the_log_ratio_of_their_means():
    """With equal PSNRs and two points, the BD-rate is a geometric mean of two ratios of means."""
    rng = np.random.default_rng(0)
    labels = {"pixels": np.ones(5), "images": np.arange(5).astype(str)}
    bits = np.sort(rng.uniform(0.1, 3, (2, 5, 2)), axis=-1)
    mse = np.tile([50.0, 20.0], (5, 1))
    anchor, curve = (make_curve(values, mse, **labels) for values in bits)

    def log_ratio(images):
        return np.log(bits[1, images].mean(0) / bits[0, images].mean(0)).mean()

    estimate = log_ratio(np.arange(5))
    without = np.array([log_ratio(np.delete(np.arange(5), i)) for i in range(5)])
    half = stats.t.ppf(0.975, 4) * np.sqrt(0.8 * np.sum((without - estimate) ** 2))
    low, high, reason = bd_rate_interval(anchor, curve)
    assert (low, high) == pytest.approx(
        (100 * np.expm1(estimate - half), 100 * np.expm1(estimate + half))
    )
    assert reason == "" and low < bd_rate(anchor, curve) < high


def test_dominated_point_does_not_widen_the_interval():
    """A dip of 0.1 dB in the mean that is absent without one image."""
    labels = {"pixels": np.ones(4), "images": np.array(list("abcd"))}
    quality = np.tile([27.0, 30.0, 30.2, 33.0], (4, 1))
    quality[0, 2] -= 1.2
    bits = np.tile([0.2, 0.4, 0.5, 0.8], (4, 1))
    curves = [
        make_curve(bits * factor, 255**2 / 10 ** (quality[:, index] / 10), **labels)
        for factor, index in ((1.0, [0, 1, 1, 3]), (0.9, [0, 1, 2, 3]))
    ]
    result = compare(*map(mean_points, curves))
    assert "1 dominated point left out" in result.remark
    assert result.value == pytest.approx(-10)
    assert bd_rate_interval(*curves)[:2] == pytest.approx((-10, -10))


FIVE = {"pixels": np.ones(5), "images": np.array(list("abcde"))}
MEAN_MSE, MEAN_SIMILARITY = [80.0, 40.0, 20.0, 10.0], [10.0, 13.0, 16.0, 19.0]
"""Mean MSE, and mean MS-SSIM in dB, of the anchor below."""


def curve_with_unequal_images(factor, sigma, shift) -> Curve:
    """Return a curve whose mean MSE is the same for all parameters.

    ``factor`` multiplies the rate, ``sigma`` is the lognormal spread of the MSE over images, and
    ``shift`` is added to the MS-SSIM, dB.
    """
    spread = np.exp(sigma * np.linspace(-1, 1, 5))[:, None]
    mse = spread / spread.mean() * MEAN_MSE
    similarity = 1 - 10 ** (-(np.array(MEAN_SIMILARITY) + shift + 0 * mse) / 10)
    bits = factor * np.tile([0.2, 0.4, 0.8, 1.2], (5, 1))
    return make_curve(bits, mse, ms_ssim=similarity, **FIVE)


def test_bd_rate_in_each_measure():
    """The rates have one ratio at equal mean MSE, and another at equal PSNR or MS-SSIM.

    The mean PSNR of the second curve is higher by the mean of 10 log10 of its spread, because
    images are less equal; its MS-SSIM is lower by 1 dB.
    """
    anchor, curve = (curve_with_unequal_images(1, 0, 0), curve_with_unequal_images(0.8, 2, -1))
    spread = np.exp(2 * np.linspace(-1, 1, 5))
    gain = -10 * np.log10(spread / spread.mean()).mean()
    bpp, similarity = np.array([0.2, 0.4, 0.8, 1.2]), np.array(MEAN_SIMILARITY)
    quality = 10 * np.log10(255**2 / np.array(MEAN_MSE))
    options = {"require_matching_points": False, "min_overlap": 0}
    expected = {
        "psnr": bjontegaard.bd_rate(bpp, quality, 0.8 * bpp, quality + gain, "akima", **options),
        "psnr-of-mean-mse": -20,
        "ms-ssim": bjontegaard.bd_rate(
            bpp, similarity, 0.8 * bpp, similarity - 1, "akima", **options
        ),
    }
    rates = {name: bd_rate(anchor, curve, item) for name, item in CURVE_MEASURES.items()}
    assert rates == pytest.approx(expected)
    assert rates["psnr"] < -30 and rates["ms-ssim"] > -10


def log_ratio_of_lines(bpp, quality) -> float:
    """Return the mean log-ratio of two curves of two points, by trapezoids of straight lines."""
    dense = np.linspace(quality[:, 0].max(), quality[:, 1].min(), 100_001)
    logs = [np.interp(dense, *pair) for pair in zip(quality, np.log(bpp), strict=True)]
    return float(trapezoid(logs[1] - logs[0], dense) / (dense[-1] - dense[0]))


def test_interval_at_equal_mean_mse_leaves_images_out_of_the_mean_mse():
    rng = np.random.default_rng(1)
    bits = np.sort(rng.uniform(0.1, 3, (2, 5, 2)), axis=-1)
    mse = np.array([90.0, 30.0]) * np.exp(rng.normal(0, 0.3, (2, 5, 1)))
    curves = [make_curve(*values, **FIVE) for values in zip(bits, mse, strict=True)]

    def log_ratio(images):
        quality = 10 * np.log10(255**2 / mse[:, images].mean(1))
        return log_ratio_of_lines(bits[:, images].mean(1), quality)

    estimate = log_ratio(np.arange(5))
    without = np.array([log_ratio(np.delete(np.arange(5), i)) for i in range(5)])
    half = stats.t.ppf(0.975, 4) * np.sqrt(0.8 * np.sum((without - estimate) ** 2))
    expected = [100 * np.expm1(estimate + end) for end in (-half, half)]
    measure = CURVE_MEASURES["psnr-of-mean-mse"]
    assert bd_rate_interval(*curves, measure)[:2] == pytest.approx(expected, rel=1e-6)
    assert bd_rate_interval(*curves)[:2] != pytest.approx(expected, rel=1e-2)


def test_reasons_name_the_measure():
    measure = CURVE_MEASURES["ms-ssim"]
    same = compare(points(ANCHOR), points([(0.2, 30), (0.4, 30)]), measure).reason
    apart = compare(points(ANCHOR), points([(1.3, 36), (1.6, 38)]), measure).reason
    assert same == "the curve has the same MS-SSIM at all its 2 points"
    assert apart.startswith("no common range of MS-SSIM: the anchor has 27.00 to 35.00 dB")


def test_measure_that_is_not_known_is_said_with_the_images_that_have_none():
    measure = CURVE_MEASURES["ms-ssim"]
    anchor, curve = (curve_with_unequal_images(factor, 0, 0) for factor in (1, 2))
    without = replace(curve, ms_ssim=None)
    some = replace(curve, ms_ssim=curve.ms_ssim * np.array([[1], [np.nan], [1], [1], [1]]))
    for other, names in ((without, ""), (some, " for b")):
        result = compare(mean_points(anchor, measure), mean_points(other, measure), measure)
        assert math.isnan(result.value) and result.remark == ""
        assert result.reason == f"the curve has no known MS-SSIM{names}"
        assert np.isnan(bd_rate_interval(anchor, other, measure)[:2]).all()
