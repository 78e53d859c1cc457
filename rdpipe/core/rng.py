"""Random numbers that depend on their purpose, not on when they are drawn.

Results therefore do not depend on the batch size, the order of images, or which job of a cluster
computes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def noise_key(*key: object) -> int:
    """Return an integer from 0 to 2^64 - 1 for a key such as (seed, image name)."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")


def latent_key(key: int, latent: str, latents: int) -> int:
    """Return the key of the noise of one of several latents of an image.

    Parameters
    ----------
    key : int
        Key of the image. It is that of a single latent, too.
    latent : str
        Name of the latent.
    latents : int
        Number of latents.
    """
    return key if latents == 1 else noise_key(key, latent)


def generator(*key: object) -> torch.Generator:
    """Return a generator on the CPU that is seeded by a key."""
    import torch

    return torch.Generator().manual_seed(noise_key(*key))


def standard_normal(key: int, shape: Sequence[int]) -> torch.Tensor:
    """Draw standard normal noise, float64; a decoder with the same key draws the same noise."""
    import torch

    source = torch.Generator().manual_seed(key)
    return torch.randn(tuple(shape), generator=source, dtype=torch.float64)
