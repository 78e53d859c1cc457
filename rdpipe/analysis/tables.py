"""Tidy tables: a row for each point, BD-rate, term, image and real code.

Labels are stored as text; ``codec`` is empty for curves that are compared with every codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.analysis.bd_rate import bd_rate_interval, compare, image_points, mean_points
from rdpipe.analysis.curves import Curve
from rdpipe.analysis.decomposition import decompose
from rdpipe.analysis.intervals import interval_columns, mean_interval
from rdpipe.analysis.measured_curves import Runs
from rdpipe.analysis.measures import (
    CURVE_MEASURES,
    IMAGE_MEASURES,
    MS_SSIM,
    PSNR,
    PSNR_OF_MEAN_MSE,
    Measure,
)
from rdpipe.analysis.rates import cell_bits, matched_at, select_cell
from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.metrics import psnr
from rdpipe.io.store import check_same_images

CURVE_KEYS = ("dataset", "codec", "curve", "role")
"""Columns that identify a curve that is compared with a codec."""
IMAGE_COLUMNS = (*CURVE_KEYS, "kind", "measure", "image", "bd_rate", "reason")
"""Columns of :func:`image_bd_rate_frame`."""
TIE = 1e-9
"""Change of the rate up to which two curves count as equal on an image, per cent."""
TERM_KEYS = (
    "dataset",
    "codec",
    "quality",
    "limit",
    "kind",
    "matched_at",
    "latent_mse_ratio",
    "order",
    "term",
)
"""Columns that identify a term of a decomposition."""
SAME_PICTURE = "same picture"
"""What is equal in cells whose decoder obtains the codec's own latents."""
CODE_COLUMNS = (
    "dataset",
    "codec",
    "quality",
    "cell",
    "matched_at",
    "psnr",
    "predicted_bpp",
    "real_bpp",
    "predicted_saving",
    "real_saving",
    "remark",
)
"""Columns of :func:`code_frame`."""
OTHER_PAST = (
    "no prediction: it was measured with what the codec's own rounding leaves, which a decoder of"
    " these bytes does not have"
)
"""Remark on a code whose cell was measured as a genie's."""


def curve_labels(curve: Curve) -> dict[str, str]:
    """Return the columns that identify a curve."""
    return {
        "dataset": curve.dataset,
        "codec": curve.codec,
        "curve": curve.name,
        "role": str(curve.role),
        "kind": str(curve.kind),
    }


def points_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return a row for each point of each curve.

    It has the mean bit/pixel and the mean PSNR with their 95 % t intervals over images, the PSNR of
    the mean MSE, and the mean MS-SSIM in dB. The lower end of the interval of a rate is 0 or more.
    """
    rows = []
    for curve in curves:
        bpp = curve.bpp.mean(0)
        quality, of_mean_mse, ms_ssim = (
            measure.of_mean(curve) for measure in (PSNR, PSNR_OF_MEAN_MSE, MS_SSIM)
        )
        known = 1.0 if curve.has_images else np.nan
        low, high = (known * end for end in mean_interval(curve.bpp))
        psnr_low, psnr_high = (known * end for end in mean_interval(PSNR.of_images(curve)))
        rows += [
            {
                **curve_labels(curve),
                "quality": point,
                "bpp": bpp[i],
                "bpp_low": np.maximum(low[i], 0),
                "bpp_high": high[i],
                "psnr": quality[i],
                "psnr_low": psnr_low[i],
                "psnr_high": psnr_high[i],
                "psnr_of_mean_mse": of_mean_mse[i],
                "ms_ssim": ms_ssim[i],
                "images": len(curve.pixels),
                "source": curve.source,
            }
            for i, point in enumerate(curve.qualities)
        ]
    return pd.DataFrame(rows)


def compared_curves(curves: Sequence[Curve]) -> Iterator[tuple[Curve, Curve]]:
    """Yield each codec's own curve with each of the curves that are compared with it.

    Raises
    ------
    InputError
        If two compared curves do not have the same images in the same order.
    """
    for codec_curve in (curve for curve in curves if curve.role is CurveRole.CODEC):
        for curve in curves:
            if curve.is_compared_with(codec_curve):
                check_same_images(codec_curve.images, curve.images, f"curve {curve.name}")
                yield codec_curve, curve


def image_bd_rate_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return the BD-rate of every curve against each codec on its dataset, for each image.

    It has a row for each measure of an image. ``reason`` says why a BD-rate is not defined.
    Published curves, of which only averages are known, are left out.

    Raises
    ------
    InputError
        See :func:`compared_curves`.
    """
    rows = []
    for codec_curve, curve in compared_curves(curves):
        labels = curve_labels(curve) | {"codec": codec_curve.codec}
        for measure in IMAGE_MEASURES if curve.has_images else ():
            anchors, others = image_points(codec_curve, measure), image_points(curve, measure)
            for image, anchor, other in zip(curve.images, anchors, others, strict=True):
                result = compare(anchor, other, measure)
                rates = {"bd_rate": result.value, "reason": result.reason}
                rows.append(labels | {"measure": measure.name, "image": str(image)} | rates)
    return pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))


def bd_rate_frame(curves: Sequence[Curve], image_bd_rates: pd.DataFrame) -> pd.DataFrame:
    """Return the BD-rate of every curve against each codec on its dataset, with its interval.

    It has a row for each ``measure`` of the quality that is equal. ``overlap`` is the share of the
    codec's range of quality over which curves are compared, ``reason`` says why a BD-rate is not
    defined, and ``remark`` what was left out. ``interpolation_error`` is the difference that
    another interpolation makes, percentage points. ``win_rate`` is the share of images on which the
    curve needs fewer bits, among the ``defined_images`` with a BD-rate.

    Parameters
    ----------
    curves : sequence of Curve
    image_bd_rates : DataFrame
        From :func:`image_bd_rate_frame`, for the same curves.

    Raises
    ------
    InputError
        See :func:`compared_curves`.
    """
    groups = image_bd_rates.groupby([*CURVE_KEYS, "measure"])["bd_rate"]
    wins = {key: win_columns(rates) for key, rates in groups}
    rows = []
    for codec_curve, curve in compared_curves(curves):
        labels = curve_labels(curve) | {"codec": codec_curve.codec}
        for measure in CURVE_MEASURES.values():
            key = (*(labels[name] for name in CURVE_KEYS), measure.of_one_image)
            of_images = wins.get(key, win_columns(pd.Series(dtype=float)))
            rates = bd_rate_with_interval(codec_curve, curve, measure)
            rows.append(labels | {"measure": measure.name} | rates | of_images)
    return pd.DataFrame(rows)


def win_columns(rates: pd.Series) -> dict[str, Any]:
    """Return the share of images with a negative BD-rate, and the number of defined ones."""
    defined = rates.dropna()
    share = float((defined < -TIE).mean()) if len(defined) else np.nan
    return {"win_rate": share, "defined_images": len(defined)}


def bd_rate_with_interval(codec_curve: Curve, curve: Curve, measure: Measure) -> dict[str, Any]:
    """Return the BD-rate of a curve against a codec and its 95 % interval over images, per cent.

    They are columns of :func:`bd_rate_frame`. ``remark`` says why there is no interval.
    """
    result = compare(mean_points(codec_curve, measure), mean_points(curve, measure), measure)
    interval = bd_rate_interval(codec_curve, curve, measure)
    return {
        "bd_rate": result.value,
        "bd_rate_low": interval.low,
        "bd_rate_high": interval.high,
        "interpolation_error": result.interpolation_error,
        "overlap": result.overlap,
        "reason": result.reason,
        "remark": "; ".join(filter(None, (result.remark, interval.reason))),
    }


def image_points_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return a row for each image of each point, of which :func:`points_frame` has the averages."""
    frames = [
        pd.DataFrame(
            {
                **curve_labels(curve),
                "quality": quality,
                "image": curve.images,
                "bpp": curve.bpp[:, i],
                "psnr": PSNR.of_images(curve)[:, i],
                "ms_ssim": MS_SSIM.of_images(curve)[:, i],
            }
        )
        for curve in curves
        if curve.has_images
        for i, quality in enumerate(curve.qualities)
    ]
    return pd.concat(frames, ignore_index=True)


def term_frame(tables: Runs, measured: Runs, limits: Mapping[str, CellId]) -> pd.DataFrame:
    """Return a row for each image and term of each decomposition, bit/pixel.

    ``total`` is one of the terms. ``matched_at`` is what the cells have in common.

    Parameters
    ----------
    tables : mapping
        Tables of ``extract_latents``.
    measured : mapping
        Stores of ``simulate``, or whole arrays.
    limits : mapping of str to CellId
    """
    frames = []
    for (dataset, codec), run in tables.items():
        for quality, table in run.items():
            for limit, cell in limits.items():
                terms = decompose(table, measured[dataset, codec][quality], cell)
                total = terms["total"].expand_dims(order=terms["order"], term=["total"])
                bpp = xr.concat([terms["bits"], total], "term") / terms["pixels"]
                frame = bpp.to_dataframe("bpp").reset_index()
                run_labels = {"dataset": dataset, "codec": codec, "quality": quality}
                frames.append(frame.assign(**run_labels, limit=limit, **terms.attrs))
    return pd.concat(frames, ignore_index=True)


def decomposition_frame(terms: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each term: mean bit/pixel over images, with its 95 % t interval.

    A term that was not measured is NaN.
    """
    rows = []
    for values, group in terms.groupby(list(TERM_KEYS), sort=False, dropna=False):
        labels = dict(zip(TERM_KEYS, values, strict=True))
        rows.append(labels | interval_columns("bpp", group["bpp"].to_numpy()))
    return pd.DataFrame(rows)


def code_frame(tables: Runs, simulations: Runs, arrays: Runs, decoded: Runs) -> pd.DataFrame:
    """Return a row for each real code: its predicted bit/pixel, and that of decoded bytes.

    Savings are against the codec: predicted ones against its cell, real ones against its own
    bitstream. ``matched_at`` says what is equal to the codec's picture: the quality at which the
    cell was simulated, or the picture itself. ``psnr`` is that of the decoded images.
    Predictions are NaN if the cell was not measured as a decoder codes it, and all numbers are NaN
    if it does not reach the quality; ``remark`` says why.

    Parameters
    ----------
    tables, simulations, arrays, decoded : mapping
        Tables of ``extract_latents``, stores of ``simulate``, whole arrays, and stores of
        ``read_bitstreams``.
    """
    rows: list[dict[str, Any]] = []
    for (dataset, codec), run in decoded.items():
        for quality, product in run.items():
            key = dataset, codec
            table = tables[key][quality]
            check_same_images(table["image"].values, product["image"].values, "the decoded bytes")
            simulation, array = simulations[key][quality], arrays[key][quality]
            own_bpp = mean_bpp(simulation, table, BASELINE_CELL)
            own_real_bpp = (8 * table["bytes"] / table["pixels"]).mean().item()
            for name in product["cell"].values.tolist():
                cell, code = CellId.parse(name), product.sel(cell=name)
                simulated = name in simulation["curve"].values
                measured = simulation if simulated else array
                remark = code_remark(select_cell(measured, cell))
                predicted_bpp = np.nan if remark else mean_bpp(measured, table, cell)
                real_bpp = (8 * code["size"] / table["pixels"]).mean(skipna=False).item()
                rows.append(
                    {
                        "dataset": dataset,
                        "codec": codec,
                        "quality": quality,
                        "cell": name,
                        "matched_at": matched_at(simulation) if simulated else SAME_PICTURE,
                        "psnr": psnr(code["mse"].values).mean(),
                        "predicted_bpp": predicted_bpp,
                        "real_bpp": real_bpp,
                        "predicted_saving": own_bpp - predicted_bpp,
                        "real_saving": own_real_bpp - real_bpp,
                        "remark": remark,
                    }
                )
    return pd.DataFrame(rows, columns=list(CODE_COLUMNS))


def code_remark(measured: xr.Dataset) -> str:
    """Return why what was measured of a cell predicts nothing of its bytes; empty if it does."""
    if BoundKind.parse(measured["kind"].item()) is not BoundKind.ACHIEVABLE:
        return OTHER_PAST
    reasons = filter(None, measured["reason"].values.tolist()) if "reason" in measured else ()
    return next((f"not at the quality of the codec: {reason}" for reason in reasons), "")


def mean_bpp(measured: xr.Dataset, table: xr.Dataset, cell: CellId) -> float:
    """Return the mean rate of a cell, bit/pixel; NaN if an image is not known."""
    bits = cell_bits(select_cell(measured, cell), table)
    return float((bits / table["pixels"]).mean(skipna=False).item())
