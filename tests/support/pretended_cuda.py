"""A CUDA device that does not exist: its tensors compute on the CPU, and fail where CUDA would.

Inside :func:`pretend_cuda`, ``device="cuda"`` gives a :class:`PretendedTensor`. An operation that
mixes devices raises as on a GPU, and so does ``numpy()``. What makes the host wait for the device
is counted, with the line of rdpipe that asks for it::

    with pretend_cuda(), counting() as counts:
        torch.ones(3, device="cuda").sum().item()
    assert counts.syncs == 1

Numbers are those of the CPU. PyTorch's own kernels, streams and compiler are not tested. A module
cannot move while a graph has its parameters.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten

WAITING = {
    "aten::_linalg_check_errors",
    "aten::_linalg_eigh",
    "aten::_linalg_solve_ex",
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::bincount",
    "aten::equal",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",
    "aten::unique_consecutive",
    "aten::unique_dim",
}
"""Operations whose result, or its size, the host waits for."""
INDEXING = {
    "aten::index",
    "aten::_unsafe_index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
}
"""Operations whose indices may be on the CPU."""
NO_SCALARS = {"aten::cat", "aten::stack"}
"""Operations that do not even mix with a scalar tensor on the CPU."""
NO_KERNEL = {
    "aten::_reshape_alias",
    "aten::_unsafe_view",
    "aten::detach",
    "aten::empty",
    "aten::empty_like",
    "aten::empty_strided",
    "aten::lift_fresh",
    "aten::new_empty",
    "aten::new_empty_strided",
}
"""Operations that start no kernel, views apart."""
HOST_ERROR = (
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host"
    " memory first."
)


class Counts:
    """What happened on the pretended devices.

    Attributes
    ----------
    syncs, kernels : int
        How often the host waited for the device, and operations that compute.
    where : Counter
        Number of waits by operation and line of rdpipe.
    """

    def __init__(self) -> None:
        self.syncs = self.kernels = 0
        self.where = Counter[str]()

    def wait(self, operation: str) -> None:
        """Count a wait of the host."""
        self.syncs += 1
        self.where[f"{operation} at {_calling_line()}"] += 1


_active: list[Counts] = []


@contextlib.contextmanager
def counting() -> Iterator[Counts]:
    """Count what happens in the block."""
    counts = Counts()
    _active.append(counts)
    try:
        yield counts
    finally:
        _active.remove(counts)


def _wait(operation: str) -> None:
    for counts in _active:
        counts.wait(operation)


def _calling_line() -> str:
    """Return file and line of the innermost call from the package."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        _, package, name = frame.f_code.co_filename.rpartition("/rdpipe/")
        if package and "site-packages" not in frame.f_code.co_filename:
            return f"{name}:{frame.f_lineno}"
    return "?"


class PretendedTensor(Tensor):
    """A tensor on a pretended device.

    Parameters
    ----------
    host : Tensor
        Its values, on the CPU.
    device : torch.device
    """

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor, device: torch.device) -> PretendedTensor:
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=host.device,
        )
        tensor.host, tensor._device = host.detach(), device
        return tensor

    device = property(lambda self: self._device)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def get_device(self) -> int:
        return self._device.index

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(HOST_ERROR)

    __array__ = numpy

    def tolist(self) -> Any:
        _wait("tolist")
        return self.host.tolist()

    def __repr__(self) -> str:
        return f"{self.host!r} on {self._device}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied = PretendedTensor(self.host.clone(), self._device)
            copied.requires_grad_(self.requires_grad)
            if isinstance(self, nn.Parameter):
                copied._is_param = True
            memo[id(self)] = copied
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        _wait("save")
        return self.host.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._current_autograd_node() is not None:
            args, kwargs = _with_zeros_of_autograd(args, kwargs)
        name = func._schema.name
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        device = _common_device(name, tensors)
        for counts in _active:
            counts.kernels += not (func.is_view or name in NO_KERNEL)
        by_mask = name in INDEXING and any(
            x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        if name in WAITING or by_mask:
            _wait(name)
        result = func(*_to_host(args), **_to_host(kwargs))
        written = [
            value
            for argument, value in zip(func._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ] + [
            kwargs[argument.name]
            for argument in func._schema.arguments
            if argument.name in kwargs
            and argument.alias_info is not None
            and argument.alias_info.is_write
        ]
        if written and isinstance(result, Tensor):
            return written[0]
        return tree_map_only(Tensor, lambda x: PretendedTensor(x, device), result)


def _to_host(values: Any) -> Any:
    return tree_map_only(PretendedTensor, lambda x: x.host, values)


def _with_zeros_of_autograd(args: Any, kwargs: Any) -> Any:
    """Return arguments with zeros on the device that autograd made for missing gradients.

    Autograd makes them where its C++ code believes the tensors to be, on the CPU.
    """
    devices = {x.device for x in tree_leaves((args, kwargs)) if isinstance(x, PretendedTensor)}

    def moved(x: Tensor) -> Tensor:
        is_zero = not isinstance(x, PretendedTensor) and x.dim() and not x.any()
        return PretendedTensor(x, *devices) if is_zero else x

    return tree_map_only(Tensor, moved, (args, kwargs))


def _common_device(name: str, tensors: list[Tensor]) -> torch.device:
    """Return the device of an operation.

    Raises
    ------
    RuntimeError
        If CUDA would refuse to mix the devices of the tensors.
    """
    target = tensors[0].device
    devices = {x.device for x in tensors if isinstance(x, PretendedTensor)}
    hosts = [x for x in tensors if not isinstance(x, PretendedTensor)]
    if name == "aten::copy_":
        if hosts or len(devices) > 1:
            _wait(name)
        return target
    if name in INDEXING and target.type == "cuda":
        values = tensors[-1] if "put" in name else tensors[0]
        if hosts and values.device == target:
            _wait(f"{name} with indices on the CPU")
            return target
    if (
        len(devices) > 1
        or any(x.dim() for x in hosts)
        or (hosts and (name in NO_SCALARS or (name in INDEXING and target.type == "cpu")))
    ):
        raise RuntimeError(
            f"{name}: Expected all tensors to be on the same device, but found at least two"
            f" devices: {', '.join(f'{x.device} {tuple(x.shape)}' for x in tensors)}"
        )
    return devices.pop()


class _Move(torch.autograd.Function):
    """A copy to another device; the gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, device: torch.device, options: dict[str, Any]) -> Tensor:
        ctx.source, ctx.dtype = x.device, x.dtype
        copied = _to_host(x).detach().to(**{**options, "copy": True})
        return PretendedTensor(copied, device) if device.type == "cuda" else copied

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        return _Move.apply(gradient, ctx.source, {"dtype": ctx.dtype}), None, None


def as_device(device: Any) -> torch.device:
    """Return a device with its index, as CUDA has it.

    Raises
    ------
    RuntimeError
        If the device does not exist.
    """
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if device.type != "cuda":
        return device
    if device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if device.index >= torch.cuda.device_count():
        raise RuntimeError("CUDA error: invalid device ordinal")
    return device


def move(x: Tensor, device: Any = None, non_blocking: bool = False, **options: Any) -> Tensor:
    """Return a tensor on a device, as ``Tensor.to`` does."""
    target = x.device if device is None else as_device(device)
    if target == x.device:
        with torch._C.DisableTorchFunction():
            return torch.Tensor.to(x, **options) if options else x
    if not (non_blocking and hasattr(x, "is_page_locked")):
        _wait(f"copy from {x.device.type} to {target.type}")
    moved: Tensor = _Move.apply(x, target, options)
    return moved


def to(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the result of ``Tensor.to``, whatever the form of its arguments."""
    for arg in args:
        if isinstance(arg, Tensor):
            kwargs |= {"device": arg.device, "dtype": arg.dtype}
        elif isinstance(arg, torch.dtype):
            kwargs["dtype"] = arg
        elif isinstance(arg, bool):
            kwargs["non_blocking"] = arg
        elif arg is not None:
            kwargs["device"] = arg
    return move(x, **{key: value for key, value in kwargs.items() if value is not None})


def pin(x: Tensor, *_: Any) -> Tensor:
    """Return a copy from which a transfer to a device does not make the host wait."""
    if isinstance(x, PretendedTensor):
        raise RuntimeError(
            f"cannot pin a tensor on {x.device}: only tensors on the CPU can be pinned"
        )
    pinned = x.clone()
    pinned.is_page_locked = True  # type: ignore[attr-defined]
    return pinned


def set_data(x: Tensor, data: Tensor) -> None:
    """Set the values of a tensor, which stays on its device."""
    if isinstance(x, PretendedTensor):
        if x.device != data.device:
            raise RuntimeError("attempting to assign data of an incompatible tensor type")
        x.host = data.host  # type: ignore[attr-defined]
    else:
        torch.Tensor.data.__set__(x, data)


MOVES: dict[Any, Any] = {
    torch.Tensor.to: to,
    torch.Tensor.cpu: lambda x, **options: move(x, "cpu", **options),
    torch.Tensor.cuda: lambda x, device="cuda", **options: move(x, device, **options),
    torch.Tensor.type_as: lambda x, other: move(x, other.device, dtype=other.dtype),
    torch.Tensor.pin_memory: pin,
    torch.Tensor.data.__set__: set_data,  # type: ignore[attr-defined]
}
"""Functions that change the device of a tensor."""


class _Factories(TorchFunctionMode):
    """Makes tensors on a pretended device where one is asked for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in MOVES:
            return MOVES[func](*args, **kwargs)
        if func in (torch.as_tensor, torch.asarray) and args and isinstance(args[0], Tensor):
            return to(args[0], kwargs.get("device"), kwargs.get("dtype"))
        device = kwargs.get("device")
        device = None if device is None else as_device(device)
        if device is None or func in (torch.autocast, torch.Generator):
            return func(*args, **kwargs)
        kwargs["device"] = "cpu"
        if device.type == "cuda":
            if kwargs.get("generator") is not None:
                raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
            if func in (torch.tensor, torch.as_tensor, torch.asarray):
                _wait("copy from cpu to cuda")
        result = func(*_to_host(args), **_to_host(kwargs))
        if device.type == "cpu":
            return result
        return PretendedTensor(result, device).requires_grad_(result.requires_grad)


def _apply_and_swap(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """Apply a function to the parameters of a module, which stay the same objects, as on CUDA."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return _apply(module, *args, **kwargs)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


_apply = nn.Module._apply


def _group_by_device(group: Any) -> Any:
    """Return the function that groups tensors for kernels over lists, with pretended devices."""

    def grouped(lists: Any, with_indices: bool = False) -> Any:
        groups = group(lists, with_indices)
        return {
            (next(x for tensors in value[0] for x in tensors if x is not None).device, dtype): value
            for (_, dtype), value in groups.items()
        }

    return grouped


def _autocast_on_cpu(init: Any) -> Any:
    """Return the constructor of ``torch.autocast`` that takes ``cuda`` for ``cpu``."""

    def __init__(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        init(self, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    return __init__


@contextlib.contextmanager
def pretend_cuda(count: int = 1) -> Iterator[None]:
    """Let there be some CUDA devices in the block.

    Parameters
    ----------
    count : int
    """
    current = [0]
    properties = SimpleNamespace(name="pretended", total_memory=1 << 34, multi_processor_count=1)
    functions: dict[str, Any] = {
        "is_available": lambda: count > 0,
        "device_count": lambda: count,
        "current_device": lambda: current[0],
        "set_device": lambda device: current.__setitem__(0, as_device(device).index or 0),
        "get_device_name": lambda device=None: properties.name,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: properties,
        "is_bf16_supported": lambda *_, **__: True,
        "synchronize": lambda device=None: _wait("synchronize"),
        "empty_cache": lambda: None,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ))  # jobs choose their cards there
        for name, function in functions.items():
            stack.enter_context(patch.object(torch.cuda, name, function))
        # a PyTorch for CUDA would look for its driver
        stack.enter_context(patch.object(torch.accelerator, "is_available", lambda: False))
        stack.enter_context(patch.object(nn.Module, "_apply", _apply_and_swap))
        stack.enter_context(patch.object(nn.Module, "compile", lambda *_, **__: None))
        # views of a pretended tensor cannot be inference tensors
        no_grad = lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext()
        stack.enter_context(patch.object(torch, "inference_mode", no_grad))
        grouped = _group_by_device(torch._C._group_tensors_by_device_and_dtype)
        stack.enter_context(patch.object(torch._C, "_group_tensors_by_device_and_dtype", grouped))
        init = _autocast_on_cpu(torch.autocast.__init__)
        stack.enter_context(patch.object(torch.autocast, "__init__", init))
        stack.enter_context(_Factories())
        yield
