"""A row for each point, BD-rate, term, image and real code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.core.axes import START
from rdpipe.analysis.curves import Curve
from rdpipe.analysis.bd_rate import bd_rate
from rdpipe.analysis.bootstrap import interval, resampled_means
from rdpipe.core.metrics import psnr
from rdpipe.analysis.decomposition import decompose, latent_mse


def points_frame(curves: list[Curve], draws: dict) -> pd.DataFrame:
    """A row for each point: bpp with its 95 % interval over images, and both kinds of PSNR."""
    rows = []
    for curve in curves:
        bpp, quality = curve.points()
        known = np.nan if curve.source else 1.0  # of a published curve, the images are not
        low, high = interval(known * resampled_means(curve.bpp, draws[curve.dataset]))
        psnr_low, psnr_high = interval(known * resampled_means(psnr(curve.mse), draws[curve.dataset]))
        of_mean = psnr(curve.mse.mean(0))
        for i, q in enumerate(curve.qualities):
            rows.append(
                {"dataset": curve.dataset, "codec": curve.codec, "curve": curve.name,
                 "kind": curve.kind, "quality": q, "bpp": bpp[i], "bpp_low": low[i],
                 "bpp_high": high[i], "psnr": quality[i], "psnr_low": psnr_low[i],
                 "psnr_high": psnr_high[i], "psnr_of_mean_mse": known * of_mean[i],
                 "images": len(curve.pixels), "source": curve.source}
            )  # fmt: skip
    return pd.DataFrame(rows)


def bd_rate_frame(curves: list[Curve], draws: dict) -> pd.DataFrame:
    """BD-rate of every curve against each codec of its data set, with its interval."""
    rows = []
    for codec in (curve for curve in curves if curve.name == "codec"):
        for curve in curves:
            related = curve.dataset == codec.dataset and curve.codec in (codec.codec, "")
            if related and curve is not codec:
                own = [] if curve.source else draws[codec.dataset]
                samples = [bd_rate(codec, curve, images) for images in own]
                low, high = interval(np.array(samples)) if samples else (np.nan, np.nan)
                rows.append(
                    {"dataset": codec.dataset, "codec": codec.codec, "curve": curve.name,
                     "kind": curve.kind, "bd_rate": bd_rate(codec, curve), "bd_rate_low": low,
                     "bd_rate_high": high}
                )  # fmt: skip
    return pd.DataFrame(rows)


def image_points_frame(curves: list[Curve]) -> pd.DataFrame:
    """A row for each image of each point: what the points are averages of."""
    frames = []
    for curve in (one for one in curves if not one.source):  # of those only averages are known
        for i, quality in enumerate(curve.qualities):
            frames.append(
                pd.DataFrame(
                    {
                        "dataset": curve.dataset,
                        "codec": curve.codec,
                        "curve": curve.name,
                        "kind": curve.kind,
                        "quality": quality,
                        "image": curve.images,
                        "bpp": curve.bpp[:, i],
                        "psnr": psnr(curve.mse[:, i]),
                    }
                )  # fmt: skip
            )
    return pd.concat(frames, ignore_index=True)


def term_frame(tables: dict, cubes: dict, limits: dict) -> pd.DataFrame:
    """A row for each image and term of each decomposition, bit/pixel; ``total`` is one of the terms."""
    frames = []
    for (dataset, codec), run in tables.items():
        for quality, table in run.items():
            for limit, corner in limits.items():
                terms = decompose(table, cubes[dataset, codec][quality], corner)
                total = terms["total"].expand_dims(order=terms["order"], term=["total"])
                bpp = xr.concat([terms["bits"], total], "term") / terms["pixels"]
                frame = bpp.to_dataframe("bpp").reset_index()
                frames.append(
                    frame.assign(dataset=dataset, codec=codec, quality=quality, limit=limit,
                                 **terms.attrs)
                )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def decomposition_frame(terms: pd.DataFrame, draws: dict) -> pd.DataFrame:
    """A row for each term: mean bit/pixel over images, with its 95 % interval."""
    keys = ["dataset", "codec", "quality", "limit", "kind", "latent_mse", "order", "term"]
    rows = []
    for values, group in terms.groupby(keys, sort=False):
        bpp = group["bpp"].to_numpy()
        low, high = interval(resampled_means(bpp, draws[values[0]]))
        rows.append(dict(zip(keys, values)) | {"bpp": bpp.mean(), "bpp_low": low, "bpp_high": high})
    return pd.DataFrame(rows)


def code_frame(tables: dict, cubes: dict, decoded: dict) -> pd.DataFrame:
    """A row for each real code: bit/pixel as the array predicts and as the decoded bytes have.

    Savings are against the codec as it is: its cell, and its own bitstream. ``latent_mse`` is the
    distortion of the latents relative to it.
    """
    rows = []
    for (dataset, codec), run in decoded.items():
        for quality, product in run.items():
            table, cube = tables[dataset, codec][quality], cubes[dataset, codec][quality]
            bits = cube["bits"] + cube["side_counted"] * table["side_bits"]
            own = (bits.sel(START) / table["pixels"]).mean().item()
            own_real = (8 * table["bytes"] / table["pixels"]).mean().item()
            for name in product["cell"].values.tolist():
                corner = dict(zip(START, name.split("/")))
                predicted = (bits.sel(corner) / table["pixels"]).mean().item()
                real = (8 * product["size"].sel(cell=name) / table["pixels"]).mean().item()
                rows.append(
                    {"dataset": dataset, "codec": codec, "quality": quality, "cell": name,
                     "latent_mse": latent_mse(cube, corner), "predicted_bpp": predicted, "real_bpp": real,
                     "predicted_saving": own - predicted, "real_saving": own_real - real}
                )  # fmt: skip
    columns = ["dataset", "codec", "quality", "cell", "latent_mse", "predicted_bpp", "real_bpp",
               "predicted_saving", "real_saving"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
