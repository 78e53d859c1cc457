"""Draw the figures and write the page."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pandas as pd
import xarray as xr

from rdpipe.io import store
from rdpipe.datasets import manifest
from rdpipe.io.files import write_atomically
from rdpipe.report.stage_times import stage_times
from rdpipe.core.provenance import commit, machine, versions
from rdpipe.report import figures as draw
from rdpipe.report import frames, page, pictures
from rdpipe.report.savings import savings
from rdpipe.report.style import SHOWN

TABLES = ("points", "bd_rates", "decomposition", "codes", "levers", "image_points", "image_terms")
"""Of the bounds, those that the page shows."""


def run(
    spec: dict,
    bounds: Path,
    images: list[Path],
    gaps: list[Path],
    maps: list[Path],
    manifests: list[Path],
    figures: list[Path],
    origin: dict,
    out: Path,
) -> None:
    """Write the page and every figure.

    Parameters
    ----------
    spec : dict
        The complete config.
    bounds : Path
        From ``trace_bounds``.
    images, gaps, maps : list of Path
        Of every data set, codec and quality, in the order of the shards; ``images`` are from
        ``extract_latents``, ``gaps`` those along one axis, ``maps`` from ``map_latents``.
    manifests : list of Path
        From ``prepare_dataset``, in the order of the data sets in the config.
    figures : list of Path
        ``.../DATASET/CODEC/FIGURE.SUFFIX`` to write; FIGURE is a name of
        :data:`rdpipe.report.figures.FIGURES`, SUFFIX one of svg, pdf, png and csv.
    origin : dict
        ``command`` that starts the run, and the folders of its ``benchmarks`` and ``logs``.
    out : Path
        The page, HTML.
    """
    tables = {name: store.read(bounds, name).to_dataframe() for name in TABLES}
    tables["gaps"] = pd.concat([frames.gap_frame(store.joined(run)) for run in store.runs(gaps)])
    tables["latents"] = pd.concat([frames.image_frame(store.read(path)) for path in images])
    mapped = store.runs(maps)
    roots = [store.joined(run) for run in mapped]
    groups = [[store.read(*group) for group in store.image_groups(run)[:SHOWN]] for run in mapped]
    tables |= map_tables(roots, groups, spec)
    runs = list(tables["latents"].groupby(["dataset", "codec"], sort=False).groups)
    ours = {one: of_run(tables, *one, spec) for one in runs}
    write_figures(figures, ours)
    folders = {path.parts[-3:-1]: path.parent for path in figures}
    datasets = dict(zip(spec["datasets"], map(manifest.load, manifests)))
    contents = [
        page.run_content(*one, ours[one], spec["limits"]) | {"folder": str(folders.get(one, ""))}
        for one in runs
    ]
    provenance = {
        "command": origin["command"],
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "times": stage_times(Path(origin["benchmarks"]), Path(origin["logs"])),
    }
    shown = pictures.collect(list(zip(roots, groups)), spec["limits"])
    text = page.render(contents, shown, datasets, spec, provenance)
    write_atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_figures(files: list[Path], tables: dict[tuple[str, ...], dict[str, pd.DataFrame]]) -> None:
    """Write figures in all of their formats; the tables by data set and codec."""
    for (folder, name), paths in groupby(sorted(files), lambda path: (path.parent, path.stem)):
        suffixes = [path.suffix[1:] for path in paths]
        for suffix, content in draw.render(name, suffixes, tables[folder.parts[-2:]]).items():
            write_atomically(folder / f"{name}.{suffix}", lambda temporary: temporary.write_bytes(content))


def map_tables(
    roots: list[xr.Dataset], groups: list[list[xr.Dataset]], spec: dict
) -> dict[str, pd.DataFrame]:
    """What the latents are like, of every data set, codec and quality; of the maps, the first image's."""
    first = [
        pictures.map_frame(root, each[0], spec["limits"]) for root, each in zip(roots, groups)
    ]
    return {
        "channels": pd.concat([frames.channel_frame(one, spec["limits"]) for one in roots]),
        "calibration": pd.concat([frames.calibration_frame(one, spec["bootstrap"]) for one in roots]),
        "residuals": pd.concat([frames.residual_frame(one) for one in roots]),
        "maps": pd.concat(first),
    }  # fmt: skip


def of_run(
    tables: dict[str, pd.DataFrame], dataset: str, codec: str, spec: dict
) -> dict[str, pd.DataFrame]:
    """The rows of one data set and codec, and of the data set's anchors."""
    ours = {
        name: table[(table["dataset"] == dataset) & table["codec"].isin([codec, ""])]
        for name, table in tables.items()
    }
    ours["savings"] = savings(ours["points"], ours["image_points"], spec["bootstrap"])
    return ours
