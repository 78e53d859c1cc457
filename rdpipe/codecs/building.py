"""Codecs from the entries of a config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdpipe.codecs import CODECS, weights_of
from rdpipe.codecs.importing import prepare_import
from rdpipe.core.device import claim_cards, use_full_precision
from rdpipe.core.errors import InputError, attribute_to_user
from rdpipe.core.plugins import build_entry, load_attribute, locate
from rdpipe.core.process import retain_freed_memory
from rdpipe.core.protocols import Codec, SupportsTraining


def build_codec(name: str, quality: int, entry: Mapping[str, Any], device: str) -> Codec:
    """Build a codec from its config entry, on a device if its factory has this parameter.

    Parameters
    ----------
    name : str
        Name in the config.
    quality : int
    entry : mapping
        ``use`` and ``args``, both optional.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises
    ------
    InputError
        If the name is unknown or the arguments do not fit.
    """
    arguments = dict(entry.get("args", {}))
    prepare_import()  # a user's module may import CompressAI
    retain_freed_memory()
    use_full_precision()
    factory = load_attribute(locate("codec", entry.get("use", name), CODECS)[0])
    if "device" in inspect.signature(factory).parameters:
        arguments.setdefault("device", device)
        claim_cards(arguments["device"])
    codec: Codec = build_entry("codec", name, {**entry, "args": arguments}, CODECS, quality)
    attribute_to_user(type(codec).__module__)  # where a factory may be in another package
    return codec


def retuned(quality: int, codec: Mapping[str, Any], checkpoint: str, device: str = "auto") -> Codec:
    """Return a codec with the weights that ``retune_codec`` wrote.

    Parameters
    ----------
    quality : int
    codec : mapping
        ``use`` and ``args`` of the codec whose weights are fine-tuned.
    checkpoint : str
        The weights, ``.safetensors``; ``{quality}`` stands for the quality.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises
    ------
    InputError
        If the codec cannot be trained, or the weights are not its own.
    """
    from safetensors.torch import load_file  # of an extra

    instance = build_codec(codec["use"], quality, codec, device)
    if not isinstance(instance, SupportsTraining):
        name = type(instance).__name__
        raise InputError(f"{name} cannot be trained, so it has no trained weights")
    instance.load_checkpoint(load_file(Path(weights_of(checkpoint, quality))))
    return instance
