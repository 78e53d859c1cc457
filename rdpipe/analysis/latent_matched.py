"""Latent-matched change of the rate: what closing one term of the decomposition would change.

The terms are differences at equal distortion of the latents. Pictures are not equal: what a limit
saves at equal PSNR is the BD-rate of its own curve, and may be far less. The numbers here are
therefore never called a BD-rate, although they are averaged over the curve in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from rdpipe.analysis.available import NEGLIGIBLE, code_length_savings, same_picture_cells
from rdpipe.analysis.bd_rate import bd_rate, bd_rate_interval
from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.measured_curves import Run, Runs
from rdpipe.core.axes import axis_named
from rdpipe.core.kinds import CurveRole


class Change(NamedTuple):
    """Change of a rate, averaged over the curve, and its 95 % interval over images, per cent."""

    value: float
    low: float
    high: float

    def columns(self, name: str, bound: str) -> dict[str, float]:
        """Return the change as columns ``name``, ``bound_low`` and ``bound_high``."""
        return {name: self.value, f"{bound}_low": self.low, f"{bound}_high": self.high}


def latent_matched_frame(
    curves: Sequence[Curve], tables: Runs, arrays: Runs, terms: pd.DataFrame
) -> pd.DataFrame:
    """Return the latent-matched changes of every codec among some curves.

    Parameters
    ----------
    curves : sequence of Curve
    tables, arrays : mapping
        Tables of ``extract_latents`` and whole arrays, by dataset and codec, then by quality.
    terms : DataFrame
        From :func:`rdpipe.analysis.tables.term_frame`.
    """
    frames = []
    for curve in (curve for curve in curves if curve.role is CurveRole.CODEC):
        key = curve.dataset, curve.codec
        own_terms = terms[(terms["dataset"] == curve.dataset) & (terms["codec"] == curve.codec)]
        frames.append(latent_matched_changes(curve, tables[key], arrays[key], own_terms))
    return pd.concat(frames, ignore_index=True)


def latent_matched_changes(
    codec_curve: Curve, tables: Run, arrays: Run, terms: pd.DataFrame
) -> pd.DataFrame:
    """Return the change of a codec's rate if one term were closed, for each limit and term.

    Parameters
    ----------
    codec_curve : Curve
        The codec's own curve.
    tables, arrays : mapping
        Tables of ``extract_latents`` and whole arrays, by quality.
    terms : DataFrame
        A row for each image, quality, limit, order and term, bit/pixel.

    Returns
    -------
    DataFrame
        A row for each limit and term, in the paper's order:

        - ``latent_matched_change``, per cent of the rate, with its 95 % interval over images, and
          the smallest and largest ``latent_mse_ratio`` of the limit over the qualities;
        - for the variance only, the best real code that differs from the codec in the variance
          alone: its cell ``available`` and ``available_bd_rate`` by code length. Its y_hat is the
          codec's own, so this is a BD-rate at equal PSNR: 0 if no code saves anything, NaN if there
          is no such code. For all other terms nothing is claimed.
    """
    paper = terms[terms["order"] == "paper"]
    code = best_code(codec_curve, tables, arrays)
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
        claimed = code if term == axis_named("variance").term else NOT_CLAIMED
        rows.append(labels | change.columns(name, name) | ratios | claimed)
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


def available_columns(cell: str, change: Change) -> dict[str, str | float]:
    """Return the columns that describe a real code; the cell is empty if there is none."""
    return {"available": cell, **change.columns("available_bd_rate", "available")}


NOT_CLAIMED = available_columns("", Change(np.nan, np.nan, np.nan))
"""Columns of terms for which nothing is claimed."""


def best_code(codec_curve: Curve, tables: Run, arrays: Run) -> dict[str, str | float]:
    """Return the columns of the best real code with another variance than the codec."""
    cells = same_picture_cells(next(iter(arrays.values())))
    changes = {
        cell: rate_change(codec_curve, code_length_savings(codec_curve, tables, arrays, cell))
        for cell in cells
    }
    known = any(np.isfinite(change.value) for change in changes.values())
    best, best_cell = Change(*3 * [0.0 if known else np.nan]), ""
    for cell, change in changes.items():
        if change.value < best.value - NEGLIGIBLE:
            best, best_cell = change, str(cell)
    return available_columns(best_cell, best)
