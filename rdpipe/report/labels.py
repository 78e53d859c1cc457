"""Names that people use for curves, beside the names of their cells."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Reconstruction

NAMED = {
    "points": "curve",
    "savings": "curve",
    "bd_rates": "curve",
    "available": "cell",
    "codes": "cell",
    "ladder": "name",
}
"""Tables with curves, and the column with their names."""
QUANTIZER_NAMES = {"lattice-e8": "E8 lattice"}
"""Names of quantizers that are not those of the registry without hyphens."""
Labels = Mapping[str, str]
"""Labels by the name of a codec, a baseline or a curve."""
NO_LABELS: Labels = MappingProxyType({})
"""Labels of a config without any."""


def with_labels(
    tables: Mapping[str, pd.DataFrame], labels: Labels = NO_LABELS
) -> dict[str, pd.DataFrame]:
    """Return tables with a column ``label``, where they have curves: see :func:`curve_label`.

    The ladder also has a column ``codec_label``.
    """
    labeled = dict(tables)
    for name in NAMED.keys() & tables.keys():
        curves = tables[name][NAMED[name]]
        labeled[name] = tables[name].assign(label=[curve_label(c, labels) for c in curves])
    if "ladder" in labeled:
        codecs = [labels.get(codec, codec) for codec in labeled["ladder"]["codec"]]
        labeled["ladder"] = labeled["ladder"].assign(codec_label=codecs)
    return labeled


def curve_label(curve: str, labels: Labels = NO_LABELS) -> str:
    """Return the label of a curve; without one, what its cell changes in the codec.

    Examples
    --------
    >>> curve_label("linear-causal/codec/test-channel/calibrated")
    'mean linear-causal, test channel, calibrated'
    >>> curve_label("mine: codec/codec/rounding", {"mine": "My codec"})
    'My codec, rounding'
    """
    if curve in labels:
        return labels[curve]
    owner, _, name = curve.rpartition(": ")
    owner = labels.get(owner, owner)
    if name in labels:
        return f"{owner}, {labels[name]}"
    try:
        cell = CellId.parse(name)
    except InputError:
        return curve
    changed = [
        f"{axis} {getattr(cell, axis)}"
        for axis in ("mean", "variance")
        if getattr(cell, axis) != getattr(BASELINE_CELL, axis)
    ]
    quantizer = QUANTIZER_NAMES.get(cell.quantizer, cell.quantizer.replace("-", " "))
    calibrated = "" if cell.reconstruction is Reconstruction.PLAIN else str(cell.reconstruction)
    return ", ".join(filter(None, [owner, *changed, quantizer, calibrated]))
