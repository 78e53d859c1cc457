"""Print the rates, and savings at equal quality of the pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rdpipe.core.kinds import CurveRole
from rdpipe.io import store
from rdpipe.report import answer
from rdpipe.report.common_range import bd_rate_rows
from rdpipe.report.dominant_text import dominant_sentences
from rdpipe.report.style import kind_label
from rdpipe.report.words import MEASURE_NAMES, without_negative_zero


def run(bounds: Path, page: Path) -> None:
    """Print rates, BD-rates and savings at equal PSNR or MS-SSIM, and where the report is.

    Parameters
    ----------
    bounds : Path
        From ``trace_bounds``.
    page : Path
        From ``make_report``.
    """
    points, image_points, bd_rates, available, ladders = (
        store.read(bounds, name).to_dataframe()
        for name in ("points", "image_points", "bd_rates", "available", "ladder")
    )
    measure = answer.common_measure(ladders)
    codec_points = points[points["role"] == CurveRole.CODEC]
    for (dataset, codec), _ in codec_points.groupby(["dataset", "codec"], sort=False):
        own_points, own_images = (
            table[(table["dataset"] == dataset) & table["codec"].isin([codec, ""])]
            for table in (points, image_points)
        )
        rates, codes = (
            table[(table["dataset"] == dataset) & (table["codec"] == codec)]
            for table in (bd_rates, available)
        )
        warnings = dominant_sentences(own_images)
        lines = summary_lines(dataset, codec, own_points, rates, codes, measure, warnings)
        print(*map(without_negative_zero, lines), sep="\n")
    written = datetime.fromtimestamp(page.stat().st_mtime).isoformat(" ", "seconds")
    print(
        "\nThe report also shows the latent-matched decomposition, which is not at equal quality."
    )
    print(f"report: {page.absolute()} (written {written})")


def summary_lines(
    dataset: str,
    codec: str,
    points: pd.DataFrame,
    bd_rates: pd.DataFrame,
    available: pd.DataFrame,
    measure: str,
    warnings: Iterable[str] = (),
) -> Iterator[str]:
    """Yield the lines on one codec.

    The tables are those of this codec; the points include those of shared curves. ``measure`` is
    the quality that is equal.
    """
    yield f"\n{codec} on {dataset}"
    for point in points[points["role"] == CurveRole.CODEC].itertuples():
        yield f"  {answer.headline(codec, dataset, point, measure)}"
    sentences = (
        answer.bound_sentence(bd_rates, measure),
        answer.lever_sentence(bd_rates, measure),
        answer.earned_sentence(bd_rates, measure),
        answer.available_sentence(available, measure),
    )
    yield from (f"  {sentence}" for sentence in sentences if sentence)
    yield from (f"  Warning: {text}" for text in warnings)
    yield (
        f"\n  BD-rate against the codec (anchor) at equal {MEASURE_NAMES[measure]}, with its 95 %"
        " interval over images"
    )
    yield from map(bd_rate_line, bd_rate_rows(bd_rates, measure))


def bd_rate_line(row: Mapping[str, Any]) -> str:
    """Return the BD-rate of one curve, from :func:`rdpipe.report.common_range.bd_rate_rows`."""
    interval = ""
    if math.isfinite(row["bd_rate_low"] + row["bd_rate_high"]):
        interval = f"[{row['bd_rate_low']:+.1f}, {row['bd_rate_high']:+.1f}]"
    rate = f"{row['bd_rate']:+7.1f} %  {interval:18} "
    if math.isnan(row["bd_rate"]):
        rate = f"{row['undefined']}; "
    remarks = (kind_label(row["kind"]), row["common_range"], row["interpolation"], row["remark"])
    return f"    {row['curve']:32} {rate}{'; '.join(filter(None, remarks))}"
