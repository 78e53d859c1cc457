"""Write every curve in CompressAI's format of results, which its plot tool reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import CurveRole
from rdpipe.core.specs import Spec
from rdpipe.io import compressai_json, store


class ExportedCurve(Spec, frozen=True, kw_only=True):
    """One curve.

    Parameters
    ----------
    dataset : str
    codec : str, optional
        The codec that the curve belongs to; None for a baseline.
    curve : str
        Name of the curve in the tables.
    name : str
        Name in the file.
    """

    dataset: str
    codec: str | None = None
    curve: str
    name: str


class ExportCurvesSpec(Spec, frozen=True, kw_only=True):
    """What to export.

    Parameters
    ----------
    curves : list of ExportedCurve
        The curve of each file, in the order of the files.
    """

    curves: list[ExportedCurve]


def run(spec: ExportCurvesSpec, bounds: Path, out: list[Path]) -> None:
    """Write one JSON file for each curve.

    Parameters
    ----------
    spec : ExportCurvesSpec
    bounds : Path
        From ``trace_bounds``.
    out : list of Path
        The files. Points that could not be measured are left out.
    """
    points = store.read(bounds, "points").to_dataframe()
    for curve, file in zip(spec.curves, out, strict=True):
        rows = select_curve(points, curve)
        if rows.empty:
            raise InputError(f"{bounds}: no curve {curve.curve!r} of {curve.dataset!r}")
        measured = rows[np.isfinite(rows[["bpp", "psnr"]]).all(axis=1)].sort_values("bpp")
        description = f"{rows['kind'].iloc[0]}; {curve.dataset}, {rows['images'].iloc[0]} images"
        bpp, psnr = measured["bpp"].tolist(), measured["psnr"].tolist()
        compressai_json.write(file, curve.name, description, bpp, psnr)


def select_curve(points: pd.DataFrame, curve: ExportedCurve) -> pd.DataFrame:
    """Return the points of one curve."""
    matches = (points["dataset"] == curve.dataset) & (points["curve"] == curve.curve)
    if curve.codec is None:
        return points[matches & (points["role"] == CurveRole.BASELINE)]
    return points[matches & (points["codec"] == curve.codec)]
