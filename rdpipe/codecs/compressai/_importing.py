"""Import CompressAI beside a CPU-only torch, and without packages that image codecs do not need."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class PointCloudTransform:
    """A base class of CompressAI's transforms of point clouds, which cannot be made."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "PointCloudTransform":
        """Refuse."""
        raise ImportError(
            f"{cls.__name__}: rdpipe imports CompressAI without torch_geometric; to use transforms"
            " of point clouds in the same process, import compressai before rdpipe"
        )


def import_compressai() -> None:
    """Import CompressAI, in half the time of ``import compressai``.

    CompressAI imports torchvision and torch_geometric, and both import ``torch._dynamo``. It only
    lists their transforms by name, and derives its transforms of point clouds from them. While
    CompressAI is imported, empty stand-ins take their places, unless they were imported before.
    """
    declare_missing_operators()
    stand_ins: dict[str, ModuleType] = {}
    if "compressai" not in sys.modules:
        for made in (torchvision_stand_ins(), torch_geometric_stand_ins()):
            if not made.keys() & sys.modules.keys():
                stand_ins |= made
    sys.modules.update(stand_ins)
    try:
        importlib.import_module("compressai")
    finally:
        for name in stand_ins:
            del sys.modules[name]


def torchvision_stand_ins() -> dict[str, ModuleType]:
    """Return modules with the names that CompressAI imports from torchvision."""
    base, transforms = map(ModuleType, ("torchvision", "torchvision.transforms"))
    vars(base).update(transforms=transforms)
    return {module.__name__: module for module in (base, transforms)}


def torch_geometric_stand_ins() -> dict[str, ModuleType]:
    """Return modules with the names that CompressAI imports from torch_geometric."""
    base, transforms, data, datapipes = (
        ModuleType("torch_geometric" + part)
        for part in ("", ".transforms", ".data", ".data.datapipes")
    )
    vars(base).update(transforms=transforms)
    vars(transforms).update(BaseTransform=PointCloudTransform, Center=PointCloudTransform)
    vars(data).update(Data=PointCloudTransform)
    vars(datapipes).update(functional_transform=undecorated)
    return {module.__name__: module for module in (base, transforms, data, datapipes)}


def undecorated(name: str) -> Callable[[T], T]:
    """Return a decorator that changes nothing."""
    return lambda decorated: decorated


def declare_missing_operators() -> None:
    """Declare two torchvision operators whose compiled library may not load.

    A torchvision that is compiled against the CUDA build of torch has no operators beside a
    CPU-only torch, and ``import torchvision`` fails while it registers their shape functions. It is
    enough to declare their schemas, only if they are absent: neither rdpipe nor CompressAI calls
    them.
    """
    for name in ("nms", "qnms"):
        try:
            torch.library.define(
                f"torchvision::{name}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
        except RuntimeError:  # torchvision's own library is loaded
            pass
