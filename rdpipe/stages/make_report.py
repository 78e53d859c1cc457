"""Draw the figures and write the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from rdpipe.core.axes import CellId
from rdpipe.core.provenance import commit, machine, versions
from rdpipe.core.specs import Spec
from rdpipe.datasets import manifest
from rdpipe.io import store
from rdpipe.io.files import write_atomically
from rdpipe.report import figures as paper_figures
from rdpipe.report import frames, page, pictures
from rdpipe.report.labels import Labels, with_labels
from rdpipe.report.run_tables import Tables, select_run
from rdpipe.report.savings import savings
from rdpipe.report.stage_times import stage_times
from rdpipe.report.style import SHOWN

BOUNDS_TABLES = (
    "points",
    "bd_rates",
    "available",
    "earned",
    "decomposition",
    "ladder",
    "latent_decomposition",
    "latent_matched",
    "context",
    "codes",
    "image_points",
    "image_terms",
)
"""Groups of the store of ``trace_bounds`` that the page shows."""


class MakeReportSpec(Spec, frozen=True, kw_only=True):
    """What to report.

    Parameters
    ----------
    config : dict
        The complete config.
    """

    config: dict[str, Any]

    @property
    def limits(self) -> dict[str, CellId]:
        """End cells of the decomposition, by name."""
        return {name: CellId.from_mapping(cell) for name, cell in self.config["limits"].items()}


class Origin(Spec, frozen=True, kw_only=True):
    """Where the results come from.

    Parameters
    ----------
    command : str
        Command that starts the run.
    logs : str
        Folder of the logs.
    """

    command: str
    logs: str


def run(
    spec: MakeReportSpec,
    bounds: Path,
    images: list[Path],
    gaps: list[Path],
    maps: list[Path],
    manifests: list[Path],
    figures: list[Path],
    origin: Origin,
    labels: Path,
    out: Path,
) -> None:
    """Write the page and every figure.

    Parameters
    ----------
    spec : MakeReportSpec
    bounds : Path
        From ``trace_bounds``.
    images, gaps, maps : list of Path
        Stores of every dataset, codec and quality, in the order of the shards: ``images`` from
        ``extract_latents``, ``gaps`` along one axis from ``measure_gap``, ``maps`` from
        ``map_latents``.
    manifests : list of Path
        From ``prepare_dataset``, in the sorted order of the names of the datasets.
    figures : list of Path
        Files ``.../DATASET/CODEC/FIGURE.SUFFIX`` to write. FIGURE is a name in
        :data:`rdpipe.report.figures.FIGURES`, SUFFIX is svg, pdf, png or csv.
    origin : Origin
    labels : Path
        The labels of the config, JSON, for commands that show or draw the results again.
    out : Path
        The page, HTML.
    """
    tables = read_tables(bounds, images, gaps)
    products = read_maps(maps)
    tables |= map_tables(products, spec)
    names = spec.config["labels"]
    runs = tables["latents"][["dataset", "codec"]].drop_duplicates()
    run_tables = {
        (row.dataset, row.codec): tables_of_run(tables, row.dataset, row.codec, names)
        for row in runs.itertuples()
    }
    write_figures(figures, run_tables)
    folders = {path.parts[-3:-1]: str(path.parent) for path in figures}
    contents = [
        page.run_content(dataset, names.get(codec, codec), selected, spec.limits)
        | {"folder": folders.get((dataset, codec), "")}
        for (dataset, codec), selected in run_tables.items()
    ]
    dataset_contents = map(dataset_content, manifests)
    datasets = dict(zip(sorted(spec.config["datasets"]), dataset_contents, strict=True))
    shown = pictures.collect(products, spec.limits)
    text = page.render(contents, shown, datasets, spec.config, provenance(origin))
    for path, content in ((labels, json.dumps(names, ensure_ascii=False)), (out, text)):
        write_bytes(path, content.encode())


def dataset_content(file: Path) -> dict[str, Any]:
    """Return a manifest with the remarks on its images."""
    content = manifest.load(file)
    return {**content, "remarks": manifest.remarks(content)}


def read_tables(bounds: Path, images: list[Path], gaps: list[Path]) -> Tables:
    """Return the tables of the bounds, of the gaps along each axis and of the images."""
    tables = {name: store.read(bounds, name).to_dataframe() for name in BOUNDS_TABLES}
    gap_stores = map(store.join_shards, store.group_by_run(gaps))
    tables["gaps"] = pd.concat([frames.gap_frame(array) for array in gap_stores])
    tables["latents"] = pd.concat([frames.image_frame(store.read(path)) for path in images])
    return tables


def read_maps(maps: list[Path]) -> list[pictures.Product]:
    """Return the root of each store of maps, and the groups of the images that are shown."""
    return [
        (
            store.join_shards(shards),
            [store.read(*group) for group in store.image_groups(shards)[:SHOWN]],
        )
        for shards in store.group_by_run(maps)
    ]


def map_tables(products: Sequence[pictures.Product], spec: MakeReportSpec) -> Tables:
    """Return tables of the latents of every run; the maps are those of the first image."""
    roots: list[xr.Dataset] = [root for root, _ in products]
    limits = spec.limits
    maps = [pictures.map_frame(root, groups[0], limits) for root, groups in products]
    calibration = [frames.calibration_frame(root) for root in roots]
    return {
        "channels": pd.concat([frames.channel_frame(root, limits) for root in roots]),
        "calibration": pd.concat(calibration),
        "residuals": pd.concat([frames.residual_frame(root) for root in roots]),
        "content": pd.concat([frames.content_frame(root, limits) for root in roots]),
        "maps": pd.concat(maps),
    }


def tables_of_run(tables: Tables, dataset: str, codec: str, labels: Labels) -> Tables:
    """Return the tables of one codec on one dataset, with what its curves save."""
    selected = select_run(tables, dataset, codec, labels)
    frame = savings(selected["points"], selected["image_points"])
    return selected | with_labels({"savings": frame}, labels)


def write_figures(files: list[Path], tables: dict[tuple[str, str], Tables]) -> None:
    """Write figures in all their formats; the tables are by dataset and codec."""
    for (folder, name), paths in groupby(sorted(files), lambda path: (path.parent, path.stem)):
        suffixes = [path.suffix[1:] for path in paths]
        dataset, codec = folder.parts[-2:]
        contents = paper_figures.render(name, suffixes, tables[dataset, codec])
        for suffix, content in contents.items():
            write_bytes(folder / f"{name}.{suffix}", content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def provenance(origin: Origin) -> dict[str, Any]:
    """Return what the results were made from."""
    return {
        "command": origin.command,
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "times": stage_times(Path(origin.logs)),
    }
