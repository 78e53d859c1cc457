"""Rows of a table that is made for all images at once."""

import numpy as np
import pytest

from rdpipe.core.errors import InputError
from rdpipe.stages.map_latents import keep


def test_rows_are_kept_and_one_of_another_shape_is_refused():
    table, rows = {}, [np.arange(3.0), np.arange(3.0) + 5]
    for i, row in enumerate(rows):
        keep(table, {"bits": row, "width": 7 + i}, i, 2)
    assert table["bits"].tolist() == [[0, 1, 2], [5, 6, 7]] and table["width"].tolist() == [7, 8]
    with pytest.raises(InputError, match=r"image 1: bits has shape \(1,\); that of the first has \(3,\)"):
        keep(table, {"bits": np.ones(1)}, 1, 2)
