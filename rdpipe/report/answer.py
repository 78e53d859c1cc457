"""The answer in words: what is lost where, what the largest lever is worth, what a real decoder can have of it."""

from __future__ import annotations

import math

import pandas as pd

from rdpipe.core.axes import GENIE, START, cell_name
from rdpipe.analysis.decomposition import TERMS
from rdpipe.report.style import meaning

NAMES = {"coder": "entropy coder", "prior": "prior", "side": "side information",
         "variance": "variance", "quantization": "quantization", "context": "context"}  # fmt: skip
"""The terms as a sentence calls them."""


def headline(name: str, dataset: str, own) -> str:
    """A codec at a quality: its rate and its PSNR; ``own`` is its row of the points."""
    return f"{name} at q{own.quality} on {dataset}: {own.bpp:.3f} bpp at {own.psnr:.2f} dB."


def to_limit(panel: pd.DataFrame, cell: dict[str, str]) -> str:
    """The terms to one limit, a cell, at one quality; ``panel`` has the paper's order only."""
    rows = panel.set_index("term")
    kept = [term for axis, term in TERMS.items() if cell[axis] == START[axis]]
    parts = [
        f"{NAMES[term]} {one.bpp:.3f}"
        + (f" ({one.bpp_low:.3f} to {one.bpp_high:.3f})" if one.bpp else "")
        for term, one in rows.drop("total").iterrows()
        if abs(one.bpp) >= 5e-4 or term in {"side", *TERMS.values()}.difference(kept)
    ]
    total = rows.loc["total"]
    return (
        f"{total.bpp:.3f} bpp ({total.bpp_low:.3f} to {total.bpp_high:.3f}) above "
        f"“{panel['limit'].iloc[0]}” ({meaning(panel['kind'].iloc[0])}): {', '.join(parts)}."
        + (f" Of {' and '.join(kept)} it says nothing: it has the codec's own." if kept else "")
    )


def over_the_curve(points: pd.DataFrame, terms: pd.DataFrame, limit: str) -> str:
    """The share of the bits above one limit, over all qualities."""
    own = points[points["curve"] == "codec"].set_index("quality")
    paper = terms[(terms["order"] == "paper") & (terms["limit"] == limit)]
    total = paper[paper["term"] == "total"].set_index("quality")["bpp"]
    share = (total / own["bpp"]).dropna() * 100
    return (
        f"From {own['bpp'].min():.3f} to {own['bpp'].max():.3f} bpp, {share.min():.0f} to "
        f"{share.max():.0f} % of the bits lie above “{limit}” ({meaning(paper['kind'].iloc[0])}), "
        f"{at_distortion(paper['latent_mse'])}."
    )


def no_better(terms: pd.DataFrame, limit: str) -> str:
    """Where a genie lies above a limit that needs none, in words; empty if nowhere."""
    kinds = terms.drop_duplicates("limit").set_index("limit")["kind"]
    paper = terms[(terms["order"] == "paper") & (terms["term"] == "total")]
    total = paper.pivot(index="quality", columns="limit", values="bpp")
    for other in kinds.index[kinds != GENIE] if kinds[limit] == GENIE else []:
        worse = total.index[total[limit] < total[other]]
        if len(worse):
            return (
                f"At {', '.join(f'q{quality}' for quality in worse)} it needs more bits than “{other}”, for all that it is "
                "told: no limit of what a better estimate could save."
            )
    return ""


def at_distortion(latent_mse: pd.Series) -> str:
    """At which distortion of the latents bits were compared, in words."""
    low, high = latent_mse.min(), latent_mse.max()
    if max(abs(low - 1), abs(high - 1)) < 1e-3:
        return "at equal distortion of the latents"
    return f"at {low:.3f} to {high:.3f} times the codec's distortion of the latents"


def largest(levers: pd.DataFrame):
    """The row of the largest lever on the way to one limit; None if nothing is gained or known."""
    terms = levers[(levers["term"] != "total") & (levers["bd_rate"] < 0)]
    return None if terms.empty else terms.loc[terms["bd_rate"].idxmin()]


def summary(levers: pd.DataFrame) -> dict:
    """The largest lever in short: its term, and per cent that it is worth and that are available."""
    one = largest(levers)
    if one is None:
        return {"term": "none", "worth": None, "available": None}
    return {"term": one.term, "worth": -one.bd_rate, "available": -one.available_bd_rate}


def largest_lever(levers: pd.DataFrame) -> str:
    """The largest lever on the way to one limit, by BD-rate; ``levers`` are those of this limit."""
    one = largest(levers)
    if levers["bd_rate"].isna().all():
        return "What a term is worth over the curve is not known: that takes two qualities or more."
    if one is None:
        return "No term is worth anything over the curve: the codec's own cell is the best one here."
    return (
        f"Largest lever: {NAMES[one.term]}; closing it is worth {-one.bd_rate:.1f} % BD-rate at equal "
        "distortion of the latents"
        f"{between(one.bd_rate_high, one.bd_rate_low)}; {available(one)}"
    )


def available(lever) -> str:
    """What of a lever a real decoder can have today; ``lever`` is its row."""
    if lever.term not in TERMS.values():
        return "how much of that a real decoder could have is not measured."
    if math.isnan(lever.available_bd_rate):
        return "how much of that a real decoder could have is not measured: no other real code on its axis is in the config."
    if not lever.available:
        return "of that, none is available to a real decoder with the estimators measured here."
    share = 100 * lever.available_bd_rate / lever.bd_rate
    part = f"of that, {share:.0f} % is" if share <= 100 else "as much and more is"
    return (
        f"{part} available to a real decoder today: {lever.available} saves "
        f"{-lever.available_bd_rate:.1f} %{between(lever.available_high, lever.available_low)} by its code "
        "length, the best of those measured on these images."
    )


def between(high: float, low: float) -> str:
    """The interval of a saving in brackets, if it is known."""
    return f" ({-high:.1f} to {-low:.1f} %)" if math.isfinite(high + low) else ""


def at_equal_psnr(bd_rates: pd.DataFrame, cell: dict[str, str]) -> str:
    """What the limit saves at equal PSNR through the decoder, where its curve was simulated."""
    found = bd_rates[bd_rates["curve"] == cell_name(cell)].dropna()
    if found.empty:
        return ""
    one = found.iloc[0]
    return (
        f"At equal PSNR, through the codec's own decoder, the rate of this limit is {one['bd_rate']:+.1f} % "
        f"(BD-rate; 95 % interval {one['bd_rate_low']:+.1f} to {one['bd_rate_high']:+.1f} %)."
    )
