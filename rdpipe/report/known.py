"""Cases with known answers, computed anew for every report: what the axes say beside the closed form.

Levels are matched over the data set, so that no bits are spent on telling one for each image.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pandas as pd
import torch

from rdpipe.evaluation.array import evaluate
from rdpipe.core.latents import Latents
from rdpipe.core.rng import standard_normal
from rdpipe.theory import (
    gaussian_rate,
    reverse_waterfill,
    rounding_distortion,
    rounding_rate,
    variance_mismatch,
)

RHO, SIGMA, BLOCK = 0.9, 40.0, 8
"""Correlation of neighbours and standard deviation of the field; side of a block."""
SIDE = 32
"""Side of the field, blocks."""


def field(steps: tuple[float, ...] = (100.0, 40.0, 20.0, 6.0)) -> pd.DataFrame:
    """Coefficients of the KLT of blocks of a separable AR(1) Gaussian field: a row for each quantizer and step.

    They are drawn as what they are, independent Gaussians with the eigenvalues for variances; field, blocks
    and transform themselves are run by ``config/gaussian.yaml``.

    Returns
    -------
    DataFrame
        ``step``, grey levels; ``quantizer``; ``mse``, squared grey levels, and ``rate``, bit/pixel, as
        the axes measure them on one sample; ``known_mse`` and ``known_rate``, those of the closed
        forms: the sums over the coefficients of rounding, and reverse water-filling at the measured
        distortion.
    """
    line = RHO ** np.abs(np.subtract.outer(range(BLOCK), range(BLOCK)))
    variances = SIGMA**2 * np.outer(*2 * [np.linalg.eigvalsh(line)]).ravel()
    sample = standard_normal(0, (len(variances), SIDE, SIDE))
    rows = []
    for step in steps:
        scale = torch.from_numpy(np.sqrt(variances) / step)[:, None, None].expand_as(sample)
        latents = Latents("field", sample * scale, torch.zeros_like(sample), scale.contiguous())
        measured = evaluate(latents, ["codec"], ["codec"], ["rounding", "test-channel"], "dataset")
        known = np.sqrt(variances) / step
        for quantizer in measured["quantizer"].values.tolist():
            cell = measured.sel(quantizer=quantizer)
            mse = step**2 * cell["distortion"].item() / sample.numel()
            if quantizer == "rounding":
                rate, known_mse = rounding_rate(known).mean(), rounding_distortion(known).mean()
            else:
                rate = reverse_waterfill(variances, mse * len(variances)).rate / len(variances)
                known_mse = rounding_distortion(known).mean()
            rows.append(
                {"step": step, "quantizer": quantizer, "mse": mse, "known_mse": step**2 * known_mse,
                 "rate": cell["bits"].item() / sample.numel(), "known_rate": rate}
            )  # fmt: skip
    return pd.DataFrame(rows)


def quantiles(count: int = 20_000) -> torch.Tensor:
    """A standard Gaussian without chance, its quantiles at the middle of equal steps, of shape (1, 1, count)."""
    return torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)[None, None]


def elements(scales: tuple[float, ...] = (0.3, 0.5, 1.0, 2.0, 4.0)) -> pd.DataFrame:
    """Rounding against R(D), independent Gaussians of one scale, unit step: a row for each scale.

    Returns
    -------
    DataFrame
        ``scale``; bits of rounding and of the test channel at its distortion and the ``gap`` between
        them, as measured, and as ``known`` from the closed forms.
    """
    noise = quantiles()
    rows = []
    for scale in scales:
        spread = torch.full_like(noise, scale)
        latents = Latents("elements", scale * noise, torch.zeros_like(noise), spread)
        cube = evaluate(latents, ["codec"], ["codec"], ["rounding", "test-channel"], "dataset")
        rounding, channel = (cube["bits"].values.ravel() / noise.numel()).tolist()
        rate, distortion = rounding_rate(scale), rounding_distortion(scale)
        rows.append(
            {"scale": scale, "rounding": rounding, "channel": channel, "gap": rounding - channel,
             "known_rounding": rate, "known_channel": gaussian_rate(scale**2, distortion),
             "known_gap": rate - gaussian_rate(scale**2, distortion)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def mismatch(factors: tuple[float, ...] = (0.5, 0.7, 1.0, 1.5, 2.0)) -> pd.DataFrame:
    """A predicted scale that is wrong by a factor: a row for each, with the gap per element at high rate.

    Returns
    -------
    DataFrame
        ``factor``; ``gap``, what the right variance saves rounding with a fine step, bits;
        ``known_gap``, (c^-2 - 1) / (2 ln 2) + log2 c.
    """
    noise = quantiles()
    scale = 64.0

    def rate(factor: float) -> float:
        spread = torch.full_like(noise, factor * scale)
        latents = Latents("mismatch", scale * noise, torch.zeros_like(noise), spread)
        cube = evaluate(latents, ["codec"], ["codec"], ["rounding"])
        return cube["bits"].item() / noise.numel()

    right = rate(1.0)
    return pd.DataFrame(
        {"factor": c, "gap": rate(c) - right, "known_gap": float(variance_mismatch(1 / c**2))}
        for c in factors
    )


@functools.cache
def tables() -> dict:
    """All of them, as lists of rows, and what they are of.

    ``infinite`` is the gap at high rate, 1/2 log2(pi e / 6); ``error`` the standard error of the rate
    where every coefficient is sent, sqrt(1/2) / ln 2 bit over the root of their number.
    """
    return {
        "rho": RHO,
        "sigma": SIGMA,
        "block": BLOCK,
        "error": math.sqrt(0.5) / math.log(2) / (BLOCK * SIDE),
        "field": field().to_dict("records"),
        "elements": elements().to_dict("records"),
        "mismatch": mismatch().to_dict("records"),
        "infinite": 0.5 * math.log2(math.pi * math.e / 6),
    }
