"""Write every curve in CompressAI's format of results, so that its plot tool draws it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rdpipe.io import compressai_json as results_json, store
from rdpipe.core.errors import InputError


def run(spec: dict, bounds: Path, out: list[Path]) -> None:
    """Write one JSON file for each curve.

    Parameters
    ----------
    spec : dict
        ``curves``: of each file, in their order, ``dataset``, ``codec`` (empty for an anchor), ``curve``
        and the ``name`` to show.
    bounds : Path
        From ``trace_bounds``.
    out : list of Path
        The files; a point that could not be measured is left out.
    """
    points = store.read(bounds, "points").to_dataframe().fillna({"codec": "", "source": ""})
    for one, file in zip(spec["curves"], out, strict=True):
        rows = points[(points[["dataset", "codec", "curve"]] == [
            one["dataset"], one["codec"], one["curve"]]).all(axis=1)]  # fmt: skip
        if rows.empty:
            raise InputError(f"{bounds}: no curve {one['curve']!r} of {one['dataset']!r}")
        measured = rows[np.isfinite(rows[["bpp", "psnr"]]).all(axis=1)].sort_values("bpp")
        description = f"{rows['kind'].iloc[0]}; {one['dataset']}, {rows['images'].iloc[0]} images"
        results_json.write(file, one["name"], description, measured["bpp"].tolist(),
                           measured["psnr"].tolist())  # fmt: skip
