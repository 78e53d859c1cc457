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
    if len(anchor_bpp) < 2 or len(bpp) < 2 or min(*anchor_bpp, *bpp) <= 0:
        return float("nan")
    if max(anchor_psnr[0], quality[0]) >= min(anchor_psnr[-1], quality[-1]):
        return float("nan")
    options = {"method": "akima", "require_matching_points": False, "min_overlap": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a small overlap
        return float(bjontegaard.bd_rate(anchor_bpp, anchor_psnr, bpp, quality, **options))


def _rising_points(curve: Curve, images: Selection) -> tuple[Values, Values]:
    """Return the points with a finite PSNR, in order of PSNR."""
    bpp, quality = curve.points(images)
    order = np.argsort(quality)[: np.isfinite(quality).sum()]  # NaN is sorted last
    return bpp[order], quality[order]
