"""What closing one term of the decomposition is worth, and how much of that a real decoder can have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.core.axes import START, cell_name
from rdpipe.analysis.curves import Curve
from rdpipe.analysis.bd_rate import bd_rate
from rdpipe.analysis.bootstrap import interval
from rdpipe.analysis.decomposition import TERMS

NEGLIGIBLE = 0.005
"""BD-rate, per cent, below which a code saves nothing."""
EQUAL = 1.001
"""Most latent distortion, relative to the codec's, at which saved bits count as saved."""


def lever_frame(
    curves: list[Curve], tables: dict, cubes: dict, terms: pd.DataFrame, draws: dict
) -> pd.DataFrame:
    """The levers of every codec among some curves; tables and cubes by (dataset, codec), draws by dataset."""
    frames = []
    for own in (curve for curve in curves if curve.name == "codec"):
        identity = own.dataset, own.codec
        ours = terms[(terms["dataset"] == own.dataset) & (terms["codec"] == own.codec)]
        measured = tables[identity], cubes[identity]
        frames.append(levers(own, *measured, ours, draws[own.dataset]))
    return pd.concat(frames, ignore_index=True)


def levers(
    own: Curve,
    tables: dict[int, xr.Dataset],
    cubes: dict[int, xr.Dataset],
    terms: pd.DataFrame,
    draws: np.ndarray,
) -> pd.DataFrame:
    """BD-rate of a codec with one term of its decomposition closed, for each limit and term.

    Bits are saved at equal distortion of the latents, and the codec keeps its PSNR: what a limit saves at
    equal PSNR, through the decoder, is the BD-rate of its own curve, and may be far less.

    Parameters
    ----------
    own : Curve
        The codec's own, real bytes.
    tables, cubes : dict of int to Dataset
        The latents' table and the whole array, by quality as in ``own``.
    terms : DataFrame
        A row for each image, quality, limit, order and term, bit/pixel.
    draws : array of shape (count, images)
        Resamples of the images.

    Returns
    -------
    DataFrame
        A row for each limit and term, of the paper's order: ``bd_rate`` of the codec without it and
        ``available_bd_rate`` of the best real code that differs from the codec in the axis of that
        term alone, its cell ``available``, and their 95 % intervals over images, per cent. Such a
        code has at most the codec's latent distortion; where none saves anything, that is 0, and
        where none was measured, NaN, as for terms that are no axis.
    """
    paper = terms[terms["order"] == "paper"]
    codes = {term: real_codes(axis, own, tables, cubes) for axis, term in TERMS.items()}
    rows = []
    for (limit, term), group in paper.groupby(["limit", "term"], sort=False):
        saved = group.pivot(index="image", columns="quality", values="bpp")
        saved = saved.loc[list(own.images), own.qualities].to_numpy()
        row = {"dataset": own.dataset, "codec": own.codec, "limit": limit, "term": term}
        row |= worth(own, saved, draws)
        found = {name: worth(own, bpp, draws) for name, bpp in codes.get(term, {}).items()}
        none = 0.0 if any(np.isfinite(one["bd_rate"]) for one in found.values()) else np.nan
        best = {"available": "", "available_bd_rate": none, "available_low": none,
                "available_high": none}  # fmt: skip
        for name, value in found.items():
            if value["bd_rate"] < best["available_bd_rate"] - NEGLIGIBLE:
                best = {"available": name, "available_bd_rate": value["bd_rate"],
                        "available_low": value["bd_rate_low"],
                        "available_high": value["bd_rate_high"]}  # fmt: skip
        rows.append(row | best)
    return pd.DataFrame(rows)


def worth(own: Curve, saved: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    """BD-rate of the codec with some bit/pixel less, of shape (image, quality), and its interval."""
    without = replace(own, bits=own.bits - saved * own.pixels[:, None])
    low, high = interval(np.array([bd_rate(own, without, images) for images in draws]))
    return {"bd_rate": bd_rate(own, without), "bd_rate_low": low, "bd_rate_high": high}


def real_codes(axis: str, own: Curve, tables: dict, cubes: dict) -> dict[str, np.ndarray]:
    """Bit/pixel, of shape (image, quality), that the real codes along one axis save.

    Those that are decodable and realisable, and at every quality distort the latents no more than the
    codec does. They save against the codec's own prior, which may be no Gaussian.
    """
    first = next(iter(cubes.values()))
    saved = {}
    for name in first[axis].values.tolist():
        corner = {**START, axis: name}
        equal = all(
            (cube["distortion"].sel(corner).sum() <= EQUAL * cube["distortion"].sel(START).sum())
            for cube in cubes.values()
        )
        if name == START[axis] or first["kind"].sel(corner).item() != "achievable" or not equal:
            continue
        columns = []
        for quality in own.qualities:
            cube, table = cubes[quality], tables[quality]
            bits = cube["bits"] + cube["side_counted"] * table["side_bits"]
            own_bits = table["latent_bits"] + table["side_bits"]
            columns.append(((own_bits - bits.sel(corner)) / table["pixels"]).values)
        saved[cell_name(corner)] = np.stack(columns, 1)
    return saved
