"""Latent-matched change of the rate: what closing one term of the decomposition would change.

The terms are differences at equal distortion of the latents. Pictures are not equal: what a limit
saves at equal PSNR is the BD-rate of its own curve, and may be far less. The numbers here are
therefore never called a BD-rate, although they are averaged over the curve in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from rdpipe.analysis.bd_rate import bd_rate, bd_rate_interval
from rdpipe.analysis.curves import Curve, Values
from rdpipe.core.kinds import CurveRole


class Change(NamedTuple):
    """Change of a rate, averaged over the curve, and its 95 % interval over images, per cent."""

    value: float
    low: float
    high: float

    def columns(self, name: str, bound: str) -> dict[str, float]:
        """Return the change as columns ``name``, ``bound_low`` and ``bound_high``."""
        return {name: self.value, f"{bound}_low": self.low, f"{bound}_high": self.high}


def latent_matched_frame(curves: Sequence[Curve], terms: pd.DataFrame) -> pd.DataFrame:
    """Return the latent-matched changes of every codec among some curves.

    Parameters
    ----------
    curves : sequence of Curve
    terms : DataFrame
        From :func:`rdpipe.analysis.tables.term_frame`, of whole arrays.
    """
    frames = []
    for curve in (curve for curve in curves if curve.role is CurveRole.CODEC):
        own_terms = terms[(terms["dataset"] == curve.dataset) & (terms["codec"] == curve.codec)]
        frames.append(latent_matched_changes(curve, own_terms))
    return pd.concat(frames, ignore_index=True)


def latent_matched_changes(codec_curve: Curve, terms: pd.DataFrame) -> pd.DataFrame:
    """Return the change of a codec's rate if one term were closed, for each limit and term.

    Parameters
    ----------
    codec_curve : Curve
        The codec's own curve.
    terms : DataFrame
        A row for each image, quality, limit, order and term, bit/pixel.

    Returns
    -------
    DataFrame
        A row for each limit and term, in the paper's order: ``latent_matched_change``, per cent of
        the rate, with its 95 % interval over images, and the smallest and largest
        ``latent_mse_ratio`` of the limit over the qualities. A term that was not measured is NaN.
    """
    paper = terms[terms["order"] == "paper"]
    rows = []
    for (limit, term), group in paper.groupby(["limit", "term"], sort=False):
        saved = group.pivot(index="image", columns="quality", values="bpp")
        saved = saved.loc[list(codec_curve.images), codec_curve.qualities].to_numpy()
        change = rate_change(codec_curve, saved)
        name = "latent_matched_change"
        ratio = group["latent_mse_ratio"]
        labels = {
            "dataset": codec_curve.dataset,
            "codec": codec_curve.codec,
            "limit": limit,
            "term": term,
        }
        ratios = {"latent_mse_ratio_min": ratio.min(), "latent_mse_ratio_max": ratio.max()}
        rows.append(labels | change.columns(name, name) | ratios)
    return pd.DataFrame(rows)


def rate_change(codec_curve: Curve, saved: Values) -> Change:
    """Return the change of a codec's rate if some bit/pixel were saved.

    Parameters
    ----------
    codec_curve : Curve
    saved : array of shape (image, quality)
        bit/pixel.
    """
    bits = codec_curve.bits - saved * codec_curve.pixels[:, None]
    reduced = replace(codec_curve, bits=bits)
    low, high, _ = bd_rate_interval(codec_curve, reduced)
    return Change(bd_rate(codec_curve, reduced), low, high)
