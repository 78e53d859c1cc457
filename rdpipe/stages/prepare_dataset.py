"""Find the images of a data set, decode each once, and write down what they are."""

from __future__ import annotations

from pathlib import Path

from rdpipe.datasets import DATASETS, manifest
from rdpipe.core.plugins import build_entry


def run(spec: dict, out: Path) -> None:
    """Write the manifest of a data set.

    Parameters
    ----------
    spec : dict
        ``name``, ``entry`` (``use`` and ``args`` from the config) and ``on_error``.
    out : Path
        The ``manifest.json`` to write.
    """
    sources = build_entry("dataset", spec["name"], spec["entry"], DATASETS)
    manifest.write(out, manifest.build(sources, spec["on_error"]))
