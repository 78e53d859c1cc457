"""Draw the figures and write the page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from rdpipe import store
from rdpipe.config import AXES, COMPONENTS
from rdpipe.datasets import manifest
from rdpipe.files import write_atomically
from rdpipe.provenance import versions
from rdpipe.report import figures as draw
from rdpipe.report import page

TABLES = ("points", "bd_rates", "decomposition", "codes", "image_terms")
"""Of the bounds, those that the page shows."""


def run(
    spec: dict,
    bounds: Path,
    latents: list[Path],
    gaps: list[Path],
    manifests: list[Path],
    figures: list[Path],
    out: Path,
) -> None:
    """Write the page and every figure.

    Parameters
    ----------
    spec : dict
        The complete config.
    bounds : Path
        From ``trace_bounds``.
    latents, gaps : list of Path
        Of every data set, codec and quality; ``gaps`` are those along one axis.
    manifests : list of Path
        From ``prepare_dataset``, in the order of the data sets in the config.
    figures : list of Path
        ``.../DATASET/CODEC/FIGURE.svg`` or ``.png`` to write; FIGURE is a name of
        :data:`rdpipe.report.figures.FIGURES`.
    out : Path
        The page, HTML.
    """
    tables = {name: store.read(bounds, name).to_dataframe() for name in TABLES}
    tables["gaps"] = pd.concat([gap_frame(store.read(path)) for path in gaps])
    tables["latents"] = pd.concat([image_frame(store.read(path)) for path in latents])
    for path in figures:
        dataset, codec = path.parts[-3:-1]
        figure = draw.render(path.stem, path.suffix[1:], of_run(tables, dataset, codec))
        write_atomically(path, lambda temporary: temporary.write_bytes(figure))
    runs = tables["latents"].groupby(["dataset", "codec"], sort=False).groups
    datasets = dict(zip(spec["datasets"], map(manifest.load, manifests)))
    contents = [page.run_content(*one, of_run(tables, *one), spec["limits"]) for one in runs]
    text = page.render(contents, datasets, spec, versions())
    write_atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def of_run(tables: dict[str, pd.DataFrame], dataset: str, codec: str) -> dict[str, pd.DataFrame]:
    """The rows of one data set and codec, and of the data set's anchors."""
    return {
        name: table[(table["dataset"] == dataset) & table["codec"].isin([codec, ""])]
        for name, table in tables.items()
    }


def image_frame(table: xr.Dataset) -> pd.DataFrame:
    """A row for each image."""
    return table.to_dataframe().reset_index()


def gap_frame(cube: xr.Dataset) -> pd.DataFrame:
    """A row for each estimator along the axis of a gap: mean bit/pixel and bit/latent over images."""
    axis = COMPONENTS[cube["component"].item()]
    bits = cube["bits"].squeeze([other for other in AXES if other != axis])
    rates = xr.Dataset(
        {"bpp": (bits / cube["pixels"]).mean("image"),
         "per_latent": bits.sum("image") / cube["elements"].sum()}
    )  # fmt: skip
    names = {axis: "estimator", f"{axis}_information": "information"}
    keep = [*names.values(), "dataset", "codec", "quality", "component", "bpp", "per_latent"]
    return rates.to_dataframe().reset_index().rename(columns=names)[keep]
