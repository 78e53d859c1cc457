"""Fit of calibrated reconstructions, through the codec's decoder.

The gains minimize the squared error of the decoded images over calibration images. The error is
nearly linear in the gains, so a few steps of the Gauss-Newton method suffice; the derivatives of
the image with respect to the gains are finite differences. A decoder that was trained for the
quantizer needs no gains, so gains that do not help images they were not fitted on are dropped. See
``docs/explanation/science.md``, section 2.4.
"""

from __future__ import annotations

import math
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
    PSNR of the images is that of the codec. It is the identity if it does not reduce the error
    there, or not beyond the noise, see :meth:`NormalEquations.help_other_images`.

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
    for index in range(STEPS):
        equations = fit.normal_equations(gains, level)
        if index == 0 and not equations.help_other_images():
            break
        changed = gains + equations.solve().view_as(gains)
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
class NormalEquations:
    """Normal equations of a Gauss-Newton step, and the errors before it.

    Parameters
    ----------
    matrices : Tensor of shape (image, gain, gain)
    rights : Tensor of shape (image, gain)
    errors : Tensor of shape (image,)
        MSE.
    """

    matrices: Tensor
    rights: Tensor
    errors: Tensor

    def solve(self) -> Tensor:
        """Return the step, of shape (gain,)."""
        matrix, right = self.matrices.sum(0), self.rights.sum(0)
        ridge = RIDGE * matrix.diagonal().mean().clamp(min=torch.finfo(matrix.dtype).tiny)
        step: Tensor = torch.linalg.solve(matrix + ridge * torch.eye(len(right)), right)
        return step

    def held_out_changes(self) -> Tensor:
        """Return the relative change of the error of each image by a step fitted on the others.

        It is predicted by the normal equations of the image, without decoding.
        """
        changes = []
        for index in range(len(self.errors)):
            others = torch.arange(len(self.errors)) != index
            step = NormalEquations(*(part[others] for part in vars(self).values())).solve()
            change = step @ self.matrices[index] @ step - 2 * self.rights[index] @ step
            changes.append(change / self.errors[index])
        return torch.stack(changes)

    def help_other_images(self) -> bool:
        """Return whether steps that are fitted on other images help, beyond the noise.

        The mean over the images of :meth:`held_out_changes` must be below 0 by more than its
        standard error. This is the one-standard-error rule of Breiman et al., Classification and
        Regression Trees (1984), section 3.4.3. The result is True for one image.
        """
        if len(self.errors) == 1:
            return True
        changes = self.held_out_changes()
        standard_error = changes.std() / math.sqrt(len(changes))
        return bool(changes.mean() + standard_error < 0)


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
        codec_errors = [picture.mse(picture.own_digest) for picture in self.pictures]
        cells, _ = self.cells(gains)
        kind = next(iter(cells.values())).quantizer.level_kind

        def evaluate(level: float) -> _AtLevel:
            return _AtLevel(float(psnr(self.errors(gains, level)).mean()))

        target = float(psnr(codec_errors).mean())
        return match_quality(evaluate, target, START[kind], SLOPE[kind])[1]

    def normal_equations(self, gains: Tensor, level: float) -> NormalEquations:
        """Return the normal equations of the next Gauss-Newton step."""
        matrices, rights, errors = [], [], []
        for index in range(len(self.images)):
            residual = self.residual(gains, level, index).flatten()
            columns = []
            for k in range(gains.numel()):
                changed = gains.clone()
                changed.view(-1)[k] += DIFFERENCE
                columns.append(residual - self.residual(changed, level, index).flatten())
            derivatives = torch.stack(columns) / DIFFERENCE
            matrices.append(derivatives @ derivatives.T / residual.numel())
            rights.append(derivatives @ residual / residual.numel())
            errors.append(residual.square().mean())
        return NormalEquations(torch.stack(matrices), torch.stack(rights), torch.stack(errors))
