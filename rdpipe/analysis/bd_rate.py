"""Bjontegaard delta rates, at equal PSNR."""

from __future__ import annotations

import warnings

import numpy as np

from rdpipe.analysis.curves import ALL_IMAGES, Curve, Selection, Values


def bd_rate(anchor: Curve, curve: Curve, images: Selection = ALL_IMAGES) -> float:
    """Return the Bjontegaard delta rate of a curve against an anchor, per cent.

    Akima interpolation over the common range of PSNR, by the ``bjontegaard`` package.

    Parameters
    ----------
    anchor, curve : Curve
        Curves on the same images.
    images : slice or array of int
        Images over which rate and PSNR are averaged.

    Returns
    -------
    float
        Negative if the curve needs fewer bits. NaN if the curves have no common range of PSNR, one
        of them has fewer than two points, or a rate is not positive.

    References
    ----------
    G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001.
    """
    # imported here because it imports matplotlib; with a lazy module, PyTorch's look at all loaded
    # modules would import it
    import bjontegaard

    anchor_bpp, anchor_psnr = _rising_points(anchor, images)
    bpp, quality = _rising_points(curve, images)
    if undefined_reason(anchor_bpp, anchor_psnr, bpp, quality):
        return float("nan")
    options = {"method": "akima", "require_matching_points": False, "min_overlap": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a small overlap
        return float(bjontegaard.bd_rate(anchor_bpp, anchor_psnr, bpp, quality, **options))


def undefined_reason(anchor_bpp: Values, anchor_psnr: Values, bpp: Values, quality: Values) -> str:
    """Return why the BD-rate of a curve is not defined; empty if it is defined.

    Parameters
    ----------
    anchor_bpp, anchor_psnr : array of shape (quality,)
        Points of the anchor with a finite PSNR, bit/pixel and dB.
    bpp, quality : array of shape (quality,)
        Points of the curve with a finite PSNR, bit/pixel and dB.
    """
    if len(anchor_bpp) < 2 or len(bpp) < 2:
        return "fewer than two points"
    if min(*anchor_bpp, *bpp) <= 0:
        return "a rate is not positive"
    if max(anchor_psnr.min(), quality.min()) >= min(anchor_psnr.max(), quality.max()):
        return "no common range of PSNR"
    return ""


def common_share(anchor_psnr: Values, quality: Values) -> float:
    """Return the share of the anchor's range of PSNR that a curve has in common with it.

    Parameters
    ----------
    anchor_psnr, quality : array of shape (quality,)
        PSNR of the points of the anchor and of the curve, dB.
    """
    low, high = anchor_psnr.min(), anchor_psnr.max()
    common = min(high, quality.max()) - max(low, quality.min())
    return float(max(common, 0) / (high - low))


def _rising_points(curve: Curve, images: Selection) -> tuple[Values, Values]:
    """Return the points with a finite PSNR, in order of PSNR."""
    bpp, quality = curve.points(images)
    order = np.argsort(quality)[: np.isfinite(quality).sum()]  # NaN is sorted last
    return bpp[order], quality[order]
