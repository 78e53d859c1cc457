"""Import CompressAI beside a CPU-only torch, and without packages that image codecs do not need."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
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


def prepare_import() -> None:
    """Make ``import compressai`` work from now on, in any module, and in half the time.

    CompressAI imports torchvision and torch_geometric, and both import ``torch._dynamo``. It only
    lists their transforms by name, and derives its transforms of point clouds from them. While
    CompressAI is imported, empty stand-ins take their places, unless they were imported before.
    """
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


class _Finder(MetaPathFinder):
    """Finds CompressAI, to be loaded with stand-ins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path) if fullname == "compressai" else None
        if found is None or found.origin is None:
            return None
        loader = _Loader(fullname, found.origin)
        places = found.submodule_search_locations
        return spec_from_file_location(
            fullname, found.origin, loader=loader, submodule_search_locations=places
        )


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        declare_missing_operators()
        with _stand_ins():
            super().exec_module(module)


_FINDER = _Finder()


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Replace torchvision and torch_geometric, unless they were imported before."""
    modules: dict[str, ModuleType] = {}
    for made in (torchvision_stand_ins(), torch_geometric_stand_ins()):
        if not made.keys() & sys.modules.keys():
            modules |= made
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
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
