"""What a real code saves today, at equal pictures.

It is claimed only for codes whose y_hat is the codec's own: another variance under rounding, with
the codec's own mean. They decode to the codec's own pictures, so what they save is saved at equal
PSNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.measured_curves import Run, Runs, stack
from rdpipe.analysis.rates import cell_bits
from rdpipe.analysis.tables import bd_rate_with_interval
from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.io.store import check_same_images

AVAILABLE_COLUMNS = ("dataset", "codec", "cell", "kind", "bd_rate", "bd_rate_low", "bd_rate_high")
"""Columns of :func:`available_frame`."""
NEGLIGIBLE = 0.005
"""Saving up to which a code counts as saving nothing, per cent of the rate."""


def available_frame(
    curves: Sequence[Curve], tables: Runs, arrays: Runs, decoded: Runs
) -> pd.DataFrame:
    """Return a row for each code that decodes to a codec's own pictures.

    Parameters
    ----------
    curves : sequence of Curve
        Among them the codecs' own curves.
    tables, arrays, decoded : mapping
        Tables of ``extract_latents``, whole arrays, and stores of ``read_bitstreams`` (empty if no
        real bytes were written); by dataset and codec, then by quality.

    Returns
    -------
    DataFrame
        ``cell``; ``kind``: achieved if the rate is that of real bytes, achievable if it is a code
        length; ``bd_rate`` against the codec's own bytes and its 95 % interval over images, per
        cent. Code lengths are used only for cells without real bytes.
    """
    rows = []
    for codec_curve in (curve for curve in curves if curve.role is CurveRole.CODEC):
        key = codec_curve.dataset, codec_curve.codec
        codes = real_codes(codec_curve, tables[key], arrays[key], decoded.get(key, {}))
        for code in codes:
            labels = {"dataset": code.dataset, "codec": code.codec, "cell": code.name}
            rates = bd_rate_with_interval(codec_curve, code)
            rows.append(labels | {"kind": str(code.kind)} | rates)
    return pd.DataFrame(rows, columns=list(AVAILABLE_COLUMNS))


def real_codes(codec_curve: Curve, tables: Run, arrays: Run, decoded: Run) -> list[Curve]:
    """Return the curves of the codes that decode to a codec's own pictures.

    A cell has the rate of its real bytes if they were decoded, otherwise its code length. In real
    bytes the codes include the codec's own variance, which the range coder of rdpipe codes.
    """
    decoded_cells = next(iter(decoded.values()))["cell"].values.tolist() if decoded else []
    curves = []
    for cell in (BASELINE_CELL, *same_picture_cells(next(iter(arrays.values())))):
        if str(cell) in decoded_cells:
            bits, kind = decoded_bits(codec_curve, decoded, cell), BoundKind.ACHIEVED
        elif cell != BASELINE_CELL:
            bpp = code_length_savings(codec_curve, tables, arrays, cell)
            bits = codec_curve.bits - bpp * codec_curve.pixels[:, None]
            kind = BoundKind.ACHIEVABLE
        else:
            continue
        curves.append(
            replace(codec_curve, name=str(cell), role=CurveRole.CELL, kind=kind, bits=bits)
        )
    return curves


def same_picture_cells(array: xr.Dataset) -> list[CellId]:
    """Return the cells that are real codes and whose y_hat is the codec's own, except the codec's.

    They differ from the codec in the variance alone.
    """
    cells = [BASELINE_CELL.replace(variance=name) for name in array["variance"].values.tolist()]
    return [
        cell
        for cell in cells
        if cell != BASELINE_CELL
        and BoundKind.parse(array["kind"].sel(cell.selector()).item()) is BoundKind.ACHIEVABLE
    ]


def decoded_bits(codec_curve: Curve, decoded: Run, cell: CellId) -> Values:
    """Return the bits of the decoded bytes of a cell over (image, quality)."""
    sizes = {quality: decoded[quality].sel(cell=str(cell)) for quality in codec_curve.qualities}
    for product in sizes.values():
        check_same_images(codec_curve.images, product["image"].values, f"the bytes of {cell}")
    return 8 * stack(sizes, "size")


def code_length_savings(codec_curve: Curve, tables: Run, arrays: Run, cell: CellId) -> Values:
    """Return the bit/pixel that a cell's code length saves over (image, quality).

    They are saved against the code length under the codec's own prior, which may not be a Gaussian.
    """
    columns = []
    for quality in codec_curve.qualities:
        table = tables[quality]
        own_bits = table["latent_bits"] + table["side_bits"]
        bits = cell_bits(arrays[quality], table).sel(cell.selector())
        columns.append(((own_bits - bits) / table["pixels"]).values)
    return np.stack(columns, 1)
