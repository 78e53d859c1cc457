"""The answer as a figure."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from small_ladder import ladder_table, with_refined_latents, without_bitstream
from small_page import RUN, make_tables

from rdpipe.core.kinds import BoundKind
from rdpipe.report import draw_answer
from rdpipe.report.style import STYLES


@pytest.fixture
def axes(tables):
    figure = draw_answer.answer(tables["ladder"], tables["points"])
    yield figure.axes
    plt.close(figure)


def test_steps_have_the_lengths_of_the_ladder_and_hatches_as_a_bound(axes):
    bars = axes[0].patches[:4]
    assert [bar.get_width() for bar in bars] == pytest.approx([0.5, 0.2, 11.64, 7.66])
    assert [bool(bar.get_hatch()) for bar in bars] == [False, False, True, True]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "q1, 1.00 bpp",
        "q2, 2.00 bpp",
    ]


def test_curves_are_the_ends_of_the_ladder_and_the_baselines(axes):
    curves = {line.get_label(): line.get_xdata() for line in axes[1].lines}
    assert list(curves) == ["codec", "realizable rungs", "best bound", "jpeg", "theirs"]
    assert curves["realizable rungs"] == pytest.approx([0.993, 1.986])
    assert curves["best bound"] == pytest.approx([0.8, 1.6])


def test_steps_that_cost_bits_lie_left_of_zero(tables):
    ladder = tables["ladder"]
    costs = ladder.assign(bpp=ladder["bpp"].where(ladder["rung"] != 1, 1.1 * ladder["quality"]))
    figure = draw_answer.answer(costs, tables["points"])
    first, second, *_ = figure.axes[0].patches
    assert first.get_x() == 0 and first.get_width() == pytest.approx(-10)
    assert second.get_x() == 0 and second.get_width() > 0
    plt.close(figure)


def test_ladder_without_a_saving_has_no_bound_and_no_genie_is_drawn(tables):
    ladder = tables["ladder"]
    kind = ladder["kind"].where(ladder["rung"] == 0, str(BoundKind.GENIE_AIDED))
    figure = draw_answer.answer(ladder.assign(kind=kind), tables["points"])
    assert [line.get_label() for line in figure.axes[1].lines] == ["codec", "jpeg", "theirs"]
    assert not np.any([bar.get_width() for bar in figure.axes[0].patches])
    plt.close(figure)


def test_legend_says_what_holds_as_a_bound(axes):
    names = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert names[0] == "entropy coder" and "quantization, as a bound" in names


def test_quality_is_the_measure_that_is_equal():
    tables = make_tables()
    ladder = ladder_table(RUN, (1, 2), measure="ms-ssim")
    figure = draw_answer.answer(ladder, tables["points"].assign(psnr=np.nan))
    _, right = figure.axes
    assert right.get_ylabel() == "MS-SSIM, dB (mean over images)"
    for line in right.lines:
        assert line.get_ydata() == pytest.approx([12, 13])
    plt.close(figure)


def test_bound_has_points_only_where_the_last_rung_is_one(tables):
    ladder = tables["ladder"]
    above = (ladder["quality"] == 1) & (ladder["kind"] == str(BoundKind.UPPER_BOUND))
    figure = draw_answer.answer(ladder.assign(bpp=ladder["bpp"].mask(above, 2.0)), tables["points"])
    curves = {line.get_label(): line.get_xdata() for line in figure.axes[1].lines}
    assert curves["best bound"] == pytest.approx([np.nan, 1.6], nan_ok=True)
    plt.close(figure)


def test_legend_says_that_the_latents_are_the_codecs_own(tables):
    refined = with_refined_latents(tables["ladder"], "prior")
    figure = draw_answer.answer(refined, tables["points"])
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "quantization, as a bound\n(without the refined latents)" in names
    plt.close(figure)


def test_codec_without_a_bitstream_has_a_code_length_and_its_line(tables):
    figure = draw_answer.answer(without_bitstream(tables["ladder"]), tables["points"])
    left, right = figure.axes
    assert left.get_xlabel() == "saved at equal PSNR, % of the code length"
    look = STYLES[BoundKind.ACHIEVABLE]
    codec = right.lines[0]
    assert (codec.get_linestyle(), codec.get_marker()) == (look["linestyle"], look["marker"])
    plt.close(figure)
