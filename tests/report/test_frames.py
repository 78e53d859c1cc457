"""Tidy tables of the stores of maps."""

import numpy as np
from small_page import LIMITS, make_maps

from rdpipe.report import frames


def test_water_level_is_that_of_the_first_cell_whose_level_is_theta():
    """The name of a quantizer in the config has no influence."""
    maps, _ = make_maps(["a", "b"], 1)
    kinds = [
        "theta" if name == "codec/element/rounding" else "step" for name in maps["cell"].values
    ]
    levels = np.where(maps["cell"] == "codec/element/rounding", 0.25, 0.08)
    levels = np.broadcast_to(levels[:, None], maps["level"].shape)
    maps = maps.assign(level=(("cell", "image"), levels))
    maps = maps.assign_coords(level_kind=("cell", kinds))
    assert np.allclose(frames.channel_frame(maps, LIMITS)["theta"], 0.25)
    no_level = maps.assign_coords(level_kind=("cell", ["step"] * len(kinds)))
    assert frames.channel_frame(no_level, LIMITS)["theta"].isna().all()
