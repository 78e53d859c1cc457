"""The latents of one image."""

import torch

from rdpipe.core.latents import Latents


def test_codec_with_a_mean_without_context_has_a_context_model():
    y = torch.zeros(1, 2, 2)
    assert not Latents("a", y, y, y).with_context
    assert Latents("a", y, y, y, hyper=y).with_context
