"""Every cell of some config entries, for several tests."""

from itertools import product

from rdpipe.core.axes import AXES, CellId


def all_cells(entries):
    """Return the cells with every combination of estimators."""
    combinations = product(*(entries[axis.section] for axis in AXES))
    return [CellId(*names) for names in combinations]
