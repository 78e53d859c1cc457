"""Private copies of a caller's model: hooks, and whether it is still the same model."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from typing import Any

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

TABLES = ("_quantized_cdf", "_cdf_length", "_offset")
"""Buffers that ``update()`` computes for the entropy coder."""
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
"""Attributes of a module with the hooks of its forward and backward passes."""
WEIGHT_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)
"""Hooks of PyTorch that compute a weight, and so are part of the model."""


def copy_without_hooks(model: CompressionModel) -> CompressionModel:
    """Return a copy that does not run the hooks of the caller.

    Hooks are not copied at all, because they may hold objects that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for hooks in (vars(module)[name] for name in HOOKS if name in vars(module)):
            memo[id(hooks)] = OrderedDict(
                (key, hook) for key, hook in hooks.items() if isinstance(hook, WEIGHT_HOOKS)
            )
    return deepcopy(model, memo)


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, without the tables of the entropy coder.

    The scale tables are included, because they may be the caller's choice. All tensors are
    detached: a layer that masks its weights in ``forward`` does not change them.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: t.detach() for name, t in tensors.items() if not name.endswith(TABLES)}


def same_weights(copies: dict[str, Tensor], original: dict[str, Tensor]) -> bool:
    """Return whether copied weights have the names and the numbers of the original, on any device.

    Numbers are compared, because versions of tensors do not show a change through ``.data``.
    """
    if copies.keys() != original.keys():
        return False
    pairs = [(weight, original[name]) for name, weight in copies.items()]
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return False
    if all(a.device.type == b.device.type == "cpu" for a, b in pairs):
        return all(torch.equal(a, b) for a, b in pairs)
    differ = [(a != b.to(a.device)).any() for a, b in pairs]  # without a wait for each weight
    return not torch.stack([x.to(differ[0].device) for x in differ]).any()
