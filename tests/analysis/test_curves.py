"""Points of curves."""

import numpy as np
import pytest
from small_curves import IMAGES, PIXELS, make_curve

from rdpipe.analysis.curves import Curve
from rdpipe.core.kinds import BoundKind, CurveRole


def test_rates_are_of_pixels_of_each_image():
    curve = make_curve(np.array([[1000.0], [8000.0]]), np.array([[10.0], [1000.0]]))
    assert curve.bpp == pytest.approx(np.array([[1.0], [2.0]]))


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
