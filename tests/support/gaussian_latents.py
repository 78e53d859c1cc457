"""Gaussian latents of known distribution, and cells that code them, for several tests."""

import math

import torch

from rdpipe.core.axes import CellId
from rdpipe.core.latents import Latents, Structure
from rdpipe.evaluation.cell import Cell


def normal(shape, seed=0):
    """Return standard normal numbers, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def autoregressive_field(a, b, rows, columns, seed, sigma):
    """Return a stationary separable AR(1) field, y = a west + b north - a b north-west + e."""
    e = normal((rows, columns), seed).numpy() * sigma * math.sqrt((1 - a * a) * (1 - b * b))
    e[:, 0] /= math.sqrt(1 - a * a)
    e[0] /= math.sqrt(1 - b * b)
    for j in range(1, columns):
        e[:, j] += a * e[:, j - 1]
    for i in range(1, rows):
        e[i] += b * e[i - 1]
    return torch.from_numpy(e)


def make_latents(y, scale=1.0, mean=0.0, name="a"):
    """Return latents with a constant predicted mean and scale."""
    return Latents(name, y, torch.full_like(y, mean), torch.full_like(y, scale))


def make_cell(mean, variance, quantizer, context=False):
    """Return a cell of estimators."""
    structure = Structure(priors_follow_past=context)
    return Cell(CellId("mean", "variance", "quantizer"), mean, variance, quantizer, structure)
