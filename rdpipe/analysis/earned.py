"""What the codec's own mean and variance earn, beside what is left.

Each is compared with a cell that does without it, at equal quality of the pictures. See
``docs/explanation/science.md``, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rdpipe.analysis.curves import Curve
from rdpipe.analysis.measures import CURVE_MEASURES
from rdpipe.analysis.tables import bd_rate_with_interval
from rdpipe.core.axes import BASELINE_CELL
from rdpipe.core.kinds import CurveRole

CHANNEL_CELL = BASELINE_CELL.replace(variance="channel")
MODULES = {
    "variance": (str(CHANNEL_CELL), str(BASELINE_CELL)),
    "mean": (str(CHANNEL_CELL.replace(mean="zero")), str(CHANNEL_CELL)),
}
"""The cells without and with each module; the variance without is transmitted for each channel."""
RATE_COLUMNS = (
    "bd_rate",
    "bd_rate_low",
    "bd_rate_high",
    "interpolation_error",
    "overlap",
    "reason",
    "remark",
)
EARNED_COLUMNS = ("dataset", "codec", "module", "without", "with", "measure", *RATE_COLUMNS)
"""Columns of :func:`earned_frame`."""


def earned_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return what each module saves against the cell without it.

    A cell pays for the side information that it uses.

    Parameters
    ----------
    curves : sequence of Curve
        A module has no row if one of its cells is not among them.

    Returns
    -------
    DataFrame
        A row for each codec, ``module`` (``variance`` or ``mean``) and ``measure`` of the quality
        that is equal. ``bd_rate`` is the change of the rate from the cell ``without`` to the cell
        ``with`` the module, per cent, with its paired 95 % interval over images; the other columns
        are those of :func:`rdpipe.analysis.tables.bd_rate_frame`.
    """
    cells: dict[tuple[str, str], dict[str, Curve]] = {}
    for curve in curves:
        if curve.role is CurveRole.CELL:
            cells.setdefault((curve.dataset, curve.codec), {})[curve.name] = curve
    rows = [
        {
            "dataset": dataset,
            "codec": codec,
            "module": module,
            "without": without,
            "with": with_module,
            "measure": measure.name,
            **bd_rate_with_interval(of_codec[without], of_codec[with_module], measure),
        }
        for (dataset, codec), of_codec in cells.items()
        for module, (without, with_module) in MODULES.items()
        if without in of_codec and with_module in of_codec
        for measure in CURVE_MEASURES.values()
    ]
    return pd.DataFrame(rows, columns=list(EARNED_COLUMNS))
