"""What refined latents save, over the number of steps of their refinement."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import CurveRole
from rdpipe.io import store
from rdpipe.report.common_range import of_measure
from rdpipe.report.draw_compare import MARKERS
from rdpipe.report.words import MEASURE_NAMES


def step_gains(results: Path, bd_rates: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return what the refinements of one codec save, a row for each.

    Parameters
    ----------
    results : Path
        Folder of the results of a run, with the stores of refined latents.
    bd_rates : DataFrame
        Those of one codec on one dataset.
    measure : str
        The quality that is equal.

    Returns
    -------
    DataFrame
        ``curve``, ``steps``; ``settings``, a name for those besides the steps; ``saved``, per cent
        of the bits of the codec, and its 95 % interval ``low`` and ``high``; ``seconds`` that the
        refinement takes, per megapixel; ``measure``.

    Raises
    ------
    InputError
        If no two curves differ in the number of steps alone.
    """
    rates = of_measure(bd_rates, measure)
    rates = rates[rates["role"] == CurveRole.REFINED].dropna(subset=["bd_rate"])
    rows = []
    for rate in rates.itertuples():
        folder = results / rate.dataset / rate.curve
        stores = sorted(folder.glob("q*/refined/*.zarr.zip"))
        tables = [store.read(path) for path in stores]
        if not tables:
            continue
        refinement = json.loads(tables[0].attrs["spec"])["refinement"]
        pixels = sum(
            store.read(path.parents[1] / "images" / path.name)["pixels"].sum().item()
            for path in stores
        )
        rows.append(
            {
                "curve": rate.curve,
                "steps": refinement["steps"],
                "settings": {**refinement, "steps": None},
                "saved": -rate.bd_rate,
                "low": -rate.bd_rate_high,
                "high": -rate.bd_rate_low,
                "seconds": 1e6 * sum(table["seconds"].sum().item() for table in tables) / pixels,
                "measure": measure,
            }
        )
    for row, label in zip(rows, labels_of([row["settings"] for row in rows]), strict=True):
        row["settings"] = label
    steps: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        steps[row["settings"]].add(row["steps"])
    if not any(len(numbers) > 1 for numbers in steps.values()):
        raise InputError(
            "the figure steps needs refined codecs that differ in `steps` alone; found"
            f" {', '.join(row['curve'] for row in rows) or 'no curve of refined latents'}"
        )
    return pd.DataFrame(rows).sort_values("steps").reset_index(drop=True)


def labels_of(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return names of refinements: the quantizer, and the other settings in which they differ."""
    first = settings[0] if settings else {}
    differing = [
        key
        for key in first
        if key != "quantizer" and any(other[key] != first[key] for other in settings)
    ]
    return [
        ", ".join([of_one["quantizer"], *(f"{key} {of_one[key]}" for key in differing)])
        for of_one in settings
    ]


def steps(gains: pd.DataFrame) -> Figure:
    """Draw what refined latents save over the number of steps, labeled with the seconds.

    Parameters
    ----------
    gains : DataFrame
        From :func:`step_gains`.
    """
    figure, axes = plt.subplots()
    for i, (settings, rows) in enumerate(gains.groupby("settings", sort=False)):
        look: dict[str, Any] = {"color": f"C{i}", "marker": MARKERS[i % len(MARKERS)]}
        axes.plot(rows["steps"], rows["saved"], label=settings, **look)
        reach = np.array([rows["saved"] - rows["low"], rows["high"] - rows["saved"]])
        axes.errorbar(
            rows["steps"], rows["saved"], yerr=reach, linestyle="", capsize=2, color=look["color"]
        )
        for row in rows.itertuples():
            axes.annotate(
                f"{row.seconds:.3g} s",
                (row.steps, row.saved),
                (4, -10),
                textcoords="offset points",
                color=look["color"],
                fontsize="small",
            )
    ticks = sorted(set(gains["steps"]))
    axes.set_xscale("symlog", linthresh=5)
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("steps of the refinement (labels: processor seconds per megapixel)")
    measure = MEASURE_NAMES[gains["measure"].iloc[0]]
    axes.set_ylabel(f"saved at equal {measure}, % of the bits")
    axes.legend(loc="upper left", frameon=False)
    return figure
