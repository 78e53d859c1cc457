"""The terms of several codecs side by side: which one falls with training, or with the width."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rdpipe.report.draw_compare import MARKERS
from rdpipe.report.style import TERM_COLORS
from rdpipe.report.words import MEASURE_NAMES, TERM_NAMES


def terms(ladder: pd.DataFrame) -> Figure:
    """Draw what each term is worth over the curve of each codec, with 95 % intervals.

    Codecs are in their order in the table. Below zero a step costs bits.

    Parameters
    ----------
    ladder : DataFrame
        Of several codecs on one dataset; the ladder to the first limit is drawn.
    """
    ladder = ladder[ladder["limit"] == ladder["limit"].iloc[0]]
    codecs = list(dict.fromkeys(ladder["codec"]))
    over_the_curve = ladder[ladder["quality"].isna() & ladder["change"].notna()]
    figure, axes = plt.subplots()
    for i, term in enumerate(name for name in TERM_NAMES if name in set(over_the_curve["term"])):
        rows = over_the_curve[over_the_curve["term"] == term].groupby("codec").last()
        rows = rows.reindex(codecs)
        saved = -rows["change"]
        reach = [saved + rows["change_high"], -rows["change_low"] - saved]
        axes.errorbar(
            range(len(codecs)),
            saved,
            yerr=reach,
            label=TERM_NAMES[term],
            color=TERM_COLORS[term],
            marker=MARKERS[i % len(MARKERS)],
            capsize=2,
        )
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(range(len(codecs)), codecs)
    measure = MEASURE_NAMES[ladder["matched_at"].iloc[0]]
    axes.set_ylabel(f"saved at equal {measure}, % of the rate before")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return figure
