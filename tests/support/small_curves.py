"""Curves and arrays of two images with known rates, for tests."""

import numpy as np
import xarray as xr

from rdpipe.analysis.curves import Curve
from rdpipe.core.kinds import BoundKind, CurveRole

PIXELS = np.array([1000.0, 4000.0])
IMAGES = np.array(["a", "b"])
QUALITIES = [1, 2, 3]
BITS = np.array([100.0, 200.0, 400.0]) * np.array([[1.0], [1.2]])
"""Bits of a codec over (image, quality)."""


def make_curve(bits, mse, pixels=PIXELS, images=IMAGES, name="codec", **labels) -> Curve:
    """Return a curve of one codec; by default it is the codec's own."""
    labels = {"role": CurveRole.CODEC, "kind": BoundKind.ACHIEVED, **labels}
    qualities = list(range(1, 1 + np.shape(bits)[1]))
    return Curve(
        dataset="d",
        codec="c",
        name=name,
        qualities=qualities,
        bits=bits,
        mse=mse,
        pixels=pixels,
        images=images,
        **labels,
    )


def gaussian_curve(bpp, factor=1.0) -> Curve:
    """Return D = 100 * 2^(-2R), a memoryless Gaussian source, at ``factor`` times its rate.

    Both images have the same points.
    """
    bpp = np.asarray(bpp)
    mse = np.tile(100 * 2.0 ** (-2 * bpp), (2, 1))
    return make_curve(np.outer(PIXELS, factor * bpp), mse)


def make_array(bits: np.ndarray) -> xr.Dataset:
    """Return an array in which each estimator needs a fixed share of the codec's bits.

    The calibrated variance needs 95 %, a genie 50 %, a trellis 90 %, and a dead zone 70 % at more
    distortion.
    """
    variances, quantizers = ["codec", "calibrated", "window-3"], ["rounding", "trellis", "deadzone"]
    rates = np.outer([1.0, 0.95, 0.5], [1.0, 0.9, 0.7])[None, None] * bits[:, None, None, None]
    kind = np.array([["achievable"] * 3, ["achievable"] * 3, ["genie-aided estimate"] * 3])[None]
    distortion = np.broadcast_to([1.0, 1.0, 1.2], rates.shape)
    dims = ("image", "mean", "variance", "quantizer")
    labels = {
        "kind": (dims[1:], kind),
        "includes_side": (dims[1:], kind != "genie-aided estimate"),
    }
    names = {"mean": ["codec"], "variance": variances, "quantizer": quantizers}
    return xr.Dataset(
        {"bits": (dims, rates), "distortion": (dims, distortion)},
        {"image": ["a", "b"], **names, **labels},
    )
