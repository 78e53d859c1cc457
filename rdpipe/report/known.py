"""Sources with known answers: measured by the same code, beside the closed form.

They are computed again for every report. Levels are matched over the dataset, so that no bits are
spent on transmitting one for each image.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pandas as pd
import torch

from rdpipe.core.latents import Latents
from rdpipe.core.rng import standard_normal
from rdpipe.evaluation.array import evaluate
from rdpipe.theory import (
    gaussian_rate,
    reverse_waterfill,
    rounding_distortion,
    rounding_rate,
    variance_mismatch,
)

RHO, SIGMA, BLOCK = 0.9, 40.0, 8
"""Correlation of neighbors and standard deviation of the field (gray levels); side of a block."""
SIDE = 32
"""Side of the field, blocks."""


def field(steps: tuple[float, ...] = (100.0, 40.0, 20.0, 6.0)) -> pd.DataFrame:
    """Measure the KLT coefficients of blocks of a separable AR(1) Gaussian field.

    The coefficients are drawn directly, as independent Gaussians with the eigenvalues as variances.
    ``config/gaussian.yaml`` runs the field, its blocks and the transform.

    Parameters
    ----------
    steps : tuple of float
        Quantization steps, gray levels.

    Returns
    -------
    DataFrame
        A row for each quantizer and step: ``step``; ``quantizer``; ``mse`` (squared gray levels)
        and ``rate`` (bit/pixel), measured on one sample; ``known_mse`` and ``known_rate`` of the
        closed forms: sums over the coefficients for rounding, reverse water-filling at the measured
        distortion for the test channel.
    """
    line = RHO ** np.abs(np.subtract.outer(range(BLOCK), range(BLOCK)))
    variances = SIGMA**2 * np.outer(*2 * [np.linalg.eigvalsh(line)]).ravel()
    sample = standard_normal(0, (len(variances), SIDE, SIDE))
    rows = []
    for step in steps:
        scale = torch.from_numpy(np.sqrt(variances) / step)[:, None, None].expand_as(sample)
        latents = Latents("field", sample * scale, torch.zeros_like(sample), scale.contiguous())
        array = evaluate(latents, ["codec"], ["codec"], ["rounding", "test-channel"], "dataset")
        scales = np.sqrt(variances) / step
        known_mse = step**2 * rounding_distortion(scales).mean()
        for quantizer in array["quantizer"].values.tolist():
            cell = array.sel(quantizer=quantizer)
            mse = step**2 * cell["distortion"].item() / sample.numel()
            if quantizer == "rounding":
                known_rate = rounding_rate(scales).mean()
            else:
                total = mse * len(variances)
                known_rate = reverse_waterfill(variances, total).rate / len(variances)
            rows.append(
                {
                    "step": step,
                    "quantizer": quantizer,
                    "mse": mse,
                    "known_mse": known_mse,
                    "rate": cell["bits"].item() / sample.numel(),
                    "known_rate": known_rate,
                }
            )
    return pd.DataFrame(rows)


def quantiles(count: int = 20_000) -> torch.Tensor:
    """Return a standard Gaussian without randomness, of shape (1, 1, count).

    The values are the quantiles at the middle of equal intervals.
    """
    positions = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.special.ndtri(positions)[None, None]


def elements(scales: tuple[float, ...] = (0.3, 0.5, 1.0, 2.0, 4.0)) -> pd.DataFrame:
    """Measure rounding with unit step against R(D), for independent Gaussians of one scale.

    Parameters
    ----------
    scales : tuple of float
        Standard deviations, latent units.

    Returns
    -------
    DataFrame
        A row for each scale: ``scale``; bit/element of rounding and of the test ``channel`` at its
        distortion, and their difference ``gap``; and all three by the closed forms.
    """
    noise = quantiles()
    rows = []
    for scale in scales:
        latents = gaussian_latents("elements", noise, scale, scale)
        array = evaluate(latents, ["codec"], ["codec"], ["rounding", "test-channel"], "dataset")
        rounding, channel = (array["bits"].values.ravel() / noise.numel()).tolist()
        rate, distortion = rounding_rate(scale), rounding_distortion(scale)
        rows.append(
            {
                "scale": scale,
                "rounding": rounding,
                "channel": channel,
                "gap": rounding - channel,
                "known_rounding": rate,
                "known_channel": gaussian_rate(scale**2, distortion),
                "known_gap": rate - gaussian_rate(scale**2, distortion),
            }
        )
    return pd.DataFrame(rows)


def mismatch(factors: tuple[float, ...] = (0.5, 0.7, 1.0, 1.5, 2.0)) -> pd.DataFrame:
    """Measure the cost of a predicted scale that is wrong by a factor, at high rate.

    Parameters
    ----------
    factors : tuple of float
        Predicted scale over the true one.

    Returns
    -------
    DataFrame
        A row for each ``factor``: ``gap``, what the true scale saves for rounding with a fine step,
        bit/element; ``known_gap``, (c^-2 - 1) / (2 ln 2) + log2 c.
    """
    noise = quantiles()
    scale = 64.0

    def rate(factor: float) -> float:
        latents = gaussian_latents("mismatch", noise, scale, factor * scale)
        array = evaluate(latents, ["codec"], ["codec"], ["rounding"])
        return float(array["bits"].item() / noise.numel())

    true_rate = rate(1.0)
    return pd.DataFrame(
        {
            "factor": factor,
            "gap": rate(factor) - true_rate,
            "known_gap": float(variance_mismatch(1 / factor**2)),
        }
        for factor in factors
    )


def gaussian_latents(name: str, noise: torch.Tensor, scale: float, predicted: float) -> Latents:
    """Return Gaussian latents of one scale, with a predicted scale and mean 0."""
    mean, predicted_scale = torch.zeros_like(noise), torch.full_like(noise, predicted)
    return Latents(name, scale * noise, mean, predicted_scale)


TOLERANCE = 5e-4
"""Largest difference from a closed form that passes where no random numbers are drawn, bit."""
ERRORS = 4
"""Largest difference that passes for a random sample, standard errors."""


def checks(known: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the difference of each known answer, its tolerance, and whether it passes.

    Parameters
    ----------
    known : dict
        ``field``, ``elements``, ``mismatch`` and ``error`` of :func:`tables`.
    """
    differences = [
        (
            f"field, {row['quantizer']}, step {row['step']:g}",
            row["rate"] - row["known_rate"],
            ERRORS * known["error"],
        )
        for row in known["field"]
    ]
    differences += [
        (f"gap of a Gaussian of scale {row['scale']:g}", row["gap"] - row["known_gap"], TOLERANCE)
        for row in known["elements"]
    ]
    differences += [
        (f"scale wrong by {row['factor']:g}", row["gap"] - row["known_gap"], TOLERANCE)
        for row in known["mismatch"]
    ]
    return [
        {
            "name": name,
            "difference": difference,
            "tolerance": tolerance,
            "passed": bool(abs(difference) <= tolerance),
        }
        for name, difference, tolerance in differences
    ]


@functools.cache
def tables() -> dict[str, Any]:
    """Return all comparisons as lists of rows, their parameters, and their :func:`checks`.

    ``infinite`` is the gap at high rate, 1/2 log2(pi e / 6). ``error`` is the standard error of the
    rate if every coefficient is coded: sqrt(1/2) / ln 2 bit over the root of their number.
    """
    known = comparisons()
    return {**known, "checks": checks(known)}


def comparisons() -> dict[str, Any]:
    """Return what :func:`tables` has, without the checks."""
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
