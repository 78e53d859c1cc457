"""Figures of the latents: what is drawn, against the table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from small_page import LIMITS, make_maps

from rdpipe.report import draw_latents, frames, pictures


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def channels(quality, moments, theta):
    moments = np.asarray(moments, float)
    data = {"second_moment": moments, "predicted": 1.1 * moments, "theta": theta}
    return pd.DataFrame({**data, "quality": quality})


def outlines(axes):
    """Return the values and edges of the step lines of a panel, by label."""
    lines = {patch.get_label(): patch.get_data() for patch in axes.patches if not patch.get_fill()}
    return {label: (data.values.tolist(), data.edges.tolist()) for label, data in lines.items()}


def test_water_level_of_each_channel_follows_the_sorted_channels():
    figure = draw_latents.water(channels(1, [1.0, 4.0, 2.0], [0.1, 0.2, 0.3]))
    edges = [-0.5, 0.5, 1.5, 2.5]
    expected = {
        "second moment": ([4.0, 2.0, 1.0], edges),
        "water level": ([0.2, 0.3, 0.1], edges),
    }
    assert outlines(figure.axes[0]) == expected


def test_water_level_of_one_channel_is_a_line():
    _, edges = outlines(draw_latents.water(channels(1, [2.0], [0.1])).axes[0])["water level"]
    assert edges == [-0.5, 0.5]


def test_variances_and_levels_of_all_qualities_are_within_the_axes():
    """The panels share their axes."""
    table = pd.concat(
        [channels(1, [4.0, 1.0], [9.0, 9.0]), channels(2, [400.0, 100.0], [0.01, np.inf])]
    )
    figure = draw_latents.water(table)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert 0 < low < 0.01 and 440 < high < np.inf
    figure.canvas.draw()


@pytest.mark.parametrize("draw", [draw_latents.water, draw_latents.residuals])
def test_figure_of_a_run_in_which_nothing_is_coded_says_so(draw):
    none = pd.DataFrame(columns=["quality", "class", "second_moment", "predicted", "theta"])
    assert draw(none).axes[0].get_title() == "nothing is coded"


def test_bits_without_a_place_are_said_below_the_maps():
    root, groups = make_maps(("one",), 1)
    table = pictures.map_frame(root, groups[0], LIMITS)
    assert draw_latents.maps(table).get_supxlabel() == ""
    remark = draw_latents.maps(table.assign(unplaced=0.25)).get_supxlabel()
    assert remark == frames.unplaced_remark([0.25]) != ""
