"""Find the images of a dataset, decode each once, and describe them in a manifest."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from rdpipe.core.plugins import build_entry
from rdpipe.datasets import DATASETS, manifest
from rdpipe.stages.specs import DatasetSpec

logger = logging.getLogger(__name__)


class PrepareDatasetSpec(DatasetSpec, frozen=True, kw_only=True):
    """A dataset to describe.

    Parameters
    ----------
    on_error : {"stop", "skip"}
        Whether an image that cannot be read is an error, or is skipped and listed.
    """

    on_error: Literal["stop", "skip"]


def run(
    spec: PrepareDatasetSpec,
    out: Path,
    pack: list[Path] = [],  # noqa: B006 (the default of a flag)
) -> None:
    """Write the manifest of a dataset.

    Parameters
    ----------
    spec : PrepareDatasetSpec
    out : Path
        The ``manifest.json`` to write.
    pack : list of Path
        A zip archive to write with the files of all images, for jobs on other machines; empty if
        all jobs can read the files.
    """
    sources = build_entry("dataset", spec.name, spec.entry, DATASETS)
    content = manifest.build(sources, spec.on_error)
    for remark in manifest.remarks(content):
        logger.warning("%s: %s", spec.name, remark)
    for file in pack:
        content = manifest.pack_images(content, file)
    manifest.write(out, content)
