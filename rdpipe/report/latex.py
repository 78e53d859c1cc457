"""Tables of a run in LaTeX, for the package booktabs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pandas as pd

from rdpipe.core.kinds import BoundKind
from rdpipe.report.common_range import of_measure
from rdpipe.report.ladder_text import in_parentheses, over_the_curve, rung_notes
from rdpipe.report.style import kind_label
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
"""Characters that a backslash does not escape."""


def escape(text: str) -> str:
    r"""Return text as LaTeX shows it.

    Examples
    --------
    >>> print(escape("a_b: 5 %"))
    a\_b: 5 \%
    """
    return re.sub(r"[\\~^&%$#_{}]", lambda m: SPECIAL.get(m[0], f"\\{m[0]}"), text)


def ladder_table(ladder: pd.DataFrame) -> str:
    """Return the ladder to one limit: bpp at each quality, and changes over the curve."""
    qualities = [int(q) for q in ladder["quality"].dropna().unique()]
    head = [
        "rung",
        "changes",
        *(f"q{q}" for q in qualities),
        r"change, \%",
        r"total, \%",
        "encoder, s/MP",
    ]
    rows, notes = [], rung_notes(over_the_curve(ladder))
    for number, rung in ladder[ladder["remark"] == ""].groupby("rung", sort=False):
        curve, points = over_the_curve(rung).iloc[0], rung[rung["quality"].notna()]
        genie = BoundKind.parse(curve["kind"]) is BoundKind.GENIE_AIDED
        name = f"{curve['label']}{' (genie-aided, not a bound)' if genie else ''}"
        term = TERM_NAMES.get(curve["term"], "") + in_parentheses(notes.get(number, ""))
        changes = [percent(curve, "change"), percent(curve, "total")]
        seconds = curve["encoder_seconds"]
        changes.append(f"{seconds:.3g}" if math.isfinite(seconds) else "--")
        bpp = [f"{value:.3f}" if math.isfinite(value) else "--" for value in points["bpp"]]
        rows.append([escape(name), escape(term), *bpp, *changes])
    measure = MEASURE_NAMES[ladder["matched_at"].iloc[0]]
    return tabular(f"Rates in bit/pixel at equal {measure}, 95 % intervals over images", head, rows)


def bd_rate_table(bd_rates: pd.DataFrame, measure: str) -> str:
    """Return the BD-rates against the codec, the lowest first."""
    rows = [
        [escape(row["label"]), escape(kind_label(row["kind"])), percent(row, "bd_rate")]
        for _, row in of_measure(bd_rates, measure).sort_values("bd_rate").iterrows()
    ]
    title = f"BD-rate against the codec at equal {MEASURE_NAMES[measure]}"
    return tabular(title, ["curve", "kind", r"BD-rate, \%"], rows)


def percent(row: pd.Series, name: str) -> str:
    """Return a number of per cent with its interval; a dash if it is not known."""
    value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    if not math.isfinite(value):
        return "--"
    texts = [f"${x:+.1f}$" if round(x, 1) else "$0.0$" for x in (value, low, high)]
    return texts[0] + (f" [{texts[1]}, {texts[2]}]" if math.isfinite(low + high) else "")


def tabular(title: str, head: list[str], rows: list[list[str]]) -> str:
    """Return a table with a comment above it."""
    return "\n".join(_lines(title, head, rows))


def _lines(title: str, head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"% {title}; needs \\usepackage{{booktabs}}"
    texts = sum(name in ("rung", "changes", "curve", "kind") for name in head)
    yield rf"\begin{{tabular}}{{{'l' * texts}{'r' * (len(head) - texts)}}}"
    yield r"\toprule"
    yield " & ".join(head) + r" \\"
    yield r"\midrule"
    yield from (" & ".join(row) + r" \\" for row in rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"
