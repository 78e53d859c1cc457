"""Curves in the JSON format of CompressAI's tools ``bench``, ``eval_model`` and ``plot``.

Each file holds one curve::

    {"name": "mbt2018-mean", "description": "Inference (ans)",
     "results": {"bpp": [0.12, 0.20], "psnr-rgb": [27.7, 29.4]}}

Rate and PSNR are averages over the images of a dataset, as in rdpipe; the file does not name the
dataset. CompressAI's published files call the PSNR ``psnr``, its tools (1.2.8) ``psnr-rgb``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically

PSNR_KEYS = ("psnr-rgb", "psnr")
"""Names of the PSNR, the preferred one first."""


class CurveFile(NamedTuple):
    """The content of one file.

    Parameters
    ----------
    name, description : str
    bpp, psnr : list of float
        bit/pixel and dB, of equal length.
    """

    name: str
    description: str
    bpp: list[Any]
    psnr: list[Any]


def read(file: Path) -> CurveFile:
    """Read one curve.

    Parameters
    ----------
    file : Path

    Returns
    -------
    CurveFile
        If the file has no name, the name is that of the file up to its first dot. The numbers are
        not validated.

    Raises
    ------
    InputError
        If the file cannot be read, or does not have both lists with the same length.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
    results = data.get("results", data) if isinstance(data, dict) else None
    if not isinstance(results, dict) or "bpp" not in results:
        raise InputError(
            f"{file}: no results with 'bpp' and 'psnr-rgb'; expected the JSON format of CompressAI"
        )
    if not (key := next((key for key in PSNR_KEYS if key in results), None)):
        raise InputError(f"{file}: no 'psnr-rgb' or 'psnr' among {', '.join(results)}")
    bpp, psnr = results["bpp"], results[key]
    if not (isinstance(bpp, list) and isinstance(psnr, list) and len(bpp) == len(psnr) > 0):
        raise InputError(f"{file}: 'bpp' and {key!r} must be lists of the same length")
    name = data.get("name") or file.name.split(".")[0]
    return CurveFile(str(name), str(data.get("description", "")), bpp, psnr)


def write(file: Path, name: str, description: str, bpp: list[float], psnr: list[float]) -> None:
    """Write one curve; the parameters are the fields of :class:`CurveFile`."""
    results = {"bpp": bpp, "psnr-rgb": psnr}
    text = json.dumps({"name": name, "description": description, "results": results}, indent=2)
    write_atomically(file, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))
