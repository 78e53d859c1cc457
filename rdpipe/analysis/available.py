"""What a real code saves today, at equal pictures.

It is claimed only for real codes, by their own curve: cells that were simulated through the decoder
at the quality of the codec's pictures, and codes whose y_hat is the codec's own (another variance
under rounding, with the codec's own mean), which decode to the codec's own pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.ladder import TERMS
from rdpipe.analysis.measured_curves import Run, Runs, stack
from rdpipe.analysis.measures import CURVE_MEASURES
from rdpipe.analysis.rates import cell_bits
from rdpipe.analysis.tables import bd_rate_with_interval
from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.io.store import check_same_images

AVAILABLE_COLUMNS = (
    "dataset",
    "codec",
    "cell",
    "role",
    "kind",
    "measure",
    "bd_rate",
    "bd_rate_low",
    "bd_rate_high",
    "encoder_seconds",
)
"""Columns of :func:`available_frame`."""
OWN_CELLS = (BASELINE_CELL, BASELINE_CELL.replace(quantizer="codec"))
"""Cells whose code length is that of the codec's own prior, or nearly so: they save nothing."""
NEGLIGIBLE = 0.005
"""Saving up to which a code counts as saving nothing, per cent of the rate."""


def available_frame(
    curves: Sequence[Curve],
    tables: Runs,
    arrays: Runs,
    decoded: Runs,
    measure: str,
    seconds: Mapping[tuple[str, str], Mapping[str, float]] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return a row for each real code of each codec.

    Parameters
    ----------
    curves : sequence of Curve
        Among them the codecs' own curves, and those of their simulated cells.
    tables, arrays, decoded : mapping
        Tables of ``extract_latents``, whole arrays, and stores of ``read_bitstreams`` (empty if no
        real bytes were written); by dataset and codec, then by quality.
    measure : str
        The quality at which cells were simulated, which is equal in the BD-rates.
    seconds : mapping
        Times of encoders by dataset and codec, then by the name of the code; see
        :func:`rdpipe.analysis.encoder_times.encoder_seconds`.

    Returns
    -------
    DataFrame
        ``cell``, or the name of a codec with refined latents or other weights; ``role``; ``kind``:
        achieved if the rate is that of real bytes, achievable if it is a code length; ``bd_rate``
        against the codec's own bytes and its 95 % interval over images, per cent; and
        ``encoder_seconds`` per megapixel, NaN if they were not measured. Code lengths are used only
        for cells without real bytes.
    """
    rows = []
    for codec_curve in (curve for curve in curves if curve.role is CurveRole.CODEC):
        key = codec_curve.dataset, codec_curve.codec
        simulated = [
            curve
            for curve in curves
            if (curve.dataset, curve.codec) == key and curve.role is CurveRole.CELL
        ]
        times = seconds.get(key, {})
        runs = tables[key], arrays[key], decoded.get(key, {})
        changed = [
            curve
            for curve in curves
            if (curve.dataset, curve.codec) == key
            and curve.role in TERMS
            and curve.kind.is_realizable
        ]
        for code in [*real_codes(codec_curve, simulated, *runs), *changed]:
            labels = {
                "dataset": code.dataset,
                "codec": code.codec,
                "cell": code.name,
                "role": str(code.role),
                "kind": str(code.kind),
                "measure": measure,
            }
            rates = bd_rate_with_interval(codec_curve, code, CURVE_MEASURES[measure])
            rows.append(labels | rates | {"encoder_seconds": time_of(code, times)})
    return pd.DataFrame(rows, columns=list(AVAILABLE_COLUMNS))


def time_of(code: Curve, times: Mapping[str, float]) -> float:
    """Return the time of the encoder of a code; that of a refined codec is that of its own cell."""
    own_cell = f"{code.name}: {BASELINE_CELL}"
    return times.get(code.name, times.get(own_cell, math.nan))


def real_codes(
    codec_curve: Curve, simulated: Sequence[Curve], tables: Run, arrays: Run, decoded: Run
) -> list[Curve]:
    """Return the curves of the real codes of a codec.

    A cell has the rate and the pictures of its real bytes if they were decoded, otherwise its code
    length. In real bytes the codes include the codec's own variance, which the range coder of
    rdpipe codes.
    """
    curves = {
        curve.name: curve
        for curve in simulated
        if curve.kind is BoundKind.ACHIEVABLE and CellId.parse(curve.name) not in OWN_CELLS
    }
    for cell in same_picture_cells(next(iter(arrays.values()))):
        bpp = code_length_savings(codec_curve, tables, arrays, cell)
        curves[str(cell)] = replace(
            codec_curve,
            name=str(cell),
            role=CurveRole.CELL,
            kind=BoundKind.ACHIEVABLE,
            bits=codec_curve.bits - bpp * codec_curve.pixels[:, None],
        )
    decoded_cells = next(iter(decoded.values()))["cell"].values.tolist() if decoded else []
    for name in decoded_cells:
        curves[name] = decoded_curve(codec_curve, decoded, name)
    return list(curves.values())


def decoded_curve(codec_curve: Curve, decoded: Run, name: str) -> Curve:
    """Return the curve of the real bytes of a cell, and of the images that they decode to."""
    cells = {quality: decoded[quality].sel(cell=name) for quality in codec_curve.qualities}
    for product in cells.values():
        check_same_images(codec_curve.images, product["image"].values, f"the bytes of {name}")
    return replace(
        codec_curve,
        name=name,
        role=CurveRole.CELL,
        kind=BoundKind.ACHIEVED,
        bits=8 * stack(cells, "size"),
        mse=stack(cells, "mse"),
        ms_ssim=stack(cells, "ms_ssim"),
    )


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
