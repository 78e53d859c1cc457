"""Bjontegaard delta rates."""

from __future__ import annotations

import warnings

import numpy as np

from rdpipe.analysis.curves import Curve


def bd_rate(anchor: Curve, curve: Curve, images=slice(None)) -> float:
    """Bjontegaard delta rate of a curve against an anchor, per cent; negative saves bits.

    Akima interpolation over the common range of PSNR, by the ``bjontegaard`` package; NaN where
    the two share no range, a curve has fewer than two points, or a rate is not positive (a codec
    without more than it has).
    """
    import bjontegaard  # brings matplotlib; a lazy module would be woken by PyTorch, which looks at all

    points = []
    for one in (anchor, curve):
        bpp, quality = one.points(images)
        order = np.argsort(quality)[: np.isfinite(quality).sum()]  # NaN sorts last
        points += [bpp[order], quality[order]]
    if len(points[0]) < 2 or len(points[2]) < 2 or min(*points[0], *points[2]) <= 0:
        return float("nan")
    if max(points[1][0], points[3][0]) >= min(points[1][-1], points[3][-1]):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of little overlap
        return float(
            bjontegaard.bd_rate(
                *points, method="akima", require_matching_points=False, min_overlap=0
            )
        )
