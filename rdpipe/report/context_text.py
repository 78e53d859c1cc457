"""What the context model of a codec saves, in words and in rows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rdpipe.core.kinds import BoundKind
from rdpipe.report.style import kind_label

RATE_NAMES = {
    "neither": "without context",
    "mean": "context in the mean only",
    "variance": "context in the variance only",
    "both": "context in both: the codec",
}
"""Names of the four cells."""
GAIN_NAMES = {
    "mean": "saved by the mean alone",
    "variance": "saved by the variance alone",
    "interaction": "interaction",
    "both": "saved by both",
}
"""Names of what context saves; the first three add up to the last."""


def context_content(table: pd.DataFrame) -> dict[str, Any] | None:
    """Return the sentence and the rows on the context model of a codec; None if it has none.

    Parameters
    ----------
    table : DataFrame
        From :func:`rdpipe.analysis.context.context_frame`, for one codec on one dataset.
    """
    if table.empty:
        return None
    rates, gains = (
        select_rows(table[table["quantity"] == quantity], names)
        for quantity, names in (("rate", RATE_NAMES), ("gain", GAIN_NAMES))
    )
    return {"text": context_sentence(table), "rates": rates, "gains": gains}


def context_sentence(table: pd.DataFrame) -> str:
    """Return which share of the bits without context the context model saves, by quality."""
    bpp = table.pivot(index="quality", columns=["quantity", "context"], values="bpp")
    shares = 100 * bpp["gain", "both"] / bpp["rate", "neither"]
    listed = ", ".join(f"{share:.1f} % at q{quality}" for quality, share in shares.items())
    ratios = table["latent_mse_ratio"].dropna()
    return (
        f"Against its own predictions without context, the codec saves {listed} of the bits, side"
        " information included; all four rates are at the codec's own rounding, with"
        f" {ratios.min():.3f} to {ratios.max():.3f} times the codec's distortion of the latents."
    )


def select_rows(table: pd.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each rate or gain, with a cell for each quality."""
    rows = []
    for context, name in names.items():
        selected = table[table["context"] == context].sort_values("quality")
        label = selected["kind"].iloc[0]
        kind = BoundKind.parse(label) if label else None
        rows.append(
            {
                "name": name,
                "kind": "" if kind is None else kind_label(kind),
                "genie": kind is BoundKind.GENIE_AIDED,
                "cells": selected[["bpp", "bpp_low", "bpp_high"]].to_dict("records"),
            }
        )
    return rows
