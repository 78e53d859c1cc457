"""Aggregate everything measured into bound curves, BD-rates and the decomposition."""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe import references as published
from rdpipe import store
from rdpipe.axes import START
from rdpipe.curves import (
    Curve,
    at_equal_psnr,
    bd_rate,
    interval,
    psnr,
    resampled_means,
    resamples,
)
from rdpipe.decomposition import decompose, latent_mse
from rdpipe.errors import InputError
from rdpipe.files import write_atomically
from rdpipe.levers import lever_frame


def run(
    spec: dict,
    images: list[Path],
    gaps: list[Path],
    simulations: list[Path],
    anchors: list[Path],
    decoded: list[Path],
    references: list[Path],
    out: Path,
    points: Path,
    bd_rates: Path,
    decomposition: Path,
    codes: Path,
    levers: Path,
) -> None:
    """Write the bounds as one store and as tidy tables.

    Parameters
    ----------
    spec : dict
        ``limits`` (name to ``mean``, ``variance``, ``quantizer``), ``beside`` (codec to the one that its
        simulated curve joins), ``references`` (as :func:`rdpipe.references.curves` takes them),
        ``resamples`` and ``seed`` of the bootstrap.
    images, gaps, simulations, anchors : list of Path
        Of every data set, codec and quality, in the order of the shards; ``images`` are from
        ``extract_latents``, ``gaps`` those of component ``joint``, of the codecs that are not in ``beside``.
    decoded : list of Path
        From ``read_bitstreams``, where bitstreams were asked for.
    references : list of Path
        Tables of published curves of the data sets in the spec's ``references``, sorted by name.
    out : Path
        Store with groups ``points``, ``bd_rates``, ``decomposition``, ``codes`` and ``levers``, and
        the numbers of each image that they are averages of: ``image_points`` and ``image_terms``.
    points, bd_rates, decomposition, codes, levers : Path
        The first five as CSV.
    """
    tables, cubes, sweeps = (by_run(paths) for paths in (images, gaps, simulations))
    curves = (
        codec_curves(tables, sweeps, spec["beside"])
        + reference_curves(images, tables)
        + anchor_curves([store.joined(shards) for shards in store.runs(anchors)])
        + published.curves(
            spec["references"], references, {d: image_sizes(run) for (d, _), run in tables.items()}
        )
    )
    draws = {c.dataset: resamples(len(c.pixels), spec["resamples"], spec["seed"]) for c in curves}
    tables = {identity: run for identity, run in tables.items() if identity in cubes}
    terms = term_frame(tables, cubes, spec["limits"])
    frames = {
        "points": points_frame(curves, draws),
        "bd_rates": bd_rate_frame(curves, draws),
        "decomposition": decomposition_frame(terms, draws),
        "codes": code_frame(tables, cubes, by_run(decoded)),
        "levers": lever_frame(curves, tables, cubes, terms, draws),
        "image_points": image_frame(curves),
        "image_terms": terms,
    }
    with store.create(out, spec) as writer:
        for name, frame in frames.items():
            writer.write(xr.Dataset.from_dataframe(frame.rename_axis("row")), group=name)
    for name, path in (("points", points), ("bd_rates", bd_rates), ("decomposition", decomposition),
                       ("codes", codes), ("levers", levers)):  # fmt: skip
        save = partial(frames[name].to_csv, index=False, float_format="%.12g")
        write_atomically(path, save)


def by_run(paths: list[Path]) -> dict[tuple[str, str], dict[int, xr.Dataset]]:
    """Products by (dataset, codec), then by quality in rising order."""
    runs = defaultdict(dict)
    for product in map(store.joined, store.runs(paths)):
        identity = product["dataset"].item(), product["codec"].item()
        runs[identity][product["quality"].item()] = product
    return {identity: dict(sorted(run.items())) for identity, run in runs.items()}


def stack(run: dict[int, xr.Dataset], name: str) -> np.ndarray:
    """One variable over (image, quality)."""
    return np.stack([product[name].values for product in run.values()], 1).astype(np.float64)


def image_sizes(run: dict[int, xr.Dataset]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and names of the images, which are the same at every quality."""
    table = next(iter(run.values()))
    return table["pixels"].values, table["image"].values


def codec_curves(tables: dict, sweeps: dict, beside: dict[str, str]) -> list[Curve]:
    """The codec's own curve, and one for each simulated cell.

    Of a codec beside another one, its simulated cell under its own name, as a curve of the other's.
    """
    curves, joint = [], []
    for (dataset, codec), run in tables.items():
        images, side, sweep = image_sizes(run), stack(run, "side_bits"), sweeps[dataset, codec]
        if codec not in beside:
            own = 8 * stack(run, "bytes"), stack(run, "mse")
            kind = "achieved" if stack(run, "real").all() else "achievable"
            curves.append(Curve(dataset, codec, "codec", kind, list(run), *own, *images))
        first = next(iter(sweep.values()))
        for name in first["curve"].values.tolist():
            cell = first.sel(curve=name)
            bits, mse = cell_at_equal_psnr(name, sweep, run)
            bits = bits + side * cell["side_counted"].item()
            points = cell["kind"].item(), list(run), bits, mse, *images
            if codec in beside:
                joint.append(Curve(dataset, beside[codec], codec, *points))
            else:
                curves.append(Curve(dataset, codec, name, *points))
    return curves + joint


def cell_at_equal_psnr(name: str, sweeps: dict, run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Bits and MSE over (image, quality): swept cells at the codec's mean PSNR, others as is.

    NaN where the sweep does not reach that PSNR.
    """
    columns = []
    for quality, sweep in sweeps.items():
        cell = sweep.sel(curve=name).dropna("level", how="all")
        bits, mse, levels = cell["bits"].values, cell["mse"].values, cell["theta"].values
        if len(levels) > 1:
            target = run[quality]["psnr"].mean().item()
            try:
                columns.append(at_equal_psnr(levels, bits, mse, target))
            except InputError as error:  # the other points are worth having
                print(f"{name}, quality {quality}: {error}", file=sys.stderr)
                columns.append((np.full(len(bits), np.nan),) * 2)
        else:
            columns.append((bits[:, 0], mse[:, 0]))
    bits, mse = zip(*columns)
    return np.stack(bits, 1), np.stack(mse, 1)


def reference_curves(paths: list[Path], tables: dict) -> list[Curve]:
    """The rate-distortion functions that a codec knows of its source, if any."""
    curves = []
    first = {tuple(store.read(p)[k].item() for k in ("dataset", "codec")): p for p in paths[::-1]}
    for identity, path in first.items():
        if not store.has(path, "references"):
            continue
        pixels, images = image_sizes(tables[identity])
        for name, known in store.read(path, "references").data_vars.items():
            mse, bpp = (np.tile(axis, (len(pixels), 1)) for axis in known.values)
            points = list(range(mse.shape[1])), bpp * pixels[:, None], mse
            curves.append(Curve(*identity, name, "reference", *points, pixels, images))
    return curves


def anchor_curves(products: list[xr.Dataset]) -> list[Curve]:
    """One curve for each data set and classical codec."""
    runs = defaultdict(dict)
    for product in products:
        identity = product["dataset"].item(), product["anchor"].item()
        runs[identity][product["quality"].item()] = product
    curves = []
    for (dataset, anchor), run in runs.items():
        run = dict(sorted(run.items()))
        own = 8 * stack(run, "bytes"), stack(run, "mse")
        curves.append(Curve(dataset, "", anchor, "achieved", list(run), *own, *image_sizes(run)))
    return curves


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


def image_frame(curves: list[Curve]) -> pd.DataFrame:
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
