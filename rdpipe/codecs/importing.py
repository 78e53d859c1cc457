"""Import CompressAI beside a CPU-only torch, and without packages that image codecs do not need."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

import torch


class PointCloudTransform:
    """A base class of CompressAI's transforms of point clouds, which cannot be made."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "PointCloudTransform":
        """Raise an ImportError that says how to use these transforms."""
        raise ImportError(
            f"{cls.__name__}: rdpipe imports CompressAI without torch_geometric; to use transforms"
            " of point clouds in the same process, import compressai before rdpipe"
        )


CONTENT: dict[str, dict[str, dict[str, Any]]] = {
    "torchvision": {"": {}, ".transforms": {}},
    "torch_geometric": {
        "": {},
        ".transforms": {"BaseTransform": PointCloudTransform, "Center": PointCloudTransform},
        ".data": {"Data": PointCloudTransform},
        ".data.datapipes": {"functional_transform": lambda name: lambda decorated: decorated},
    },
}
"""What CompressAI imports from each module of two packages."""


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
        spec = PathFinder.find_spec(fullname, path) if fullname == "compressai" else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


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
    for package in CONTENT:
        replacements = stand_ins(package)
        if not replacements.keys() & sys.modules.keys():
            modules |= replacements
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def stand_ins(package: str) -> dict[str, ModuleType]:
    """Return modules with the names that CompressAI imports from a package."""
    modules = {package + part: ModuleType(package + part) for part in CONTENT[package]}
    for part, content in CONTENT[package].items():
        vars(modules[package + part]).update(content)
    vars(modules[package]).update(transforms=modules[f"{package}.transforms"])
    return modules


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
