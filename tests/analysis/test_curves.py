"""Points of curves, and interpolation to an equal PSNR, against closed forms."""

import numpy as np
import pytest
from small_curves import IMAGES, PIXELS, make_curve

from rdpipe.analysis.curves import Curve, at_equal_psnr
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.metrics import psnr


def test_equal_psnr_on_a_gaussian_source():
    """Levels theta of reverse water-filling: rate 1/2 log2(v/theta), error theta."""
    levels, variance = np.geomspace(0.5, 32, 7), np.array([[100.0], [400.0]])
    bits = PIXELS[:, None] * 0.5 * np.log2(variance / levels)
    mse = np.tile(levels, (2, 1))
    got_bits, got_mse = at_equal_psnr(levels[::-1], bits[:, ::-1], mse[:, ::-1], psnr(3.0).item())
    assert got_mse == pytest.approx([3.0, 3.0])
    assert got_bits == pytest.approx(PIXELS * 0.5 * np.log2(variance[:, 0] / 3.0), rel=1e-6)


def test_sweep_that_does_not_reach_the_target_is_refused():
    levels = np.array([1.0, 2.0, 4.0])
    with pytest.raises(InputError, match="do not reach 50.00 dB; add lower levels"):
        at_equal_psnr(levels, np.ones((1, 3)), levels[None], 50.0)


def test_rates_are_averaged_over_images_not_pixels():
    curve = make_curve(np.array([[1000.0], [8000.0]]), np.array([[10.0], [1000.0]]))
    bpp, quality = curve.points()
    assert bpp == pytest.approx([1.5])
    assert quality == pytest.approx([np.mean([psnr(10.0), psnr(1000.0)])])


@pytest.mark.parametrize("role", CurveRole)
def test_which_curves_are_compared_with_a_codec(role):
    """The codec column of a curve is only data: its role decides."""
    values = np.ones((2, 1))
    labels = role, BoundKind.REFERENCE, [1], values, values, PIXELS, IMAGES
    codec_curve = make_curve(values, values)
    same, without, another = (Curve("d", codec, "x", *labels) for codec in ("c", "", "b"))
    shared = role in (CurveRole.BASELINE, CurveRole.PUBLISHED)
    assert same.is_compared_with(codec_curve)
    assert without.is_compared_with(codec_curve) == another.is_compared_with(codec_curve) == shared
    assert not codec_curve.is_compared_with(codec_curve)
    assert same.has_images == (role is not CurveRole.PUBLISHED)
