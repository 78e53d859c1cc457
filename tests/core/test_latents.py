"""The latents of one image."""

import torch

from rdpipe.core.latents import Latents, Structure, as_sequence

Y = torch.zeros(1, 2, 2)


def test_codec_with_a_mean_without_context_has_a_context_model():
    assert not Latents("a", Y, Y, Y).with_context
    assert Latents("a", Y, Y, Y, hyper=Y).with_context


def test_structure_is_that_of_the_latents():
    assert Latents("a", Y, Y, Y).structure == Structure(False, False, False)
    hierarchical = Latents("a", Y, Y, Y, hyper=Y, latents_follow_past=True, image_needs_side=True)
    assert hierarchical.structure == Structure(True, True, True)
    masked = Latents("a", Y, Y, Y, hyper=Y, grid_follows_past=True)
    assert masked.structure == Structure(True, False, False, True)


def test_elements_that_are_coded_are_counted():
    y = torch.zeros(2, 3, 4)
    assert Latents("a", y, y, y).coded_elements == 24
    coded = torch.arange(24).view(2, 3, 4) < 5
    assert Latents("a", y, y, y, coded=coded).coded_elements == 5


def test_one_latent_is_a_sequence_of_one():
    first, second = (Latents("a", Y, Y, Y, latent=name) for name in ("y", "w"))
    assert as_sequence(first) == (first,)
    assert as_sequence([first, second]) == [first, second]
