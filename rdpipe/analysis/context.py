"""What a context model saves: the mean and the variance, each with and without it.

A context model predicts a mean and a variance, and what one of them saves depends on the other. The
four cells round with the codec's own step. Those with the same mean have the same y_hat; the others
round about another mean, so their distortion of the latents is equal up to the place of the grid.
See ``docs/explanation/science.md``, section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from rdpipe.analysis.curves import Values
from rdpipe.analysis.decomposition import latent_mse_ratio
from rdpipe.analysis.intervals import interval_columns
from rdpipe.analysis.measured_curves import Runs
from rdpipe.analysis.rates import cell_bits
from rdpipe.core.axes import BASELINE_CELL, CONTEXT_FREE_CELL

CONTEXT_CELLS = {
    "neither": CONTEXT_FREE_CELL,
    "mean": CONTEXT_FREE_CELL.replace(mean=BASELINE_CELL.mean),
    "variance": CONTEXT_FREE_CELL.replace(variance=BASELINE_CELL.variance),
    "both": BASELINE_CELL,
}
"""The four cells, by what has context."""
ROUNDING_STEP = "rounding-step"
"""What is equal in the four cells."""
CONTEXT_COLUMNS = (
    "dataset",
    "codec",
    "quality",
    "matched_at",
    "quantity",
    "context",
    "cell",
    "kind",
    "latent_mse_ratio",
    "bpp",
    "bpp_low",
    "bpp_high",
)
"""Columns of :func:`context_frame`."""


def context_frame(tables: Runs, arrays: Runs) -> pd.DataFrame:
    """Return the rates with and without context, and what context saves.

    Parameters
    ----------
    tables : mapping
        Tables of ``extract_latents``.
    arrays : mapping
        The four cells of each codec with a context model, from
        :func:`rdpipe.evaluation.array.evaluate_context`.

    Returns
    -------
    DataFrame
        Eight rows for each quality. ``quantity`` is ``rate`` or ``gain``, and ``context`` says what
        has context in the cell, or what the gain is of: ``mean``, ``variance``, ``both``, and
        ``interaction``, which is the gain of both minus those of mean and variance. ``bpp`` is the
        mean over images, with its 95 % t interval, of bit/pixel with side information.
        ``latent_mse_ratio`` is the distortion of the latents relative to the codec's.
    """
    rows: list[dict[str, Any]] = []
    for (dataset, codec), run in arrays.items():
        for quality, array in run.items():
            labels = {
                "dataset": dataset,
                "codec": codec,
                "quality": quality,
                "matched_at": ROUNDING_STEP,
            }
            rates = cell_rates(array, tables[dataset, codec][quality])
            for name, bpp in rates.items():
                rows.append(labels | cell_labels(array, name) | interval_columns("bpp", bpp))
            for name, bpp in gains(rates).items():
                gain = {"quantity": "gain", "context": name, "cell": "", "kind": ""}
                rows.append(labels | gain | interval_columns("bpp", bpp))
    return pd.DataFrame(rows, columns=list(CONTEXT_COLUMNS))


def cell_rates(array: xr.Dataset, table: xr.Dataset) -> dict[str, Values]:
    """Return the rate of each image in the four cells, bit/pixel.

    All four are predictions of the codec, so all include its side information, also those that no
    decoder can decode, because it has another past than the codec.
    """
    bits = cell_bits(array, table)
    return {
        name: bits.sel(cell.selector()).values / table["pixels"].values
        for name, cell in CONTEXT_CELLS.items()
    }


def gains(rates: Mapping[str, Values]) -> dict[str, Values]:
    """Return what context saves in the mean, in the variance and in both, and the interaction."""
    saved = {name: rates["neither"] - rates[name] for name in ("mean", "variance", "both")}
    interaction = saved["both"] - saved["mean"] - saved["variance"]
    return saved | {"interaction": interaction}


def cell_labels(array: xr.Dataset, name: str) -> dict[str, Any]:
    """Return the columns that describe one of the four cells."""
    cell = CONTEXT_CELLS[name]
    return {
        "quantity": "rate",
        "context": name,
        "cell": str(cell),
        "kind": str(array["kind"].sel(cell.selector()).item()),
        "latent_mse_ratio": latent_mse_ratio(array, cell),
    }
