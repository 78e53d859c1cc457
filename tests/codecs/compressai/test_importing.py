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


PACKAGES = ("compressai", "torchvision", "torch_geometric")
SCRIPTS = {"lean": LEAN} | {f"after {p}": IMPORTED_BEFORE.replace("PACKAGE", p) for p in PACKAGES}


@pytest.mark.parametrize("name", SCRIPTS)
def test_in_a_new_process(name):
    subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPTS[name]], check=True)
