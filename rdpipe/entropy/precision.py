"""Copies of codecs that predict alike on every machine, and the check of what they decode."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rdpipe.core.device import raise_lack_of_memory
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Codec, SupportsFloat64
from rdpipe.entropy.coder import OTHER_NUMBERS, Decoder, DecodingError


@contextmanager
def decoding(coder: Decoder) -> Iterator[None]:
    """Check at the end of the block that the symbols are those that were written.

    Wrong symbols may lead to any error before that; it is replaced, and named. So is an error of a
    codec that uses the image where there is none.

    Raises
    ------
    DecodingError
        If they are not.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of a codec that decodes nonsense
        raise_lack_of_memory(error)
        cause = f" ({type(error).__name__}: {error})"
        raise DecodingError(OTHER_NUMBERS + cause) from error
    coder.finish()


@contextmanager
def in_float64(codec: Codec) -> Iterator[Codec]:
    """Return a copy of a codec whose means and scales are computed in float64.

    If the codec does not make one itself, all modules and tensors that it holds are converted, also
    in lists and dicts, and new tensors are of that type in the block.
    """
    if isinstance(codec, SupportsFloat64):
        yield codec.to_float64()
        return
    with default_dtype(torch.float64):
        yield _convert(copy.deepcopy(codec))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let new tensors of the whole process be of a type in the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _convert(value: Any, depth: int = 4) -> Any:
    """Convert an object that holds modules and tensors, in place where possible."""
    if isinstance(value, nn.Module):
        for module in value.double().modules():
            for name, item in vars(module).items():
                if isinstance(item, Tensor):
                    vars(module)[name] = _convert(item)
        return value
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if depth == 0 or isinstance(value, (str, bytes, int, float, type)):
        return value
    if type(value) in (list, tuple):
        return type(value)(_convert(item, depth - 1) for item in value)
    if isinstance(value, dict):
        value.update({key: _convert(item, depth - 1) for key, item in value.items()})
    elif hasattr(value, "__dict__"):
        for name, item in vars(value).items():
            vars(value)[name] = _convert(item, depth - 1)
    return value
