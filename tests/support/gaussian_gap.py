"""The gap of a quantizer to R(D), measured on Gaussians, and the least gap of E8."""

import math

import torch

from rdpipe import theory
from rdpipe.quantizers.lattice import SECOND_MOMENT

LEAST_GAP = 0.5 * math.log2(2 * math.pi * math.e * SECOND_MOMENT)


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measure(quantizer, sigma, shape=(192, 2000)):
    """Return rate, distortion and gap to R(D) for Gaussians of known variance."""
    r = sigma * normal(shape, 1)
    r *= sigma / r.square().mean().sqrt()
    output = quantizer.code(r, torch.full_like(r, sigma**2), 1.0)
    rate, distortion = output.bits.mean().item(), output.distortion.mean().item()
    return rate, distortion, rate - theory.gaussian_rate(sigma**2, min(distortion, sigma**2))
