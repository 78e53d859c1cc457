"""Fetch pretrained weights, so that no later job needs a network."""

from __future__ import annotations

import shutil
from pathlib import Path

from rdpipe.codecs.compressai.checkpoint import fetch
from rdpipe.core.specs import Spec
from rdpipe.io.files import write_atomically


class FetchWeightsSpec(Spec, frozen=True, kw_only=True):
    """A model of CompressAI's zoo.

    Parameters
    ----------
    architecture : str
    quality : int
    metric : str
        ``mse`` or ``ms-ssim``.
    """

    architecture: str
    quality: int
    metric: str = "mse"


def run(spec: FetchWeightsSpec, out: Path) -> None:
    """Copy the weights of a pretrained model, which are downloaded once.

    Parameters
    ----------
    spec : FetchWeightsSpec
    out : Path
        The file to write, as it is published.
    """
    file = fetch(spec.architecture, spec.quality, spec.metric)
    write_atomically(out, lambda path: shutil.copyfile(file, path))
