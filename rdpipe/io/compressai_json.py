"""CompressAI's results: one JSON file for each curve, as its ``bench``, ``eval_model`` and ``plot`` have it.

```
{"name": "mbt2018-mean", "description": "Inference (ans)",
 "results": {"bpp": [0.12, 0.20], "psnr-rgb": [27.7, 29.4]}}
```

Rate and PSNR are averages over the images of a data set, as rdpipe's are; the file does not say of
which. Its published files call the PSNR ``psnr``, its tools (1.2.8) ``psnr-rgb``.
"""

from __future__ import annotations

import json
from pathlib import Path

from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically

PSNR = ("psnr-rgb", "psnr")


def read(file: Path) -> tuple[str, str, list[float], list[float]]:
    """Read one curve.

    Parameters
    ----------
    file : Path

    Returns
    -------
    name, description : str
        The name is that of the file, up to its first dot, where the file has none.
    bpp, psnr : list of float
        Bit/pixel and dB.

    Raises
    ------
    InputError
        If the file cannot be read, or has not both of them, in lists of the same length.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}") from error
    results = data.get("results", data) if isinstance(data, dict) else None
    if not isinstance(results, dict) or "bpp" not in results:
        raise InputError(f"{file}: no results with 'bpp' and 'psnr-rgb' in CompressAI's format")
    if not (key := next((key for key in PSNR if key in results), None)):
        raise InputError(f"{file}: no 'psnr-rgb' or 'psnr' among {', '.join(results)}")
    bpp, psnr = results["bpp"], results[key]
    if not (isinstance(bpp, list) and isinstance(psnr, list) and len(bpp) == len(psnr) > 0):
        raise InputError(f"{file}: 'bpp' and {key!r} must be lists of the same length")
    name = data.get("name") or file.name.split(".")[0]
    return str(name), str(data.get("description", "")), bpp, psnr


def write(file: Path, name: str, description: str, bpp: list[float], psnr: list[float]) -> None:
    """Write one curve, whole or not at all; parameters as :func:`read` returns them."""
    results = {"bpp": bpp, "psnr-rgb": psnr}
    text = json.dumps({"name": name, "description": description, "results": results}, indent=2)
    write_atomically(file, lambda new: new.write_text(text + "\n", encoding="utf-8"))
