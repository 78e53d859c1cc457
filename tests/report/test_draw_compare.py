"""Several codecs in one figure."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from rdpipe.core.kinds import BoundKind
from rdpipe.report import draw_compare


def with_another(table):
    """Return a table with a second codec, which needs twice the bits of the first."""
    other = table[table["codec"] == "c"]
    return pd.concat(
        [table, other.assign(codec="other", codec_label="other", bpp=2 * other["bpp"])]
    )


def test_each_codec_has_its_curve_and_its_bound(tables):
    figure = draw_compare.compare(with_another(tables["ladder"]), with_another(tables["points"]))
    curve, bound, other, other_bound, note, *shared = figure.axes[0].lines
    assert curve.get_xdata() == pytest.approx([1, 2]) and curve.get_label() == "c"
    assert bound.get_xdata() == pytest.approx([0.8, 1.6])
    assert other.get_xdata() == pytest.approx([2, 4]) and other.get_label() == "other"
    assert other_bound.get_xdata() == pytest.approx([1.6, 3.2])
    assert [line.get_label() for line in (note, *shared)] == [
        "best bound of each codec",
        "jpeg",
        "theirs",
    ]
    looks = {
        (line.get_marker(), line.get_linestyle()) for line in (curve, bound, other, other_bound)
    }
    assert len(looks) == 4  # without color
    plt.close(figure)


def test_codec_without_a_bound_has_only_its_curve(tables):
    ladder = tables["ladder"]
    ladder = ladder[ladder["kind"] != str(BoundKind.UPPER_BOUND)]
    figure = draw_compare.compare(ladder, tables["points"])
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["c", "jpeg", "theirs"]
    plt.close(figure)
