"""Validation of means and variances, and wrappers that let plain classes stand for them.

A plain class needs ``information`` and ``__call__`` only; ``uses_side`` and ``uses_context`` are
optional. Everything that an estimator returns is checked before a number is computed from it. An
estimator that claims to be decodable is also asked without the latents: it must answer the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.core.validation import (
    check_finite,
    check_information,
    check_method,
    check_tensor,
    check_variances,
)
from rdpipe.estimators.base import (
    CausalEstimator,
    Estimator,
    FittedEstimator,
    Mean,
    Transmitter,
    Variance,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
else:
    torch = lazy_loader.load("torch")

MEAN_PARAMETERS = ("latents",)
VARIANCE_PARAMETERS = ("latents", "residual")
DERIVED = {"is_codec", "reproduces_codec", "has_expected_distortion"}
"""Properties that state whether methods are inherited unchanged."""
PREDICT_PARAMETERS = ("context", "initial", "channels", "positions")


def adapt_mean(name: str, mean: Any) -> Mean:
    """Return a mean that fulfills its contract; wrap a plain class.

    Parameters
    ----------
    name : str
        Name in the config, for error messages.
    mean : object
        A :class:`~rdpipe.estimators.base.Mean`, or an object with ``information`` and
        ``__call__(latents)``.

    Raises
    ------
    InputError
        If an attribute or a method is missing or invalid.
    """
    label = f"mean {name!r}"
    information = check_information(label, mean)
    check_method(label, mean, "__call__", MEAN_PARAMETERS)
    check_traits(label, mean, Mean)
    return mean if isinstance(mean, Mean) else UserMean(mean, information)


def adapt_variance(name: str, variance: Any) -> Variance:
    """Return a variance that fulfills its contract; wrap a plain class.

    Parameters
    ----------
    name : str
        Name in the config, for error messages.
    variance : object
        A :class:`~rdpipe.estimators.base.Variance`, or an object with ``information`` and
        ``__call__(latents, residual)``.

    Raises
    ------
    InputError
        If an attribute or a method is missing or invalid.
    """
    label = f"variance {name!r}"
    information = check_information(label, variance)
    check_method(label, variance, "__call__", VARIANCE_PARAMETERS)
    check_traits(label, variance, Variance)
    transmitter = getattr(variance, "transmitter", None)
    if transmitter is not None and not isinstance(transmitter, Transmitter):
        raise InputError(
            f"{label} has the transmitter {type(transmitter).__name__}; expected an object with the"
            " methods index, from_index, index_bits, write and read"
        )
    return variance if isinstance(variance, Variance) else UserVariance(variance, information)


def check_traits(label: str, part: object, axis_class: type) -> None:
    """Check that a causal or fitted part has the base classes that make it one.

    Raises
    ------
    InputError
        If a base class is missing, or a causal part has an invalid ``radius`` or ``groups``.
    """
    for flag in ("uses_side", "uses_context"):
        value = getattr(part, flag, True)
        if not isinstance(value, bool):
            raise InputError(f"{label} has {flag} {value!r}; expected True or False")
    check_inherited(label, part)
    causal = isinstance(part, CausalEstimator) or bool(getattr(part, "causal", False))
    fitted = isinstance(part, FittedEstimator) or bool(getattr(part, "fitted", False))
    fitted = fitted or callable(getattr(part, "fit", None))
    for trait, claimed, base in (
        ("causal", causal, CausalEstimator),
        ("fitted", fitted, FittedEstimator),
    ):
        if claimed and not (isinstance(part, base) and isinstance(part, axis_class)):
            raise InputError(
                f"{label} is {trait}, but its class is not derived from the base classes; expected"
                f" a subclass of {axis_class.__name__} and {base.__name__}"
            )
    if causal:
        for attribute in ("radius", "groups"):
            value = getattr(part, attribute, None)
            if not (isinstance(value, int) and value > 0):
                raise InputError(
                    f"{label} is causal and has {attribute} {value!r}; expected 1, 2, 3, ..."
                )
        check_method(label, part, "predict", PREDICT_PARAMETERS)


def check_inherited(label: str, part: object) -> None:
    """Check that a user's class does not override what rdpipe derives from its methods.

    Raises
    ------
    InputError
        If it does.
    """
    for user_class in type(part).__mro__:
        if user_class.__module__.partition(".")[0] == "rdpipe":
            return
        for name in sorted(DERIVED & vars(user_class).keys()):
            raise InputError(f"{label} overrides {name}; expected that rdpipe derives it")


class UserEstimator(Estimator):
    """A plain class as an estimator.

    Parameters
    ----------
    wrapped : object
        The user's object; optionally with ``uses_side`` and ``uses_context``.
    information : Information
        What it knows.
    """

    def __init__(self, wrapped: Any, information: Information):
        self.wrapped, self.information = wrapped, information
        self.uses_side = bool(getattr(wrapped, "uses_side", True))
        self.uses_context = bool(getattr(wrapped, "uses_context", True))


class UserMean(UserEstimator, Mean):
    """A plain class with ``__call__(latents)`` as a mean."""

    def __call__(self, latents: Latents) -> Tensor:
        """Return the wrapped mean of each element."""
        mean: Tensor = self.wrapped(latents)
        return mean


class UserVariance(UserEstimator, Variance):
    """A plain class with ``__call__(latents, residual)`` as a variance.

    It may have a ``transmitter``.
    """

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the wrapped variance of each element, and the bits sent for it."""
        estimate: tuple[Tensor, float] = self.wrapped(latents, residual)
        return estimate

    @property
    def transmitter(self) -> Transmitter | None:
        """The wrapped object's transmitter, if it has one."""
        transmitter: Transmitter | None = getattr(self.wrapped, "transmitter", None)
        return transmitter


def check_decodable(label: str, value: Tensor, blind: object) -> None:
    """Check that an estimate does not depend on the latents that are being coded.

    Parameters
    ----------
    label : str
        Axis and name, for the error message.
    value : Tensor
        The estimate of an estimator that claims to be decodable and transmits nothing.
    blind : object
        Its estimate from what a decoder has; everything else is unknown (NaN).

    Raises
    ------
    InputError
        If they differ.
    """
    if not (isinstance(blind, torch.Tensor) and torch.equal(blind, value)):
        raise InputError(
            f"{label} depends on the latents that are being coded, on a prediction of the codec"
            " that it claims not to use, or on chance, but has information 'decodable'; expected"
            " 'genie'"
        )


def check_mean_output(label: str, value: object, like: Tensor) -> Tensor:
    """Return the output of a mean if it is usable.

    Parameters
    ----------
    label : str
        What returned the value, for the error message.
    value : object
    like : Tensor
        A tensor whose shape and device the mean must have.

    Raises
    ------
    InputError
        If it is not a finite floating-point tensor of this shape.
    """
    return check_finite(label, check_tensor(label, value, like))


def check_variance_output(label: str, value: object, like: Tensor) -> tuple[Tensor, float]:
    """Return the output of a variance if it is usable.

    Parameters
    ----------
    label : str
        What returned the value, for the error message.
    value : object
    like : Tensor
        A tensor whose shape and device the variance must have.

    Raises
    ------
    InputError
        If it is not a pair of a finite, nonnegative floating-point tensor of this shape and a
        number of bits.
    """
    if not (isinstance(value, tuple) and len(value) == 2):
        kind = type(value).__name__
        raise InputError(f"{label} returned a {kind}; expected a tuple (variance, bits)")
    variance = check_variances(label, check_tensor(label, value[0], like))
    try:
        bits = float(value[1])
    except (TypeError, ValueError, RuntimeError):
        kind = type(value[1]).__name__
        raise InputError(f"{label} returned a {kind} as bits; expected a number") from None
    if not 0 <= bits < float("inf"):
        raise InputError(f"{label} returned {bits:g} bits; expected a finite number >= 0")
    return variance, bits
