"""The prior of an entropy bottleneck, against CompressAI's own likelihoods."""

import subprocess
import sys

import pytest

import rdpipe.codecs.compressai  # noqa: F401 - before compressai

# isort: split
import torch
from compressai.entropy_models import EntropyBottleneck

from rdpipe.codecs.bottleneck import bottleneck_prior
from rdpipe.core.assembly import assemble
from rdpipe.core.walk import Walk


@pytest.fixture
def bottleneck():
    torch.manual_seed(0)
    model = EntropyBottleneck(4)
    with torch.no_grad():
        model.quantiles += 3 * torch.randn(4, 1, 1)  # medians between integers
    return model.eval()


@torch.no_grad()
def test_elements_and_bits_are_those_of_the_bottleneck(bottleneck):
    z, walk = 8 * torch.randn(1, 4, 3, 5), Walk()
    z_hat = walk("z", bottleneck_prior(bottleneck, (1, -1, 3, 5)), z, side=True)
    expected, likelihoods = bottleneck(z)
    torch.testing.assert_close(z_hat, expected)
    bits = -likelihoods[0].double().log2()
    torch.testing.assert_close(assemble(walk.record)["z"].bits, bits, rtol=1e-4, atol=1e-5)


def test_a_repository_may_have_a_copy_of_compressai():
    code = "import sys, rdpipe.codecs.bottleneck; assert 'compressai' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
