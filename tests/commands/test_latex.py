"""Tables in LaTeX."""

import numpy as np
from small_ladder import with_refined_latents

from rdpipe.__main__ import main
from rdpipe.report.latex import bd_rate_table, escape, ladder_table


def rows_of(text):
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]


def test_ladder_has_the_rungs_that_change_something(tables):
    ladder = tables["ladder"][tables["ladder"]["limit"] == "decodable"]
    head, *rows = rows_of(ladder_table(ladder))
    assert head == ["rung", "changes", "q1", "q2", r"change, \%", r"total, \%", "encoder, s/MP"]
    assert [row[1] for row in rows] == [
        "",
        "entropy coder",
        "prior",
        "quantization",
        "jointly trained transforms",
    ]
    assert rows[3] == [
        "test channel",
        "quantization",
        "0.877",
        "1.753",
        "$-11.7$ [$-12.2$, $-11.2$]",
        "$-12.3$ [$-14.3$, $-10.3$]",
        "--",
    ]
    assert rows[0][-3:] == ["--", "--", "--"] and rows[2][-1] == "0.75"


def test_genie_is_marked(tables):
    ladder = tables["ladder"][tables["ladder"]["limit"] == "genie"]
    assert ladder_table(ladder).count("(genie-aided, not a bound)") == 2


def test_bd_rates_are_sorted_and_unknown_ones_are_a_dash(tables):
    rates = tables["bd_rates"]
    _, *rows = rows_of(bd_rate_table(rates, "psnr"))
    assert [row[2].partition(" ")[0] for row in rows] == [
        "$-55.0$",
        "$-20.0$",
        "$-12.3$",
        "$-0.7$",
        "--",
    ]
    small = rates.assign(bd_rate=-0.01, bd_rate_low=np.nan, bd_rate_high=np.nan)
    assert rows_of(bd_rate_table(small, "psnr"))[1][2] == "$0.0$"


def test_special_characters_are_escaped():
    assert escape(r"a_b & 5 % \x {y}") == r"a\_b \& 5 \% \textbackslash{}x \{y\}"


def test_command_prints_every_limit_and_the_bd_rates(results, capsys):
    assert main(["latex", str(results)]) == 0
    shown = capsys.readouterr().out
    assert shown.count(r"\begin{tabular}") == shown.count(r"\end{tabular}") == 3
    assert "% c on d, to genie" in shown


def test_rung_with_the_own_latents_again_says_so(tables):
    ladder = tables["ladder"][tables["ladder"]["limit"] == "decodable"]
    _, *rows = rows_of(ladder_table(with_refined_latents(ladder, "prior")))
    assert rows[3][1] == "quantization (without the refined latents)"


def test_labels_are_those_of_the_config(labeled, capsys):
    assert main(["latex", str(labeled)]) == 0
    printed = capsys.readouterr().out
    assert "% Our codec on d, to decodable" in printed
    names = [row[0] for row in rows_of(printed)]
    assert "Ideal noise" in names and "test channel" not in names
