"""The terms of several codecs side by side: which one falls with training, or with the width."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rdpipe.core.kinds import BoundKind
from rdpipe.report.draw_compare import MARKERS
from rdpipe.report.style import TERM_COLORS
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES


def terms(ladder: pd.DataFrame) -> Figure:
    """Draw what each term is worth over the curve of each codec.

    Codecs are in their order in the table. Below zero a term costs bits. A point is hollow if the
    term holds as a bound, without a coder that exists. Terms that were not measured, changes that
    were rejected and genie-aided rungs are left out.

    Parameters
    ----------
    ladder : DataFrame
        Of several codecs on one dataset; the ladder to the first limit is drawn.
    """
    ladder = ladder[ladder["limit"] == ladder["limit"].iloc[0]]
    names = dict(zip(ladder["codec"], ladder["codec_label"], strict=True))
    worth = term_savings(ladder)
    figure, axes = plt.subplots()
    for i, term in enumerate(name for name in TERM_NAMES if name in set(worth["term"])):
        look: dict[str, Any] = {"color": TERM_COLORS[term], "marker": MARKERS[i % len(MARKERS)]}
        rows = worth[worth["term"] == term].set_index("codec").reindex(list(names)).reset_index()
        axes.plot(rows.index, rows["saved"], label=TERM_NAMES[term], **look)
        bounds = rows[rows["realizable"] == False]  # noqa: E712, unknown is neither
        axes.plot(bounds.index, bounds["saved"], linestyle="", markerfacecolor="white", **look)
        reach = rows["saved"] - rows["low"], rows["high"] - rows["saved"]
        axes.errorbar(
            rows.index, rows["saved"], yerr=reach, linestyle="", capsize=2, color=look["color"]
        )
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(range(len(names)), list(names.values()))
    measure = MEASURE_NAMES[ladder["matched_at"].iloc[0]]
    axes.set_ylabel(f"saved at equal {measure}, % of the rate before")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return figure


def term_savings(ladder: pd.DataFrame) -> pd.DataFrame:
    """Return what each term saves over the curve, per cent of the rate before it.

    Returns
    -------
    DataFrame
        ``codec``, ``term``, ``saved``, its 95 % interval ``low`` and ``high`` (NaN for a term of
        several rungs), and whether its last rung is ``realizable``.
    """
    rows = ladder[ladder["quality"].isna()].copy()
    rows["step"] = rows.groupby("codec")["log_rate"].diff()
    measured = rows["step"].notna() & (rows["remark"].fillna("") == "")
    measured &= rows["kind"] != str(BoundKind.GENIE_AIDED)
    savings = []
    for (codec, term), rungs in rows[measured].groupby(["codec", "term"], sort=False):
        last = rungs.iloc[-1]
        ends = (-last["change_high"], -last["change_low"]) if len(rungs) == 1 else (math.nan,) * 2
        saved = 100 * (1 - math.exp(rungs["step"].sum()))
        realizable = BoundKind.parse(last["kind"]).is_realizable
        savings.append((codec, term, saved, *ends, realizable))
    return pd.DataFrame(savings, columns=["codec", "term", "saved", "low", "high", "realizable"])
