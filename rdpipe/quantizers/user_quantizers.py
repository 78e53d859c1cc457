"""Validation of quantizers, and wrappers that let plain classes stand for them.

A plain class needs ``information``, ``level`` and ``code(r, v, level, noise)`` only. If it sets
``realizable = True``, it also needs ``write`` and ``read``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information, LevelKind
from rdpipe.core.validation import (
    check_finite,
    check_information,
    check_method,
    check_tensor,
    check_unchanged,
)
from rdpipe.estimators.user_estimators import check_traits
from rdpipe.quantizers.base import (
    CodableQuantizer,
    IndexQuantizer,
    Quantizer,
    QuantizerOutput,
    is_positive,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

PARAMETERS = {
    "code": ("r", "v", "level", "noise"),
    "write": ("encoder", "r", "v", "step", "noise"),
    "read": ("decoder", "v", "step", "noise"),
}
"""Positional arguments of each method."""
ROUNDING_ERROR = 1e-9
"""How far bits and distortions may lie below 0 because of rounding errors."""


def adapt_quantizer(name: str, quantizer: Any) -> Quantizer:
    """Return a quantizer that fulfills its contract; wrap a plain class.

    Parameters
    ----------
    name : str
        Name in the config, for error messages.
    quantizer : object
        A :class:`~rdpipe.quantizers.base.Quantizer`, or an object with ``information``, ``level``
        and ``code(r, v, level, noise)``.

    Raises
    ------
    InputError
        If an attribute or a method is missing or invalid.
    """
    label = f"quantizer {name!r}"
    information = check_information(label, quantizer)
    check_level(label, quantizer)
    realizable = bool(getattr(quantizer, "realizable", isinstance(quantizer, CodableQuantizer)))
    for method in PARAMETERS if realizable else ("code",):
        check_method(label, quantizer, method, PARAMETERS[method])
    check_traits(label, quantizer, Quantizer)
    if not isinstance(quantizer, Quantizer):
        wrapper = UserCodableQuantizer if realizable else UserQuantizer
        return wrapper(label, quantizer, information)
    if realizable != isinstance(quantizer, CodableQuantizer):
        raise InputError(
            f"{label} has realizable {realizable}, but its class says otherwise; expected a"
            " subclass of CodableQuantizer if it writes real bits, otherwise of Quantizer"
        )
    return quantizer


def check_level(label: str, quantizer: Any) -> None:
    """Check the level, the step and the kind of the level of a quantizer.

    Raises
    ------
    InputError
        If the level is not a positive number, or is None and there is no positive step; if the kind
        is unknown.
    """
    if not hasattr(quantizer, "level"):
        raise InputError(f"{label} has no attribute 'level'; expected a positive number or None")
    level = quantizer.level
    if level is None and isinstance(quantizer, IndexQuantizer):
        raise InputError(f"{label} has level None; expected its step, a positive number")
    if level is not None and not is_positive(level):
        raise InputError(f"{label} has level {level!r}; expected a positive number or None")
    step = getattr(quantizer, "step", level)
    if not is_positive(step):
        raise InputError(
            f"{label} has level {level} and step {step!r}; expected a positive step, that of the"
            " rounding whose distortion it has"
        )
    LevelKind.parse(getattr(quantizer, "level_kind", LevelKind.STEP), label)
    if getattr(quantizer, "uses_own_prior", False) and level != 1:
        raise InputError(
            f"{label} uses the codec's own prior at level {level}; expected 1, its step"
        )


class UserQuantizer(Quantizer):
    """A plain class as a quantizer.

    Parameters
    ----------
    label : str
        Axis and name, for error messages.
    wrapped : object
        With ``level`` and ``code(r, v, level, noise)``; optionally ``step``, ``level_kind``,
        ``elementwise``, ``uses_own_prior`` and ``rate_is_bound``.
    information : Information
        What it knows.
    """

    def __init__(self, label: str, wrapped: Any, information: Information):
        self.label, self.wrapped, self.information = label, wrapped, information
        self.level = wrapped.level
        self.step = getattr(wrapped, "step", wrapped.level)
        self.level_kind = LevelKind.parse(getattr(wrapped, "level_kind", LevelKind.STEP), label)
        self.elementwise = bool(getattr(wrapped, "elementwise", False))
        self.uses_own_prior = bool(getattr(wrapped, "uses_own_prior", False))
        self.rate_is_bound = bool(getattr(wrapped, "rate_is_bound", False))

    def code(
        self, r: Tensor, v: Tensor, level: float | Tensor, noise: Tensor | None = None
    ) -> QuantizerOutput:
        """Quantize residuals with the wrapped object, and check what it returns."""
        with check_unchanged(self.label, r=r, v=v, **({} if noise is None else {"noise": noise})):
            output = self.wrapped.code(r, v, level, noise)
        return check_output(self.label, output, r)


class UserCodableQuantizer(UserQuantizer, CodableQuantizer):
    """A plain class with ``write`` and ``read`` as a realizable quantizer."""

    def write(
        self, encoder: Any, r: Tensor, v: Tensor, step: float, noise: Tensor | None = None
    ) -> Tensor:
        """Write residuals with the wrapped object, and check what it returns."""
        label, residual = f"{self.label} (write)", self.wrapped.write(encoder, r, v, step, noise)
        return check_finite(label, check_tensor(label, residual, r))

    def read(self, decoder: Any, v: Tensor, step: float, noise: Tensor | None = None) -> Tensor:
        """Read residuals with the wrapped object, and check what it returns."""
        label, residual = f"{self.label} (read)", self.wrapped.read(decoder, v, step, noise)
        return check_finite(label, check_tensor(label, residual, v))


def check_shapes(label: str, output: QuantizerOutput, r: Tensor) -> None:
    """Check the shapes of the output of a quantizer.

    Raises
    ------
    InputError
        If a part has another shape than the residuals.
    """
    for name in ("bits", "distortion", "residual"):
        shape = getattr(output, name).shape
        if shape != r.shape:
            raise InputError(
                f"{label} returned {name} of shape {tuple(shape)}; expected {tuple(r.shape)}"
            )


def check_output(label: str, output: Any, r: Tensor) -> QuantizerOutput:
    """Return the output of a quantizer if it is usable.

    Raises
    ------
    InputError
        If a part is missing, has another shape than the residuals, is not finite or is negative.
    """
    parts = {}
    for name in ("bits", "distortion", "residual"):
        if not hasattr(output, name):
            kind = type(output).__name__
            raise InputError(
                f"{label} returned a {kind} without {name}; expected a QuantizerOutput"
            )
        part = f"{label} ({name})"
        parts[name] = check_finite(part, check_tensor(part, getattr(output, name), r))
    for name in ("bits", "distortion"):
        if parts[name].numel() and parts[name].min() < -ROUNDING_ERROR:
            raise InputError(f"{label} returned negative {name}; expected numbers >= 0")
    return QuantizerOutput(**parts)


def check_distortion(label: str, output: QuantizerOutput, r: Tensor) -> None:
    """Check that the distortion of a codable quantizer is the squared error of its residual.

    Raises
    ------
    InputError
        If it is not.
    """
    error = (r - output.residual).square()
    if not torch.allclose(output.distortion.to(error.dtype), error, rtol=1e-5, atol=1e-9):
        raise InputError(
            f"{label} returned a distortion that is not the squared error of its residual"
        )
