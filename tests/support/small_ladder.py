"""Small ladders, and the terms at equal pictures, of a codec whose rates are fixed shares."""

import math

import numpy as np
import pandas as pd

from rdpipe.analysis.curve_terms import CURVE_COLUMNS
from rdpipe.analysis.ladder import LADDER_COLUMNS
from rdpipe.analysis.tables import TERM_KEYS
from rdpipe.core.kinds import BoundKind
from rdpipe.report.labels import with_labels

OWN = "not measured: the limit has the codec's own"
START = (
    ("real bytes", "", BoundKind.ACHIEVED, 1.0, ""),
    ("model's bits", "coder", BoundKind.ACHIEVABLE, 0.995, ""),
    ("codec/codec/rounding", "prior", BoundKind.ACHIEVABLE, 0.993, ""),
)
LADDERS = {
    "decodable": (
        *START,
        ("codec/codec/rounding", "variance", BoundKind.ACHIEVABLE, 0.993, OWN),
        ("codec/codec/rounding", "context", BoundKind.ACHIEVABLE, 0.993, OWN),
        ("codec/codec/test-channel", "quantization", BoundKind.UPPER_BOUND, 0.8766, ""),
        ("joint", "transforms", BoundKind.UPPER_BOUND, 0.8, ""),
        ("joint", "transforms", BoundKind.UPPER_BOUND, 0.8, "{evil} would need +1.50 %"),
    ),
    "genie": (
        *START,
        ("codec/element/rounding", "variance", BoundKind.GENIE_AIDED, 0.6, ""),
        ("codec/element/rounding", "context", BoundKind.GENIE_AIDED, 0.6, OWN),
        ("codec/element/test-channel", "quantization", BoundKind.GENIE_AIDED, 0.45, ""),
    ),
}
"""Name, term, kind, share of the real bytes, and remark of each rung."""
CORNERS = {"decodable": (0.993, 0.993, 0.8766, 0.8766), "genie": (0.993, 0.6, 0.8766, 0.45)}
"""Shares of the codec's cell, with the limit's variance, with its quantizer, and with both."""


def ladder_table(run, qualities, evil="evil", measure="psnr") -> pd.DataFrame:
    """Return the ladders to both limits; at quality q the codec has q bit/pixel."""
    rows = []
    for limit, rungs in LADDERS.items():
        before = 1.0
        for number, (name, term, kind, share, remark) in enumerate(rungs):
            labels = {
                **run,
                "limit": limit,
                "rung": number,
                "name": name,
                "term": term,
                "kind": str(kind),
                "matched_at": measure,
                "encoder_seconds": 0.75 if name.endswith("/rounding") else math.nan,
                "refinement_seconds": 12.5 if term == "encoder" else 0.0,
                "remark": remark.format(evil=evil),
            }
            for q in qualities:
                bits = with_ends("bpp", q * share, 0.05) | with_ends("saved", q * (before - share))
                bits |= with_ends("total", 100 * (share - 1), 2.0)
                rows.append(labels | {"quality": q} | bits)
            changes = with_ends("change", 100 * (share / before - 1), 0.5)
            changes |= with_ends("total", 100 * (share - 1), 2.0)
            rows.append(labels | {"log_rate": math.log(share)} | (changes if number else {}))
            before = share
    ladder = pd.DataFrame(rows, columns=list(LADDER_COLUMNS))
    return with_labels({"ladder": ladder})["ladder"]


def with_ends(name, value, margin=0.01) -> dict[str, float]:
    """Return a value and its interval as columns."""
    return {name: value, f"{name}_low": value - margin, f"{name}_high": value + margin}


def equal_picture_terms(run, kinds, qualities, measure="psnr") -> pd.DataFrame:
    """Return the terms at each quality, and over the curve."""
    points, curve = [], []
    for limit, kind in kinds.items():
        for order in ("paper", "shapley"):
            labels = {**run, "limit": limit, "matched_at": measure, "order": order}
            of_point = labels | {"kind": str(kind), "latent_mse_ratio": np.nan}
            for q in qualities:
                for term, bpp in terms_of(limit, order, lambda share, q=q: q * share).items():
                    points.append(of_point | {"quality": q, "term": term} | with_ends("bpp", bpp))
            for term, value in terms_of(limit, order, math.log).items():
                curve.append(labels | {"term": term} | with_ends("log_rate", value))
    columns = [*TERM_KEYS, "bpp", "bpp_low", "bpp_high"]
    tables = pd.DataFrame(points, columns=columns), pd.DataFrame(curve, columns=CURVE_COLUMNS)
    return pd.concat(tables, ignore_index=True)


def terms_of(limit, order, measure) -> dict[str, float]:
    """Return the terms of one order, as differences of a function of the share."""
    real, model = measure(1.0), measure(0.995)
    start, variance, quantizer, both = map(measure, CORNERS[limit])
    saved = start - variance, variance - both
    if order == "shapley":
        saved = (saved[0] + quantizer - both) / 2, (saved[1] + start - quantizer) / 2
    return {
        "coder": real - model,
        "prior": model - start,
        "side": 0.0,
        "variance": saved[0] if limit == "genie" else np.nan,
        "quantization": saved[1],
        "context": np.nan,
        "total": real - both,
    }


def with_refined_latents(ladder, *terms) -> pd.DataFrame:
    """Return a ladder in which the rungs of some terms have refined latents."""
    return ladder.assign(refinement_seconds=ladder["term"].isin(terms) * 12.5)


def without_bitstream(ladder) -> pd.DataFrame:
    """Return the ladder of a codec that writes no bytes."""
    first = ladder["rung"] == 0
    return ladder.assign(
        kind=ladder["kind"].mask(first, str(BoundKind.ACHIEVABLE)),
        name=ladder["name"].mask(first, "code length"),
    )
