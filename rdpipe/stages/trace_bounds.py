"""Combine all measurements into curves, BD-rates and the decomposition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import xarray as xr

from rdpipe.analysis.available import available_frame, decoded_curve
from rdpipe.analysis.context import context_frame
from rdpipe.analysis.curve_terms import curve_terms
from rdpipe.analysis.curves import Curve
from rdpipe.analysis.earned import earned_frame
from rdpipe.analysis.encoder_times import encoder_seconds
from rdpipe.analysis.ladder import TERMS, RefinedRun, ladder_frame, rungs
from rdpipe.analysis.latent_matched import latent_matched_frame
from rdpipe.analysis.measured_curves import (
    Attachment,
    Runs,
    baseline_curves,
    codec_curves,
    image_sizes,
    source_curves,
)
from rdpipe.analysis.rates import matched_at
from rdpipe.analysis.references import PublishedSpec, published_curves
from rdpipe.analysis.tables import (
    bd_rate_frame,
    code_frame,
    decomposition_frame,
    image_bd_rate_frame,
    image_points_frame,
    points_frame,
    term_frame,
)
from rdpipe.core.runs import RunId
from rdpipe.core.specs import Spec
from rdpipe.io import store
from rdpipe.io.files import write_atomically
from rdpipe.stages.specs import CellNames, cell_ids


class TraceBoundsSpec(Spec, frozen=True, kw_only=True):
    """What to trace.

    Parameters
    ----------
    limits : dict
        End cells of the decomposition, by name.
    attached : dict
        Codecs that have a curve among those of another codec.
    references : dict
        Published curves by dataset.
    """

    limits: dict[str, CellNames]
    attached: dict[str, Attachment]
    references: dict[str, PublishedSpec]


def run(
    spec: TraceBoundsSpec,
    images: list[Path],
    gaps: list[Path],
    variances: list[Path],
    contexts: list[Path],
    simulations: list[Path],
    baselines: list[Path],
    decoded: list[Path],
    refined: list[Path],
    references: list[Path],
    out: Path,
    points: Path,
    bd_rates: Path,
    image_bd_rates: Path,
    decomposition: Path,
    ladder: Path,
    codes: Path,
    latent_matched: Path,
    context: Path,
) -> None:
    """Write the bounds as one store and as tidy tables.

    Parameters
    ----------
    spec : TraceBoundsSpec
    images, gaps, variances, contexts, simulations, baselines : list of Path
        Stores of every dataset, codec and quality, in the order of the shards: ``images`` from
        ``extract_latents``; ``gaps`` of component ``joint``, ``variances`` of component
        ``variance`` and ``contexts`` of component ``context`` from ``measure_gap``, for codecs that
        are not a bound for another codec; ``simulations`` from ``simulate``; ``baselines`` from
        ``run_baseline``.
    decoded : list of Path
        Stores of ``read_bitstreams``; empty if no bitstreams were written.
    refined : list of Path
        Stores of ``refine_latents``; empty if no codec is refined.
    references : list of Path
        Tables of published curves, in the sorted order of the names of the datasets.
    out : Path
        Store with the groups ``points``, ``bd_rates``, ``decomposition``, ``ladder``, ``codes``,
        ``available`` and ``earned``; the values of each image: ``image_bd_rates``,
        ``image_points`` and ``image_terms``; and what holds at equal distortion of the latents
        only, ``latent_decomposition``, ``latent_matched`` and ``context``.
    points, bd_rates, image_bd_rates, decomposition, ladder, codes, latent_matched, context : Path
        These groups as CSV; ``latent_matched`` is ``latent_decomposition``.
    """
    tables, arrays, simulated, codings = map(by_run, (images, gaps, simulations, decoded))
    same_pictures = by_run(variances)
    own_codings = {key: run for key, run in codings.items() if key in arrays}
    others = {key: run for key, run in codings.items() if key not in arrays}
    products = [store.join_shards(shards) for shards in store.group_by_run(baselines)]
    curves = (
        with_real_bytes(codec_curves(tables, simulated, arrays, spec.attached), others)
        + source_curves(source_functions(images), tables)
        + baseline_curves(products)
    )
    sizes = {dataset: image_sizes(run) for (dataset, _), run in tables.items()}
    measured = {(curve.dataset, curve.name) for curve in curves}
    curves += published_curves(spec.references, references, sizes, measured)
    analyzed = {key: run for key, run in tables.items() if key in arrays}
    latent_terms = term_frame(analyzed, arrays, cell_ids(spec.limits))
    searches = refinement_seconds(by_run(refined), tables)
    encoders = encoder_times(spec, arrays, tables, codings, searches)
    frames = make_frames(spec, curves, analyzed, simulated, same_pictures, own_codings, encoders)
    over_the_curve, ladders = curve_frames(spec, curves, tables, simulated, searches, encoders)
    frames |= {
        "ladder": ladders,
        "decomposition": pd.concat([frames["decomposition"], over_the_curve], ignore_index=True),
        "latent_decomposition": decomposition_frame(latent_terms),
        "latent_matched": latent_matched_frame(curves, latent_terms),
        "context": context_frame(tables, by_run(contexts, "context")),
    }
    with store.create(out, spec) as writer:
        for name, frame in frames.items():
            writer.write(xr.Dataset.from_dataframe(frame.rename_axis("row")), group=name)
    files = {
        "points": points,
        "bd_rates": bd_rates,
        "image_bd_rates": image_bd_rates,
        "decomposition": decomposition,
        "ladder": ladder,
        "codes": codes,
        "latent_decomposition": latent_matched,
        "context": context,
    }
    for name, path in files.items():
        save = partial(frames[name].to_csv, index=False, float_format="%.12g")
        write_atomically(path, save)


def make_frames(
    spec: TraceBoundsSpec,
    curves: list[Curve],
    tables: Runs,
    simulated: Runs,
    arrays: Runs,
    decoded: Runs,
    encoders: Mapping[tuple[str, str], Mapping[str, float]],
) -> dict[str, pd.DataFrame]:
    """Return what holds at equal pictures: tables by the name of their group."""
    image_bd_rates, limits = image_bd_rate_frame(curves), cell_ids(spec.limits)
    terms = term_frame(tables, simulated, limits)
    measure = common_measure(simulated)
    return {
        "points": points_frame(curves),
        "bd_rates": bd_rate_frame(curves, image_bd_rates),
        "decomposition": decomposition_frame(terms),
        "codes": code_frame(tables, simulated, arrays, decoded),
        "available": available_frame(curves, tables, arrays, decoded, measure, encoders),
        "earned": earned_frame(curves),
        "image_bd_rates": image_bd_rates,
        "image_points": image_points_frame(curves),
        "image_terms": terms,
    }


def with_real_bytes(curves: Sequence[Curve], decoded: Runs) -> list[Curve]:
    """Return curves; those of codecs that belong to another one, with real bytes if they have some.

    Such a codec has one cell, that of its training; none if it does not decode.
    """
    with_bytes = []
    for curve in curves:
        run = decoded.get((curve.dataset, curve.name))
        if run is not None and curve.role in TERMS and next(iter(run.values())).sizes["cell"]:
            cell = next(iter(run.values()))["cell"].item()
            coded = decoded_curve(curve, run, cell)
            curve = replace(coded, name=curve.name, role=curve.role)
        with_bytes.append(curve)
    return with_bytes


def common_measure(simulated: Runs) -> str:
    """Return the quality at which the cells of all codecs were simulated."""
    run = next(iter(simulated.values()))
    return matched_at(next(iter(run.values())))


def curve_frames(
    spec: TraceBoundsSpec,
    curves: list[Curve],
    tables: Runs,
    simulated: Runs,
    searches: Mapping[tuple[str, str], float],
    encoders: Mapping[tuple[str, str], Mapping[str, float]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return terms over the curve, and ladders, of every analyzed codec and limit."""
    terms, ladders, measure = [], [], common_measure(simulated)
    for dataset, codec in encoders:
        run, simulations = tables[dataset, codec], simulated[dataset, codec]
        times = of_dataset(searches, dataset)
        refined = [
            RefinedRun(
                name, tables[dataset, name], simulated[dataset, name], TERMS[attachment.role]
            )
            for name, attachment in spec.attached.items()
            if attachment.codec == codec and not attachment.is_bound
        ]
        bounds = ordered_bounds(spec.attached, curves, dataset, codec)
        for limit, cell in cell_ids(spec.limits).items():
            labels = {"dataset": dataset, "codec": codec, "limit": limit, "matched_at": measure}
            terms.append(curve_terms(labels, run, simulations, cell, measure))
            ladder = rungs(run, simulations, cell, refined, bounds, measure, times)
            ladders.append(ladder_frame(labels, ladder, list(run), encoders[dataset, codec]))
    return pd.concat(terms, ignore_index=True), pd.concat(ladders, ignore_index=True)


def encoder_times(
    spec: TraceBoundsSpec,
    analyzed: Collection[tuple[str, str]],
    tables: Runs,
    codings: Runs,
    searches: Mapping[tuple[str, str], float],
) -> dict[tuple[str, str], dict[str, float]]:
    """Return the times of the encoders of each analyzed codec: see :func:`encoder_seconds`."""
    times = {}
    for dataset, codec in analyzed:
        attached = {
            name: attachment.is_bound
            for name, attachment in spec.attached.items()
            if attachment.codec == codec and (dataset, name) in tables
        }
        search = of_dataset(searches, dataset)
        times[dataset, codec] = encoder_seconds((dataset, codec), attached, tables, codings, search)
    return times


def of_dataset(seconds: Mapping[tuple[str, str], float], dataset: str) -> dict[str, float]:
    """Return times on one dataset, by codec."""
    return {name: value for (of, name), value in seconds.items() if of == dataset}


def refinement_seconds(refined: Runs, tables: Runs) -> dict[tuple[str, str], float]:
    """Return the processor time of refined codecs, seconds per megapixel, by dataset and codec."""
    return {
        key: sum(table["seconds"].sum().item() for table in run.values())
        / sum(table["pixels"].sum().item() for table in tables[key].values())
        * 1e6
        for key, run in refined.items()
    }


def ordered_bounds(
    attached: Mapping[str, Attachment], curves: Sequence[Curve], dataset: str, codec: str
) -> list[Curve]:
    """Return the bounds of a codec: its own refined latents, then each network and its own."""
    bounds = {
        curve.name: curve
        for curve in curves
        if (curve.dataset, curve.codec) == (dataset, codec)
        and curve.name in attached
        and attached[curve.name].is_bound
    }
    networks = [codec, *(name for name in bounds if attached[name].network == name)]

    def place(curve: Curve) -> tuple[int, bool]:
        """Return the network of a curve, and whether its latents are refined."""
        network = attached[curve.name].network
        return networks.index(network), network != curve.name

    return sorted(bounds.values(), key=place)


def by_run(paths: list[Path], group: str | None = None) -> Runs:
    """Return stores, or one group of those that have it, by dataset and codec, then by quality.

    Qualities are in ascending order.
    """
    runs: dict[tuple[str, str], dict[int, xr.Dataset]] = defaultdict(dict)
    for shards in store.group_by_run(paths):
        if group is None or store.has_group(shards[0], group):
            product = store.join_shards(shards, group)
            run_id = RunId.from_coordinates(product)
            runs[run_id.dataset, run_id.codec][run_id.quality] = product
    return {key: dict(sorted(run.items())) for key, run in runs.items()}


def source_functions(images: list[Path]) -> dict[tuple[str, str], xr.Dataset]:
    """Return the known rate-distortion functions of sources, by dataset and codec.

    They are the same in all stores of a dataset and codec.
    """
    first: dict[tuple[str, str], Path] = {}
    for path in images:
        scalars, _ = store.read_header(path)
        first.setdefault((scalars["dataset"], scalars["codec"]), path)
    return {
        key: store.read(path, "references")
        for key, path in first.items()
        if store.has_group(path, "references")
    }
