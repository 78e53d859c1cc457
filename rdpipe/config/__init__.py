"""The config: what is checked before any job starts, and what rules ask of it.

Nothing heavy is imported: the Snakefile is read again in every job of a cluster.
"""

from rdpipe.config.check import complete
from rdpipe.config.query import (
    AXES,
    COMPONENTS,
    analysed,
    asks_for_gain,
    beside,
    checkpoint,
    curves,
    fitted_estimators,
    gap_axes,
    limit_axes,
    means_of,
    measured,
    modules,
    simulation,
    tables,
)

__all__ = [
    "AXES",
    "COMPONENTS",
    "analysed",
    "asks_for_gain",
    "beside",
    "checkpoint",
    "complete",
    "curves",
    "fitted_estimators",
    "gap_axes",
    "limit_axes",
    "means_of",
    "measured",
    "modules",
    "simulation",
    "tables",
]
