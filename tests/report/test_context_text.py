"""What a context model saves, in words."""

import re

import numpy as np
import pytest
from small_page import context_table, make_page, make_tables

from rdpipe.report.context_text import context_content


def test_sentence_has_the_share_of_the_bits_and_what_is_equal():
    """The codec has q bit/pixel at quality q, and would need 1.25 q without context."""
    assert context_content(context_table((1, 2)))["text"] == (
        "Against its own predictions without context, the codec saves 20.0 % at q1, 20.0 % at q2 of"
        " the bits, side information included; all four rates are at the codec's own rounding, with"
        " 0.990 to 1.000 times the codec's distortion of the latents."
    )


def test_rows_have_kind_and_a_cell_for_each_quality():
    content = context_content(context_table((1, 2)))
    kinds = [row["kind"].split(",")[0] for row in content["rates"]]
    assert kinds == ["achievable", "achievable", "genie-aided estimate", "achievable"]
    assert [row["genie"] for row in content["rates"]] == [False, False, True, False]
    values = np.array([[cell["bpp"] for cell in row["cells"]] for row in content["gains"]])
    assert values == pytest.approx(np.outer([0.15, 0.05, 0.05, 0.25], [1, 2]))
    assert values[:3].sum(0) == pytest.approx(values[3])


def test_codec_without_a_context_model_has_no_table():
    assert context_content(context_table(())) is None
    assert "What the context model saves" not in make_page()


def test_page_of_a_codec_with_a_context_model_has_the_table():
    html = make_page(tables=make_tables() | {"context": context_table((1, 2))})
    table = re.search("<h3>What the context model saves</h3>.*?</table>", html, re.S)[0]
    row = re.search(r'<th class="text" scope="row">interaction</th>.*?</tr>', table, re.S)[0]
    assert "<td>+0.0500</td>" in row and "<td>+0.1000</td>" in row
    assert '<tr class="genie"><th class="text" scope="row">context in the variance only' in table
