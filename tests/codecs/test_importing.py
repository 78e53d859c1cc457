"""CompressAI is imported without the packages that image codecs do not need."""

import subprocess
import sys

import pytest

LEAN = """
import sys
import rdpipe.codecs.compressai
unused = {"torchvision", "torch_geometric", "torch._dynamo"}
assert not unused & sys.modules.keys(), unused & sys.modules.keys()
import torchvision.transforms
assert torchvision.transforms.ToTensor()
from compressai.transforms import NormalizeScaleV2
try:
    NormalizeScaleV2()
except ImportError as error:
    assert "import compressai before rdpipe" in str(error)
else:
    raise AssertionError
"""
IMPORTED_BEFORE = """
import torch
for name in ("nms", "qnms"):  # absent beside a CPU-only torch from another source
    try:
        torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
    except RuntimeError:
        pass
import PACKAGE
import rdpipe.codecs.compressai
import compressai
from compressai.registry import TRANSFORMS
from compressai.transforms import NormalizeScaleV2
import torch_geometric.transforms
base = torch_geometric.transforms.BaseTransform
assert issubclass(NormalizeScaleV2, base) == ("PACKAGE" != "torchvision")
assert ("ToTensor" in TRANSFORMS) == ("PACKAGE" != "torch_geometric")
"""

USERS_MODULE = """
import sys
from rdpipe.codecs.building import build_codec
open("plain.py", "w").write("def make(quality): return quality")
assert build_codec("plain:make", 1, {"use": "plain:make"}, "cpu") == 1
assert "compressai" not in sys.modules
open("mine.py", "w").write("import compressai.models\\ndef make(quality): return compressai")
module = build_codec("mine:make", 1, {"use": "mine:make"}, "cpu")
assert module is sys.modules["compressai"] and module.__version__
assert "torchvision" not in sys.modules
from importlib.resources import files
assert (files("compressai") / "__init__.py").is_file()
"""

PACKAGES = ("compressai", "torchvision", "torch_geometric")
SCRIPTS = {"lean": LEAN, "in a user's module": USERS_MODULE} | {
    f"after {p}": IMPORTED_BEFORE.replace("PACKAGE", p) for p in PACKAGES
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_in_a_new_process(name, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPTS[name]]
    subprocess.run(command, check=True, cwd=tmp_path)
