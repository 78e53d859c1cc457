"""What the terms of several codecs are worth, in one figure."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from rdpipe.report.draw_terms import term_savings, terms

BOUND = "upper bound on R(D)"
ROWS = [
    ("first", "", "achieved", 0.0, ""),
    ("first", "variance", "achievable", 0.0, "not measured: the limit has the codec's own"),
    ("first", "context", "achievable", math.log(0.97), ""),
    ("first", "encoder", "achieved", math.log(0.91), ""),
    ("first", "quantization", BOUND, math.log(0.9), ""),
    ("first", "encoder", "achieved", math.log(0.99), ""),
    ("first", "transforms", BOUND, 0.0, "joint would need +3.98 %"),
    ("first", "context", "genie-aided estimate", math.log(0.5), ""),
    ("second", "", "achieved", 0.0, ""),
    ("second", "quantization", BOUND, math.log(1.02), ""),
]
"""Codec, term, kind, step of the logarithm of the rate, and remark of each rung."""


@pytest.fixture
def ladder():
    table = pd.DataFrame(ROWS, columns=["codec", "term", "kind", "step", "remark"])
    table["codec_label"] = table["codec"]
    table["log_rate"] = table.groupby("codec")["step"].cumsum()
    table["change"] = 100 * (table["step"].map(math.exp) - 1)
    table = table.assign(
        change_low=table["change"] - 1, change_high=table["change"] + 0.5, quality=math.nan
    )
    of_quality = table.assign(quality=1, log_rate=math.nan)
    table = pd.concat([table, of_quality]).assign(limit="decodable")
    return pd.concat([table, table.assign(limit="genie", log_rate=-9.0)]).assign(matched_at="psnr")


def test_savings_of_a_term_add_up_and_what_was_not_measured_is_left_out(ladder):
    savings = term_savings(ladder[ladder["limit"] == "decodable"]).set_index(["codec", "term"])
    assert set(savings.index) == {
        ("first", "context"),
        ("first", "encoder"),
        ("first", "quantization"),
        ("second", "quantization"),
    }
    assert savings.loc[("first", "encoder"), "saved"] == pytest.approx(100 * (1 - 0.91 * 0.99))
    assert math.isnan(savings.loc[("first", "encoder"), "low"])
    row = savings.loc[("second", "quantization")]
    assert tuple(row[["saved", "low", "high"]]) == pytest.approx((-2, -2.5, -1))
    assert not row["realizable"] and savings.loc[("first", "context"), "realizable"]


def test_each_term_is_a_line_over_the_codecs(ladder):
    figure = terms(ladder)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["first", "second"]
    lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert set(lines) == {"context", "encoder (refined latents)", "quantization"}
    assert lines["quantization"].get_ydata() == pytest.approx([10, -2])
    assert lines["context"].get_ydata() == pytest.approx([3, math.nan], nan_ok=True)
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    drawn = [list(line.get_xdata()) for line in hollow if len(line.get_xdata())]
    assert drawn == [[0, 1]]  # of the bound alone
    assert axes.get_ylabel() == "saved at equal PSNR, % of the rate before"
    plt.close(figure)
