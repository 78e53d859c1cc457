"""Print the rates and savings at equal PSNR."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rdpipe.core.kinds import CurveRole
from rdpipe.io import store
from rdpipe.report import answer
from rdpipe.report.style import kind_label


def run(bounds: Path, page: Path) -> None:
    """Print rates, BD-rates and savings at equal PSNR, and where the report is.

    Parameters
    ----------
    bounds : Path
        From ``trace_bounds``.
    page : Path
        From ``make_report``.
    """
    points, bd_rates, available = (
        store.read(bounds, name).to_dataframe() for name in ("points", "bd_rates", "available")
    )
    codec_points = points[points["role"] == CurveRole.CODEC]
    for (dataset, codec), curve in codec_points.groupby(["dataset", "codec"], sort=False):
        rates, codes = (
            table[(table["dataset"] == dataset) & (table["codec"] == codec)]
            for table in (bd_rates, available)
        )
        print(*summary_lines(dataset, codec, curve, rates, codes), sep="\n")
    written = datetime.fromtimestamp(page.stat().st_mtime).isoformat(" ", "seconds")
    print(f"\nreport: {page.absolute()} (written {written})")
    print("It also shows the latent-matched decomposition, which is not at equal PSNR.")


def summary_lines(
    dataset: str, codec: str, curve: pd.DataFrame, bd_rates: pd.DataFrame, available: pd.DataFrame
) -> Iterator[str]:
    """Yield the lines on one codec; the tables are those of this codec."""
    yield f"\n{codec} on {dataset}"
    for point in curve.itertuples():
        yield f"  {answer.headline(codec, dataset, point)}"
    sentences = (
        answer.bound_sentence(bd_rates),
        answer.lever_sentence(bd_rates),
        answer.available_sentence(available),
    )
    yield from (f"  {sentence}" for sentence in sentences if sentence)
    yield "\n  BD-rate against the codec at equal PSNR, with its 95 % interval over images"
    yield from (bd_rate_line(row) for row in bd_rates.itertuples())


def bd_rate_line(row: Any) -> str:
    """Return the BD-rate of one curve."""
    interval = ""
    if math.isfinite(row.bd_rate_low + row.bd_rate_high):
        interval = f"[{row.bd_rate_low:+.1f}, {row.bd_rate_high:+.1f}]"
    rate = f"{row.bd_rate:+7.1f} %  {interval:18}"
    if math.isnan(row.bd_rate):
        rate = f"{'no common range of PSNR':29}"
    return f"    {row.curve:32} {rate} {kind_label(row.kind)}"
