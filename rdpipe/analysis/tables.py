"""Tidy tables: a row for each point, BD-rate, term, image and real code.

Labels are stored as text; ``codec`` is empty for curves that are compared with every codec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.analysis.bd_rate import BDRate, Points, bd_rate, compare
from rdpipe.analysis.bootstrap import Resamples, interval, resampled_means
from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.decomposition import decompose, latent_mse_ratio
from rdpipe.analysis.measured_curves import Runs
from rdpipe.analysis.rates import cell_bits
from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.kinds import CurveRole
from rdpipe.core.metrics import psnr
from rdpipe.io.store import check_same_images

Draws = Mapping[str, Resamples]
"""Resamples of the images, by dataset."""
CODE_COLUMNS = (
    "dataset",
    "codec",
    "quality",
    "cell",
    "latent_mse_ratio",
    "predicted_bpp",
    "real_bpp",
    "predicted_saving",
    "real_saving",
)
"""Columns of :func:`code_frame`."""


def curve_labels(curve: Curve) -> dict[str, str]:
    """Return the columns that identify a curve."""
    return {
        "dataset": curve.dataset,
        "codec": curve.codec,
        "curve": curve.name,
        "role": str(curve.role),
        "kind": str(curve.kind),
    }


def points_frame(curves: Sequence[Curve], draws: Draws) -> pd.DataFrame:
    """Return a row for each point of each curve.

    It has the mean bit/pixel and the mean PSNR with their 95 % intervals over images, and the PSNR
    of the mean MSE.
    """
    rows = []
    for curve in curves:
        bpp, quality = curve.points()
        known = 1.0 if curve.has_images else np.nan
        low, high = interval(known * resampled_means(curve.bpp, draws[curve.dataset]))
        psnrs = resampled_means(psnr(curve.mse), draws[curve.dataset])
        psnr_low, psnr_high = interval(known * psnrs)
        psnr_of_mean_mse = known * psnr(curve.mse.mean(0))
        rows += [
            {
                **curve_labels(curve),
                "quality": point,
                "bpp": bpp[i],
                "bpp_low": low[i],
                "bpp_high": high[i],
                "psnr": quality[i],
                "psnr_low": psnr_low[i],
                "psnr_high": psnr_high[i],
                "psnr_of_mean_mse": psnr_of_mean_mse[i],
                "images": len(curve.pixels),
                "source": curve.source,
            }
            for i, point in enumerate(curve.qualities)
        ]
    return pd.DataFrame(rows)


def bd_rate_frame(curves: Sequence[Curve], draws: Draws) -> pd.DataFrame:
    """Return the BD-rate of every curve against each codec on its dataset, with its interval.

    ``overlap`` is the share of the codec's range of PSNR over which curves are compared, ``reason``
    says why a BD-rate is not defined, and ``remark`` what was left out.

    Raises
    ------
    InputError
        If two compared curves do not have the same images in the same order.
    """
    rows = []
    for codec_curve in (curve for curve in curves if curve.role is CurveRole.CODEC):
        for curve in curves:
            if curve.is_compared_with(codec_curve):
                check_same_images(codec_curve.images, curve.images, f"curve {curve.name}")
                rates = bd_rate_with_interval(codec_curve, curve, draws[curve.dataset])
                rows.append(curve_labels(curve) | {"codec": codec_curve.codec} | rates)
    return pd.DataFrame(rows)


def bd_rate_with_interval(codec_curve: Curve, curve: Curve, draws: Resamples) -> dict[str, Any]:
    """Return the BD-rate of a curve against a codec and its 95 % interval over images, per cent.

    They are columns of :func:`bd_rate_frame`. The interval is NaN if the BD-rate of a resample is
    not defined.
    """
    result = compare(Points(*codec_curve.points()), Points(*curve.points()))
    remarks, low, high = [result.remark], np.nan, np.nan
    if curve.has_images:
        samples = np.array([bd_rate(codec_curve, curve, images) for images in draws])
        low, high = map(float, interval(samples))
        remarks.append(_undefined_resamples(result, samples))
    return {
        "bd_rate": result.value,
        "bd_rate_low": low,
        "bd_rate_high": high,
        "overlap": result.overlap,
        "reason": result.reason,
        "remark": "; ".join(filter(None, remarks)),
    }


def _undefined_resamples(result: BDRate, samples: Values) -> str:
    """Return why the interval of a BD-rate is not known; empty if it is, or if there is none."""
    undefined = int(np.isnan(samples).sum())
    if not undefined or np.isnan(result.value):
        return ""
    return f"no interval: not defined in {undefined} of {len(samples)} resamples"


def image_points_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return a row for each image of each point, of which :func:`points_frame` has the averages."""
    frames = [
        pd.DataFrame(
            {
                **curve_labels(curve),
                "quality": quality,
                "image": curve.images,
                "bpp": curve.bpp[:, i],
                "psnr": psnr(curve.mse[:, i]),
            }
        )
        for curve in curves
        if curve.has_images
        for i, quality in enumerate(curve.qualities)
    ]
    return pd.concat(frames, ignore_index=True)


def term_frame(tables: Runs, arrays: Runs, limits: Mapping[str, CellId]) -> pd.DataFrame:
    """Return a row for each image and term of each decomposition, bit/pixel.

    ``total`` is one of the terms. The terms are latent-matched: ``latent_mse_ratio`` is the
    distortion of the latents relative to the codec's.
    """
    frames = []
    for (dataset, codec), run in tables.items():
        for quality, table in run.items():
            for limit, cell in limits.items():
                terms = decompose(table, arrays[dataset, codec][quality], cell)
                total = terms["total"].expand_dims(order=terms["order"], term=["total"])
                bpp = xr.concat([terms["bits"], total], "term") / terms["pixels"]
                frame = bpp.to_dataframe("bpp").reset_index()
                run_labels = {"dataset": dataset, "codec": codec, "quality": quality}
                frames.append(frame.assign(**run_labels, limit=limit, **terms.attrs))
    return pd.concat(frames, ignore_index=True)


def decomposition_frame(terms: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """Return a row for each term: mean bit/pixel over images, with its 95 % interval."""
    keys = ["dataset", "codec", "quality", "limit", "kind", "latent_mse_ratio", "order", "term"]
    rows = []
    for values, group in terms.groupby(keys, sort=False):
        labels = dict(zip(keys, values, strict=True))
        bpp = group["bpp"].to_numpy()
        low, high = interval(resampled_means(bpp, draws[labels["dataset"]]))
        rows.append(labels | {"bpp": bpp.mean(), "bpp_low": low, "bpp_high": high})
    return pd.DataFrame(rows)


def code_frame(tables: Runs, arrays: Runs, decoded: Runs) -> pd.DataFrame:
    """Return a row for each real code: bit/pixel as predicted by the array, and of decoded bytes.

    Savings are against the codec: predicted ones against its cell, real ones against its own
    bitstream. ``latent_mse_ratio`` is the distortion of the latents relative to the codec's.
    """
    rows: list[dict[str, Any]] = []
    for (dataset, codec), run in decoded.items():
        for quality, product in run.items():
            table, array = tables[dataset, codec][quality], arrays[dataset, codec][quality]
            check_same_images(table["image"].values, product["image"].values, "the decoded bytes")
            bits, pixels = cell_bits(array, table), table["pixels"]
            own_bpp = (bits.sel(BASELINE_CELL.selector()) / pixels).mean().item()
            own_real_bpp = (8 * table["bytes"] / pixels).mean().item()
            for name in product["cell"].values.tolist():
                cell = CellId.parse(name)
                predicted_bpp = (bits.sel(cell.selector()) / pixels).mean().item()
                real_bpp = (8 * product["size"].sel(cell=name) / pixels).mean().item()
                rows.append(
                    {
                        "dataset": dataset,
                        "codec": codec,
                        "quality": quality,
                        "cell": name,
                        "latent_mse_ratio": latent_mse_ratio(array, cell),
                        "predicted_bpp": predicted_bpp,
                        "real_bpp": real_bpp,
                        "predicted_saving": own_bpp - predicted_bpp,
                        "real_saving": own_real_bpp - real_bpp,
                    }
                )
    return pd.DataFrame(rows, columns=list(CODE_COLUMNS))
