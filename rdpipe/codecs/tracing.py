"""Forward passes of a module in which calls of its entropy models and of ``round()`` are seen.

.. code-block:: none

    forward pass    ... entropy model(y, scale, mean) ... round(y - mean) ...
    replace                  | Call        ^ y_hat           | Rounding ^ y_hat - mean

Entropy models are those of CompressAI, which are hooked; ``round()`` is intercepted as PyTorch
dispatches it. What either returns can be replaced. Neither the module nor its class is changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rdpipe.codecs.compressai  # noqa: F401 - before compressai

# isort: split
import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.entropy_models.entropy_models import EntropyModel
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rdpipe.core.errors import InputError

ROUNDINGS = frozenset((torch.round, torch.round_, Tensor.round, Tensor.round_))
"""Functions of PyTorch that round."""
METHODS = ("forward", "quantize", "_likelihood")
"""Methods of entropy models that must be those of CompressAI."""


@dataclass(frozen=True)
class Rounding:
    """A call of ``round()`` outside of the entropy models."""

    argument: Tensor
    result: Tensor


@dataclass(frozen=True)
class Call:
    """A call of an entropy model.

    Parameters
    ----------
    model : EntropyModel
    y, mean, scale : Tensor
        The elements, and their prior. Of a learned density the mean is the median, and the scale is
        None.
    zero_mean : bool
        Whether the entropy model was called without means.
    result : Tensor
        The elements after quantization.
    likelihood : Tensor
    """

    model: EntropyModel
    y: Tensor
    mean: Tensor
    scale: Tensor | None
    zero_mean: bool
    result: Tensor
    likelihood: Tensor

    @property
    def numbers(self) -> list[Tensor]:
        """The elements and their prior."""
        return [self.y, self.mean, *([] if self.scale is None else [self.scale])]

    @property
    def least(self) -> float:
        """Smallest likelihood that the entropy model reports."""
        bounded = self.model.use_likelihood_bound
        return self.model.likelihood_lower_bound.bound.item() if bounded else 0.0


Event = Rounding | Call
Replace = Callable[[int, Event], Tensor]
"""``replace(number, event)`` returns what takes the place of ``event.result``."""


def trace(module: nn.Module, image: Tensor, replace: Replace) -> Any:
    """Run the forward pass of a module, and return its output.

    The derivative of the output is that of the computation: ``detach()``, with which modules pass
    gradients through ``round()``, has no effect.

    Parameters
    ----------
    module : Module
    image : Tensor
    replace : callable
        Called with every event and its number, from 0, in the order of the pass.

    Raises
    ------
    InputError
        If an entropy model is not supported.
    """
    interception = _Interception(replace)
    handles = []
    try:
        for model in module.modules():
            if isinstance(model, EntropyModel):
                handles.append(model.register_forward_pre_hook(interception.enter))
                hook = model.register_forward_hook(interception.leave, with_kwargs=True)
                handles.append(hook)
        with interception:
            return module(image)
    finally:
        for handle in handles:
            handle.remove()


class _Interception(TorchFunctionMode):
    """Passes events to a function, and returns what it returns to the module."""

    def __init__(self, replace: Replace):
        super().__init__()
        self._replace, self._count = replace, 0
        self._inside = False  # an entropy model, or the replacement of what it returns
        self._gradients = torch.is_grad_enabled()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        if func in ROUNDINGS and not kwargs.get("decimals"):
            return self._round(func, *args, **kwargs)
        if func is Tensor.detach and self._gradients:
            return args[0]
        return func(*args, **kwargs)

    def _round(self, func: Any, input: Tensor, **kwargs: Any) -> Tensor:
        if self._gradients and not torch.is_grad_enabled():
            raise RuntimeError(
                "round() is called without gradients, such as in a torch.autograd.Function: the"
                " derivative of the decoded image is not known"
            )
        result = self._next(Rounding(input.clone(), torch.round(input)))
        in_place = func in (torch.round_, Tensor.round_)
        target = input if in_place else kwargs.get("out")
        return result if target is None else target.copy_(result)

    def enter(self, model: nn.Module, args: Any) -> None:
        """Note that an entropy model is called."""
        self._inside = True

    def leave(self, model: EntropyModel, args: Any, kwargs: Any, output: Any) -> Any:
        """Return the output of an entropy model with what takes the place of the elements."""
        result = self._next(_as_call(model, args, kwargs, output))
        self._inside = False
        return (result, *output[1:])

    def _next(self, event: Event) -> Tensor:
        self._count += 1
        return self._replace(self._count - 1, event)


def _as_call(model: EntropyModel, args: Any, kwargs: Any, output: Any) -> Call:
    """Return the call of an entropy model, with copies of its arguments.

    The module may change these afterwards.

    Raises
    ------
    InputError
        If the entropy model is not supported.
    """
    _check_type(model)
    arguments = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    if isinstance(model, EntropyBottleneck):
        y: Tensor = arguments["x"]
        median = model.quantiles.detach()[:, :, 1]
        mean = median.view(1, -1, *(1,) * (y.ndim - 2)).expand_as(y)
        return Call(model, y.clone(), mean.clone(), None, False, *output)
    y, means = arguments["inputs"], arguments.get("means")
    mean = torch.zeros_like(y) if means is None else means.expand_as(y)
    scale = model.lower_bound_scale(arguments["scales"]).expand_as(y)
    return Call(model, y.clone(), mean.clone(), scale.clone(), means is None, *output)


def _check_type(model: EntropyModel) -> None:
    """Check that an entropy model computes what CompressAI's do."""
    for known in (EntropyBottleneck, GaussianConditional):
        if isinstance(model, known) and all(
            getattr(type(model), name) is getattr(known, name) for name in METHODS
        ):
            if known is EntropyBottleneck or _is_normal(model):
                return
    raise InputError(
        f"{type(model).__name__} is not a supported entropy model; expected CompressAI's"
        " GaussianConditional or EntropyBottleneck"
    )


def _is_normal(model: GaussianConditional) -> bool:
    """Return whether the density of an entropy model is normal; subclasses may have another."""
    x = torch.linspace(-3.0, 3.0, 7)
    return torch.allclose(model._standardized_cumulative(x), torch.special.ndtr(x), atol=1e-5)
