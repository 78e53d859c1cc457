"""Checks of what users define: what it declares, what it accepts and what it returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")


def check_information(label: str, part: object) -> Information:
    """Return what a part knows.

    Parameters
    ----------
    label : str
        Axis and name of the part, for the error message.
    part : object
        An estimator or a quantizer.

    Raises
    ------
    InputError
        If it is a class instead of an instance, or its attribute ``information`` is missing or
        invalid.
    """
    if isinstance(part, type):
        raise InputError(f"{label} is the class {part.__name__}; expected an instance of it")
    if not hasattr(part, "information"):
        allowed = ", ".join(repr(member.value) for member in Information)
        raise InputError(f"{label} has no attribute 'information'; expected one of: {allowed}")
    return Information.parse(part.information, label)


def check_method(label: str, part: object, method: str, parameters: Sequence[str]) -> None:
    """Check that a part has a method which accepts some positional arguments.

    Raises
    ------
    InputError
        If the method is missing or has other parameters.
    """
    expected = f"{method}({', '.join(parameters)})"
    function = getattr(part, method, None)
    if not callable(function):
        raise InputError(f"{label} has no method {method!r}; expected {expected}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function of an extension module may have no signature
        return
    try:
        signature.bind(*parameters)
    except TypeError:
        raise InputError(f"{label} has {method}{signature}; expected {expected}") from None


def check_tensor(label: str, value: object, like: Tensor) -> Tensor:
    """Return a tensor if it can stand for another one.

    Parameters
    ----------
    label : str
        What returned the value, for the error message.
    value : object
    like : Tensor
        A tensor whose shape and device the value must have.

    Returns
    -------
    Tensor
        The value without its computational graph.

    Raises
    ------
    InputError
        If it is not a floating-point tensor of this shape on this device.
    """
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{label} returned a {type(value).__name__}; expected a torch.Tensor")
    if value.shape != like.shape:
        raise InputError(
            f"{label} returned a tensor of shape {tuple(value.shape)}; expected {tuple(like.shape)}"
        )
    if not value.is_floating_point():
        raise InputError(
            f"{label} returned a tensor of {value.dtype}; expected a floating-point type"
        )
    if value.device != like.device:
        raise InputError(f"{label} returned a tensor on {value.device}; expected {like.device}")
    return value.detach()


def is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers of a tensor are finite."""
    # a sum is faster than a test of each number, and finite only if all of them are
    return math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())


def check_finite(label: str, tensor: Tensor) -> Tensor:
    """Return a tensor if all its numbers are finite.

    Raises
    ------
    InputError
        If they are not.
    """
    if not is_finite(tensor):
        raise InputError(f"{label} returned numbers that are not finite; expected finite numbers")
    return tensor


def check_variances(label: str, tensor: Tensor) -> Tensor:
    """Return a tensor if all its numbers are finite and nonnegative.

    Raises
    ------
    InputError
        If they are not; names the first invalid one.
    """
    if tensor.numel():
        least, largest = (value.item() for value in torch.aminmax(tensor))
        if not (least >= 0 and largest < math.inf):
            valid = (tensor >= 0) & (tensor < math.inf)
            invalid = tensor[~valid][0].item()
            raise InputError(f"{label} returned {invalid:g}; expected finite numbers >= 0")
    return tensor


@contextmanager
def check_unchanged(label: str, **tensors: Tensor) -> Iterator[None]:
    """Check that the block does not change some tensors in place.

    Raises
    ------
    InputError
        If it does; names the tensor.
    """
    before = {name: _version(tensor) for name, tensor in tensors.items()}
    yield
    for name, tensor in tensors.items():
        if _version(tensor) != before[name]:
            raise InputError(f"{label} changed {name} in place; expected a new tensor")


def _version(tensor: Tensor) -> int:
    """Return a number that every change in place increases."""
    return 0 if tensor.is_inference() else tensor._version
