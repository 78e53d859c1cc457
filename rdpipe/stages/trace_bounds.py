"""Aggregate everything measured into bound curves, BD-rates and the decomposition."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import xarray as xr

from rdpipe.analysis import references as published
from rdpipe.io import store
from rdpipe.analysis.levers import lever_frame
from rdpipe.analysis.measured_curves import (
    anchor_curves,
    codec_curves,
    image_sizes,
    reference_curves,
)
from rdpipe.analysis.tables import (
    bd_rate_frame,
    code_frame,
    decomposition_frame,
    image_points_frame,
    points_frame,
    term_frame,
)
from rdpipe.analysis.bootstrap import resamples
from rdpipe.io.files import write_atomically


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
        + reference_curves(known_of(images), tables)
        + anchor_curves([store.joined(shards) for shards in store.runs(anchors)])
    )
    sizes = {dataset: image_sizes(run) for (dataset, _), run in tables.items()}
    taken = {(curve.dataset, curve.name) for curve in curves}
    curves += published.curves(spec["references"], references, sizes, taken)
    draws = {c.dataset: resamples(len(c.pixels), spec["resamples"], spec["seed"]) for c in curves}
    tables = {identity: run for identity, run in tables.items() if identity in cubes}
    terms = term_frame(tables, cubes, spec["limits"])
    frames = {
        "points": points_frame(curves, draws),
        "bd_rates": bd_rate_frame(curves, draws),
        "decomposition": decomposition_frame(terms, draws),
        "codes": code_frame(tables, cubes, by_run(decoded)),
        "levers": lever_frame(curves, tables, cubes, terms, draws),
        "image_points": image_points_frame(curves),
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


def known_of(images: list[Path]) -> dict[tuple[str, str], xr.Dataset]:
    """What codecs know of their sources, by (dataset, codec): the same in every product of the two."""
    first = {}
    for path in images:
        about, _ = store.head(path)
        first.setdefault((about["dataset"], about["codec"]), path)
    return {
        identity: store.read(path, "references")
        for identity, path in first.items()
        if store.has(path, "references")
    }
