"""Random numbers that depend on what they are for, not on when they are drawn.

Keyed this way, results do not depend on batch size, on the order of images, or on which job of a
cluster computes them.
"""

from __future__ import annotations

import hashlib


def noise_key(*key) -> int:
    """A whole number from 0 to 2^64 - 1 for a key, such as (seed, image name)."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")


def generator(*key):
    """A CPU ``torch.Generator`` seeded by a key."""
    import torch

    return torch.Generator().manual_seed(noise_key(*key))


def standard_normal(key: int, shape):
    """Standard normal noise that a decoder with the same key draws again, float64."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(key), dtype=torch.float64)
