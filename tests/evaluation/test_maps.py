"""Rows of a table that is allocated for all images at once."""

import numpy as np
import pytest

from rdpipe.core.errors import InputError
from rdpipe.evaluation.maps import MapTable


def test_rows_are_stored_and_a_row_of_another_shape_is_refused():
    table, rows = MapTable(["a", "b"]), [np.arange(3.0), np.arange(3.0) + 5]
    for i, row in enumerate(rows):
        table.add(i, {"bits": row, "width": 7 + i})
    assert table.columns["bits"].tolist() == [[0, 1, 2], [5, 6, 7]]
    assert table.columns["width"].tolist() == [7, 8]
    message = r"image 'b': bits has shape \(1,\); expected \(3,\), the shape for the first image"
    with pytest.raises(InputError, match=message):
        table.add(1, {"bits": np.ones(1)})
