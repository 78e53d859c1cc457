"""Codecs, by the names that configs use.

A codec is built for one quality by a factory ``factory(quality, **args)``. A config names it in
``use``: by a name of this registry or as ``module:attribute``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["CODECS", "EMBEDDED", "fill_in_quality", "weights_of"]

EMBEDDED = Path(__file__).parent / "weights"
"""Folder of the weights in the package, by the names of :data:`CODECS`."""

CODECS = {
    "automatic": "rdpipe.codecs.automatic:automatic",
    "compressai": "rdpipe.codecs.compressai.factories:from_checkpoint",
    "dct": "rdpipe.codecs.linear:dct",
    "joint-upper": "rdpipe.codecs.compressai.factories:joint_upper",
    "klt": "rdpipe.codecs.linear:klt",
    "mini-context": "rdpipe.codecs.compressai.factories:mini_context",
    "mini-factorized": "rdpipe.codecs.compressai.factories:mini_factorized",
    "mini-mean-scale": "rdpipe.codecs.compressai.factories:mini_mean_scale",
    "mini-scale": "rdpipe.codecs.compressai.factories:mini_scale",
    "random-transform": "rdpipe.codecs.linear:random_transform",
    "refined": "rdpipe.refinement.spec:RefinementSpec",
    "retuned": "rdpipe.codecs.building:retuned",
    "trained": "rdpipe.codecs.compressai.factories:from_training",
}
"""``module:attribute`` of the factory of each known codec."""


def weights_of(checkpoint: str, quality: int) -> str:
    """Return the file with the weights of one quality.

    Parameters
    ----------
    checkpoint : str
        Path in which every ``{quality}`` is replaced, and a leading ``~`` by the home; other braces
        stay.
    quality : int
        Quality of the codec.

    Examples
    --------
    >>> weights_of("lambda-{quality}.pth.tar", 3)
    'lambda-3.pth.tar'
    """
    return os.path.expanduser(checkpoint.replace("{quality}", str(quality)))


def fill_in_quality(value: Any, quality: int) -> Any:
    """Return an argument in which ``{quality}`` is replaced, also within dicts and lists.

    Parameters
    ----------
    value : object
        A string that is only ``{quality}`` becomes an int; other braces stay.
    quality : int
        Quality of the codec.

    Examples
    --------
    >>> fill_in_quality({"rate": "{quality}", "files": ["q{quality}.json", 0.5]}, 3)
    {'rate': 3, 'files': ['q3.json', 0.5]}
    """
    if isinstance(value, str):
        return quality if value == "{quality}" else value.replace("{quality}", str(quality))
    if isinstance(value, dict):
        return {name: fill_in_quality(item, quality) for name, item in value.items()}
    if isinstance(value, list):
        return [fill_in_quality(item, quality) for item in value]
    return value
