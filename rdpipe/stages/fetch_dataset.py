"""Fetch a published dataset, so that no later job needs a network."""

from __future__ import annotations

import json
from pathlib import Path

from rdpipe.core.plugins import build_entry
from rdpipe.datasets import DATASETS
from rdpipe.io.files import write_atomically
from rdpipe.stages.specs import DatasetSpec


class FetchDatasetSpec(DatasetSpec, frozen=True, kw_only=True):
    """A published dataset."""


def run(spec: FetchDatasetSpec, out: Path) -> None:
    """Download the images of a dataset if they are absent, verify them and list their files.

    Parameters
    ----------
    spec : FetchDatasetSpec
    out : Path
        The JSON file to write.
    """
    files = [source.file for source in build_entry("dataset", spec.name, spec.entry, DATASETS)]
    write_atomically(out, lambda path: path.write_text(json.dumps({"files": files}, indent=1)))
