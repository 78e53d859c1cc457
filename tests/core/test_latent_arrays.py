"""Latents survive the arrays of a store."""

import torch

from rdpipe.core.latent_arrays import as_latents, to_dataset
from rdpipe.core.latents import Latents


def test_arrays_and_latents_are_inverse():
    y = torch.arange(24.0).view(2, 3, 4)
    latents = Latents(
        "a",
        y,
        y / 2,
        y + 1,
        hyper=y / 3,
        hyper_scale=y + 3,
        gain=torch.ones(2),
        own_bits=y,
        offset=y / 4,
        coded=y > 3,
        step=y + 2,
        latent="w",
        stride=8,
        weight=0.25,
        latents_follow_past=True,
        image_needs_side=True,
        grid_follows_past=True,
    )
    again = as_latents("a", to_dataset(latents))
    for field, value in vars(latents).items():
        other = getattr(again, field)
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
        assert same, field
    plain = as_latents("a", to_dataset(Latents("a", y, y, y + 1)))
    assert plain.gain is None and plain.stride is None and plain.weight is None
    assert plain.structure == Latents("a", y, y, y + 1).structure
