"""Models of every architecture."""

import pytest
from small_models import coding_model

from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    """Name of an architecture."""
    return request.param


@pytest.fixture
def model(architecture):
    """A small model whose latents have a deviation of several steps."""
    return coding_model(architecture)
