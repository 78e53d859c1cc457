"""Print the decomposition and the BD-rates to the terminal."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

from rdpipe.io import store


def run(bounds: Path, page: Path) -> None:
    """Print the tables that the report shows.

    Parameters
    ----------
    bounds : Path
        From ``trace_bounds``.
    page : Path
        From ``make_report``.
    """
    terms = store.read(bounds, "decomposition").to_dataframe()
    rates = store.read(bounds, "bd_rates").to_dataframe()
    for (dataset, codec), own in terms.groupby(["dataset", "codec"], sort=False):
        print(
            f"\n{codec} on {dataset}: bit/pixel from real bytes to each limit (and by Shapley value)"
        )
        for (limit, kind), table in own.groupby(["limit", "kind"], sort=False):
            print(f"\n  to {limit} ({kind})")
            print(indent(decomposition_table(table)))
        related = (rates["dataset"] == dataset) & (rates["codec"] == codec)
        print("\n  BD-rate against the codec, with its 95 % interval over images")
        for one in rates[related].itertuples():
            between = f"[{one.bd_rate_low:+.1f}, {one.bd_rate_high:+.1f}]"
            rate = f"{one.bd_rate:+7.1f} %  {between:18}"
            if math.isnan(one.bd_rate):
                rate = f"{'no common range of PSNR':29}"
            print(f"    {one.curve:32} {rate} {one.kind}")
    made = datetime.fromtimestamp(page.stat().st_mtime).isoformat(" ", "seconds")
    print(f"\nreport: {page.absolute()} (made {made})")


def decomposition_table(terms) -> str:
    """Terms down, qualities across; the Shapley value in brackets; latent MSE over the codec's."""
    paper, shapley = (
        terms[terms["order"] == order].set_index(["term", "quality"])["bpp"]
        for order in ("paper", "shapley")
    )
    cells = paper.map("{:.4f}".format) + shapley.map(" ({:.4f})".format)
    table = cells.unstack("quality").loc[paper.index.unique("term")]
    latent_mse = terms.drop_duplicates("quality").set_index("quality")["latent_mse"]
    table.loc["latent MSE"] = latent_mse.map("x {:.3f}".format)
    table.columns = [f"q{quality}" for quality in table.columns]
    return table.rename_axis(None).to_string()


def indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
