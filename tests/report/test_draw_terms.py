"""What the terms of several codecs are worth, in one figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rdpipe.report.draw_terms import terms


@pytest.fixture
def ladder():
    """Two codecs; the second has no context term, and its quantization costs bits."""
    rows = [
        ("first", "", np.nan),
        ("first", "context", -3.0),
        ("first", "quantization", -10.0),
        ("second", "", np.nan),
        ("second", "quantization", 2.0),
    ]
    table = pd.DataFrame(rows, columns=["codec", "term", "change"])
    table = table.assign(
        change_low=table["change"] - 1, change_high=table["change"] + 0.5, quality=np.nan
    )
    of_quality = table.assign(quality=1, change=-50.0)
    genie = table.assign(limit="genie", change=-70.0)
    table = pd.concat(
        [table.assign(limit="decodable"), of_quality.assign(limit="decodable"), genie]
    )
    return table.assign(matched_at="psnr")


def test_each_term_is_a_line_over_the_codecs_with_its_interval(ladder):
    figure = terms(ladder)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["first", "second"]
    drawn = {container.get_label(): container for container in axes.containers}
    assert set(drawn) == {"context", "quantization"}
    line, _, (bars,) = drawn["quantization"]
    assert line.get_ydata() == pytest.approx([10, -2])
    ends = [segment[:, 1] for segment in bars.get_segments()]
    assert ends[0] == pytest.approx([9.5, 11]) and ends[1] == pytest.approx([-2.5, -1])
    assert drawn["context"][0].get_ydata() == pytest.approx([3, np.nan], nan_ok=True)
    assert axes.get_ylabel() == "saved at equal PSNR, % of the rate before"
    plt.close(figure)
