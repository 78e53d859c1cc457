"""The terms of the decomposition over the curve, at the quality of the codec's own pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rdpipe.analysis.curves import Values
from rdpipe.analysis.decomposition import OUTSIDE, in_paper_order, shapley_values
from rdpipe.analysis.intervals import jackknife_interval
from rdpipe.analysis.log_rate import common_range, log_rates
from rdpipe.analysis.measured_curves import Run, stack
from rdpipe.analysis.rates import cell_side_bits, select_cell
from rdpipe.core.axes import BASELINE_CELL, PAPER_ORDER, CellId, corners
from rdpipe.core.metrics import MEASURES

CURVE_COLUMNS = (
    "dataset",
    "codec",
    "limit",
    "matched_at",
    "order",
    "term",
    "log_rate",
    "log_rate_low",
    "log_rate_high",
)
"""Columns of :func:`curve_terms`."""


def curve_terms(
    labels: Mapping[str, Any], run: Run, simulations: Run, limit: CellId, measure: str = "psnr"
) -> pd.DataFrame:
    """Return the terms of the decomposition over the curve, differences of ln(rate).

    Parameters
    ----------
    labels : mapping
        ``dataset``, ``codec``, ``limit`` and ``matched_at``.
    run, simulations : mapping
        Tables of ``extract_latents`` and stores of ``simulate``, by quality.
    limit : CellId
    measure : str
        The quality that the cells have in common.

    Returns
    -------
    DataFrame
        A row for each order (``paper``, ``shapley``) and term; positive saves bits. The terms of an
        order add up to ``total``. ``log_rate`` has a 95 % interval over images.
    """
    pixels = next(iter(run.values()))["pixels"].values[:, None]
    quality = MEASURES[measure](stack(run, "mse"), stack(run, "ms_ssim"))
    side = np.stack(
        [
            cell_side_bits(select_cell(simulations[q], limit), table).values
            for q, table in run.items()
        ],
        1,
    )
    cells = {
        moved: np.stack([select_cell(simulations[q], cell)["bits"].values for q in run], 1)
        for moved, cell in corners(limit).items()
    }
    start = cells[frozenset()]
    rates: dict[Any, Values] = {
        "real": 8 * stack(run, "bytes"),
        "model": stack(run, "latent_bits") + stack(run, "side_bits"),
        "gaussian": start + stack(run, "side_bits"),
        **{moved: bits + side for moved, bits in cells.items()},
    }
    low, high = common_range([quality])
    estimates: dict[Any, Values] = {}
    left_out: dict[Any, Values] = {}
    for key, bits in rates.items():
        estimates[key], left_out[key] = log_rates(bits / pixels, quality, low, high)
    terms = zip(terms_of(estimates).items(), terms_of(left_out).values(), strict=True)
    unmeasured = [axis.term for axis in PAPER_ORDER if not _is_moved(limit, axis.name)]
    rows = []
    for ((order, term), (value,)), around in terms:
        ends = jackknife_interval(value, around, len(pixels))
        values = [value, *map(float, ends)] if term not in unmeasured else 3 * [np.nan]
        columns = zip(("log_rate", "log_rate_low", "log_rate_high"), values, strict=True)
        rows.append({**labels, "order": order, "term": term, **dict(columns)})
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def _is_moved(limit: CellId, axis: str) -> bool:
    """Return whether a limit replaces the codec's estimator along an axis."""
    return corners(limit)[frozenset({axis})] != BASELINE_CELL


def terms_of(logs: Mapping[Any, Any]) -> dict[tuple[str, str], Any]:
    """Return the terms, by order and name, from the logarithms of the rates of the corners."""
    start = logs[frozenset()]
    outside = (
        logs["real"] - logs["model"],
        logs["model"] - logs["gaussian"],
        logs["gaussian"] - start,
    )
    corner_logs = {moved: value for moved, value in logs.items() if isinstance(moved, frozenset)}
    orders = {"paper": in_paper_order(corner_logs), "shapley": shapley_values(corner_logs)}
    everything = frozenset(axis.name for axis in PAPER_ORDER)
    terms: dict[tuple[str, str], Values] = {}
    for order, saved in orders.items():
        terms |= {(order, term): value for term, value in zip(OUTSIDE, outside, strict=True)}
        terms |= {(order, axis.term): saved[axis.name] for axis in PAPER_ORDER}
        terms[order, "total"] = logs["real"] - logs[everything]
    return terms
