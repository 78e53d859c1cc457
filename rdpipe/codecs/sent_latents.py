"""What a codec sends: its validation, comparison, and whether it is rounded."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rdpipe.core.assembly import Whole
from rdpipe.core.errors import InputError
from rdpipe.core.walk import Coded, Part, Walk

ROUNDED = 0.5
"""Share of the nonzero elements on the rounding grid at which a latent counts as rounded."""
NEARLY_ALL = 0.99
"""Share of the nonzero elements on a finer grid at which a latent counts as rounded."""
TOLERANCE = 1e-4
"""Distance from a grid point, in steps, at which an element counts as on the grid."""
ERROR, RELATIVE_ERROR = 1e-3, 1e-4
"""Differences of numbers, in steps, that are rounding errors."""
FEW = 16
"""Number of nonzero elements below which nothing is said about rounding."""
SEND = inspect.signature(Walk())


class ValidatingWalk(Walk):
    """The codec as it is; everything that is sent is validated."""

    def __call__(self, *arguments: Any, **options: Any) -> Tensor:
        """Return y_hat; see :class:`rdpipe.core.protocols.Send`.

        Raises
        ------
        InputError
            If the arguments do not fit, or a tensor cannot be used.
        """
        try:
            bound = SEND.bind(*arguments, **options)
        except TypeError as error:
            raise InputError(
                f"send: {error}; expected send(name, prior, y), and all other arguments as"
                " keywords: at, offset, step, skip, side"
            ) from error
        return self._validated(**bound.arguments)

    def _validated(self, name: str, prior: Any, y: Tensor | None = None, **options: Any) -> Tensor:
        prior = prior() if callable(prior) else prior
        values = {"prior.mean": getattr(prior, "mean", None), "y": y}
        values["prior.scale"] = getattr(prior, "scale", None)
        for field, value in values.items():
            if problem := _tensor_problem(value):
                raise InputError(f"send({name!r}): {field} {problem}")
        if not (prior.scale > 0).all():
            least = prior.scale.min().item()
            raise InputError(
                f"send({name!r}): prior.scale must be positive; its least is {least:g}"
            )
        if prior.scale.shape != prior.mean.shape or prior.mean.ndim != 4:
            raise InputError(
                f"send({name!r}): prior.mean has shape {tuple(prior.mean.shape)}, prior.scale"
                f" {tuple(prior.scale.shape)}; expected (1, channel, row, column) for both"
            )
        step = torch.as_tensor(options.get("step", 1.0))
        if not (step > 0).all():
            least = step.min().item()
            raise InputError(f"send({name!r}): step must be positive; its least is {least:g}")
        return super().__call__(name, prior, y, **options)


def _tensor_problem(value: object) -> str | None:
    """Return what is wrong with a tensor that is sent."""
    if not isinstance(value, Tensor):
        what = "None" if value is None else f"a {type(value).__name__}"
        return f"is {what}; expected a tensor"
    if not value.is_floating_point():
        return f"is of {value.dtype}; expected a floating-point type"
    if value.requires_grad:
        return "requires a gradient, although gradients are disabled; expected value.detach()"
    return None if value.isfinite().all() else "has values that are not finite"


class IntegerWalk(Walk):
    """Decodes integers instead of points of the grid, except for side information.

    Training graphs of context models do so: what they predict from is rounded without the means.
    """

    def decode(self, part: Part) -> Tensor:
        """Return the integers next to the elements, in steps; the record has the grid."""
        y_hat = super().decode(part)
        if part.side or part.y is None:
            return y_hat
        return (part.y.double() / part.step).round() * part.step


class RepeatingWalk(Walk):
    """Decodes the parts of another walk."""

    def __init__(self, sent: Sequence[Coded]):
        super().__init__()
        self._sent = sent

    def decode(self, part: Part) -> Tensor:
        """Return the elements that the other walk decoded."""
        if len(self.record) == len(self._sent):
            raise InputError(f"send({part.name!r}) was not called by the encoder")
        sent = self._sent[len(self.record)]
        self.record.append(Coded(part, sent.index))
        return sent.part.point(sent.index)


def find_difference(first: list[Coded], second: list[Coded], fields: Sequence[str]) -> str | None:
    """Return what differs between the parts of two walks; None if nothing does.

    Rounding errors are no difference: the same computation may have other last digits if its
    numbers lie elsewhere in memory. The parameter ``fields`` names the attributes of
    :class:`~rdpipe.core.walk.Part` that are compared besides the prior.
    """
    if len(first) != len(second):
        return f"{len(first)} parts and {len(second)} parts"
    for a, b in ((x.part, y.part) for x, y in zip(first, second, strict=True)):
        if a.name != b.name or a.shape != b.shape:
            return f"{a.name!r} of shape {tuple(a.shape)} and {b.name!r} of {tuple(b.shape)}"
        values = {field: (getattr(a, field), getattr(b, field)) for field in fields}
        values["prior.mean"] = a.prior.mean, b.prior.mean
        values["prior.scale"] = a.prior.scale, b.prior.scale
        for field, pair in values.items():
            x, y = (torch.as_tensor(value, dtype=torch.float64) / a.step for value in pair)
            if not torch.allclose(x, y, rtol=RELATIVE_ERROR, atol=ERROR):
                return f"{field} of {a.name!r}"
    return None


def find_rounding(whole: Whole) -> str | None:
    """Return how a latent was rounded before it was sent; None if it was not."""
    coded = torch.ones_like(whole.bits, dtype=torch.bool) if whole.coded is None else whole.coded
    for origin in (whole.offset, torch.zeros_like(whole.offset)):
        distance = (whole.y.double() - origin) / whole.step
        nonzero = coded & (distance.round() != 0)  # zeros are exact where a channel has no use
        if (count := nonzero.sum().item()) < FEW:
            continue
        exact = {parts: _is_integer(parts * distance) & nonzero for parts in (1, 2, 4)}
        share = {parts: on.sum().item() / count for parts, on in exact.items()}
        parts = next((parts for parts in exact if share[parts] > NEARLY_ALL), 1)
        if share[parts] > ROUNDED:
            grid = "the step" if parts == 1 else f"1/{parts} of the step"
            return f"latent {whole.name!r} is rounded: {share[parts]:.0%} are multiples of {grid}"
        rounded = exact[1].sum((1, 2)) > NEARLY_ALL * nonzero.sum((1, 2)).clamp(min=FEW)
        if rounded.any():
            return f"latent {whole.name!r} is rounded in {rounded.sum()} of {len(rounded)} channels"
    return None


def _is_integer(x: Tensor) -> Tensor:
    return (x - x.round()).abs() < TOLERANCE
