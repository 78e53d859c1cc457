"""Fit of calibrated reconstructions, through the codec's decoder.

The gains minimize the squared error of the decoded images over calibration images. The error is
nearly linear in the gains, so a few steps of the Gauss-Newton method suffice; the derivatives of
the image with respect to the gains are finite differences. See
``docs/explanation/science.md``, section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.metrics import psnr
from rdpipe.core.protocols import Codec
from rdpipe.estimators.base import State
from rdpipe.evaluation.cell import RECONSTRUCTION, Entries
from rdpipe.evaluation.levels import match_quality
from rdpipe.evaluation.simulation import (
    SLOPE,
    START,
    CellsOfLatents,
    CodedImage,
    Pictures,
    cells_of_latents,
    code_cells,
    walk_cells,
)
from rdpipe.quantizers.reconstruction import KNOTS

STEPS = 2
"""Number of steps of the Gauss-Newton method."""
DIFFERENCE = 0.1
"""Change of a gain by which derivatives are computed."""
RIDGE = 1e-4
"""Regularization of the normal equations, relative to the mean of their diagonal."""


def fit_reconstruction(
    codec: Codec,
    quantizer: str,
    entries: Entries,
    images: Sequence[CodedImage],
    seed: int = 0,
) -> dict[str, State]:
    """Return the state of the reconstruction of a quantizer, for each latent.

    It is fitted in the cell with the codec's own mean and variance, at the level at which the mean
    PSNR of the images is that of the codec. If it does not reduce the error there, it is the
    identity.

    Parameters
    ----------
    codec : Codec
    quantizer : str
        Name of the quantizer in the config.
    entries : mapping
        Config entries of the codec's mean and variance and of the quantizer.
    images : sequence of CodedImage
        Calibration images.
    seed : int
        Seed of the noise of random quantizers.

    Returns
    -------
    dict of str to State
        ``gain`` of shape (knot,); ``mse`` of shape (2,), squared 8-bit levels: that of plain and of
        calibrated reconstruction at the same level, averaged over the images.
    """
    fit = _Fit(codec, quantizer, entries, images, seed)
    latents = [latent.latent for latent in images[0].latents]
    gains = torch.ones(len(latents), len(KNOTS), dtype=torch.float64)
    level = fit.level(gains)
    plain = error = fit.error(gains, level)
    for _ in range(STEPS):
        changed = gains + fit.step(gains, level)
        at_changed = fit.error(changed, level)
        if at_changed >= error:
            break
        gains, error = changed, at_changed
    errors = np.array([plain, error])
    return {
        latent: {"gain": of_latent.numpy(), "mse": errors}
        for latent, of_latent in zip(latents, gains, strict=True)
    }


@dataclass(frozen=True)
class _AtLevel:
    """The PSNR at a level; see :func:`rdpipe.evaluation.levels.match_quality`."""

    quality: float


class _Fit:
    """Decoded calibration images as functions of the gains."""

    def __init__(
        self,
        codec: Codec,
        quantizer: str,
        entries: Entries,
        images: Sequence[CodedImage],
        seed: int,
    ):
        self.codec, self.entries, self.images, self.seed = codec, entries, images, seed
        self.cell_id = CellId(
            BASELINE_CELL.mean, BASELINE_CELL.variance, quantizer, Reconstruction.CALIBRATED
        )
        self.pictures = [Pictures(codec, image) for image in images]

    def cells(self, gains: Tensor) -> tuple[CellsOfLatents, bool]:
        """Return the cells with some gains, of shape (latent, knot)."""
        latents = self.images[0].latents
        states = {
            latent.latent: {"gain": of_latent.numpy()}
            for latent, of_latent in zip(latents, gains, strict=True)
        }
        fits = {(RECONSTRUCTION, self.cell_id.quantizer): states}
        return cells_of_latents(self.cell_id, self.entries, fits, latents)

    def decode(self, gains: Tensor, level: float, index: int) -> Tensor:
        """Return a decoded image, of shape (color, height, width), float64, 8-bit levels."""
        (cells, walks), image = self.cells(gains), self.images[index]
        if walks:
            _, decoded = walk_cells(self.codec, cells, image, level, self.seed)
        else:
            _, y_hats = code_cells(cells, image.latents, level, self.seed)
            decoded = self.pictures[index].synthesize(y_hats)
        height, width, colors = image.pixels.shape
        levels = 255.0 if colors == 3 else 1.0
        return levels * decoded[0, :, :height, :width].detach().cpu().double()

    def residual(self, gains: Tensor, level: float, index: int) -> Tensor:
        """Return an image minus the decoded one."""
        pixels = torch.from_numpy(self.images[index].pixels).permute(2, 0, 1).double()
        return pixels - self.decode(gains, level, index)

    def errors(self, gains: Tensor, level: float) -> list[float]:
        """Return the MSE of each image."""
        return [
            self.residual(gains, level, index).square().mean().item()
            for index in range(len(self.images))
        ]

    def error(self, gains: Tensor, level: float) -> float:
        """Return the MSE, averaged over the images."""
        return float(np.mean(self.errors(gains, level)))

    def level(self, gains: Tensor) -> float:
        """Return the level at which the mean PSNR is that of the codec."""
        own = [picture.errors(picture.own, full=False)[0] for picture in self.pictures]
        cells, _ = self.cells(gains)
        kind = next(iter(cells.values())).quantizer.level_kind

        def evaluate(level: float) -> _AtLevel:
            return _AtLevel(float(psnr(self.errors(gains, level)).mean()))

        target = float(psnr(own).mean())
        return match_quality(evaluate, target, START[kind], SLOPE[kind])[1]

    def step(self, gains: Tensor, level: float) -> Tensor:
        """Return a Gauss-Newton step for the gains."""
        count = gains.numel()
        matrix, right = torch.zeros(count, count).double(), torch.zeros(count).double()
        for index in range(len(self.images)):
            residual = self.residual(gains, level, index).flatten()
            columns = []
            for k in range(count):
                changed = gains.clone()
                changed.view(-1)[k] += DIFFERENCE
                columns.append(residual - self.residual(changed, level, index).flatten())
            derivatives = torch.stack(columns) / DIFFERENCE
            matrix += derivatives @ derivatives.T / residual.numel()
            right += derivatives @ residual / residual.numel()
        ridge = RIDGE * matrix.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
        step: Tensor = torch.linalg.solve(matrix + ridge * torch.eye(count), right)
        return step.view_as(gains)
