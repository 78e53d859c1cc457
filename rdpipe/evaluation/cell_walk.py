"""Walks in which the quantizer of a cell takes the place of the codec's rounding.

The whole decoder runs on what the quantizer leaves, so priors and latents that depend on decoded
latents are those of the cell. The mean and the variance are the codec's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rdpipe.core.rng import standard_normal
from rdpipe.core.walk import Part, PartSelector, Walk
from rdpipe.entropy import escape
from rdpipe.entropy.coder import Coder
from rdpipe.entropy.coding_walk import CodingWalk
from rdpipe.entropy.priors import Gaussian
from rdpipe.estimators.causal import FLOOR
from rdpipe.evaluation.cell import Cell
from rdpipe.quantizers.base import CodableQuantizer


@dataclass(frozen=True)
class CellOfLatent:
    """How a walk codes one latent.

    Parameters
    ----------
    cell : Cell
        With the codec's own mean and variance.
    level : float
        Its level.
    key : int
        Key of its noise.
    shape : sequence of int
        Shape (channel, row, column) of the latent.
    """

    cell: Cell
    level: float
    key: int
    shape: Sequence[int]


class Elements:
    """The coded elements of a part, on the CPU, of shape (channel, position).

    The shape is (1, element) if the channels have different numbers of them.

    Parameters
    ----------
    part : Part
    places : Tensor of int64, of the shape of the part
        Position of each element in the flattened latent.
    positions : int
        Number of positions of the latent.
    """

    def __init__(self, part: Part, places: Tensor, positions: int):
        self.part = part
        self.on = torch.arange(places.numel())
        if part.coded is None:
            rows = part.shape[1] if len(part.shape) == 4 else 1
        else:
            self.on = self.on[part.coded.flatten().cpu()]
            channels = places.flatten()[self.on] // positions
            _, counts = torch.unique_consecutive(channels, return_counts=True)
            rectangular = len(counts) > 0 and bool((counts == counts[0]).all())
            rows = len(counts) if rectangular else 1
        self.on = self.on.view(rows, -1) if len(self.on) else self.on.view(1, 0)
        self.places = places.flatten()[self.on]
        self.channels = self.places // positions
        self.step = self.select(part.step) if isinstance(part.step, Tensor) else part.step

    def select(self, values: Tensor) -> Tensor:
        """Return the values of the coded elements, float64."""
        return values.detach().expand(self.part.shape).flatten().cpu()[self.on].double()

    def in_steps(self, values: Tensor) -> Tensor:
        """Return the values of the coded elements in units of the step."""
        return self.select(values) / self.step

    def scatter(self, values: Tensor) -> Tensor:
        """Return values in units of the codec in the shape of the part; NaN where nothing is."""
        whole = torch.full((self.part.offset.numel(),), torch.nan, dtype=torch.float64)
        whole[self.on.flatten()] = values.flatten()
        return whole.view(self.part.shape).to(self.part.offset.device)


class CellWalk(Walk):
    """Codes latents with the quantizers of cells, and sums their bits.

    Parameters
    ----------
    cells : mapping of str to CellOfLatent
        By the name of the latent.

    Attributes
    ----------
    bits : float
        Bits of all elements, without side information.
    """

    def __init__(self, cells: Mapping[str, CellOfLatent]):
        super().__init__()
        self._coders = _Coders(cells)
        self.bits = 0.0

    def decode(self, part: Part) -> Tensor:
        """Return what the cell's quantizer leaves of a part, float64."""
        if part.side or part.y is None:
            return super().decode(part)
        of_latent, elements, noise = self._coders.prepare(part)
        cell = of_latent.cell
        mu, v = elements.in_steps(part.prior.mean), elements.in_steps(part.prior.scale).square()
        v = v.clamp(min=FLOOR)
        r = elements.in_steps(part.y) - mu
        shift = elements.in_steps(part.offset) - mu
        level = level_of(of_latent, elements)
        bits, output = cell.code_residuals(r, v, level, noise, shift)
        if cell.quantizer.uses_own_prior:
            bits = elements.select(part.prior.bits(part.point(part.index()), part.step))
        self.bits += bits.sum().item()
        y_hat = mu + cell.reconstruct(output.residual, v, level)
        cell.check_sums(bits.sum().item(), output.distortion.sum().item(), y_hat)
        return elements.scatter(y_hat * elements.step)


def level_of(of_latent: CellOfLatent, elements: Elements) -> float | Tensor:
    """Return the level of the elements of a part."""
    cell = of_latent.cell
    if cell.quantizer.level is not None:
        return cell.quantizer.level
    if cell.weights is None:
        return of_latent.level
    return of_latent.level / cell.weights[:, 0][elements.channels]


class _Coders:
    """What consecutive parts of latents need to be coded."""

    def __init__(self, cells: Mapping[str, CellOfLatent]):
        self._cells = cells
        self._noise = {
            name: standard_normal(of_latent.key, of_latent.shape).flatten()
            for name, of_latent in cells.items()
        }
        self._places = {
            name: torch.arange(math.prod(of_latent.shape)).view(1, *of_latent.shape)
            for name, of_latent in cells.items()
        }
        self._selector = PartSelector()

    def prepare(self, part: Part) -> tuple[CellOfLatent, Elements, Tensor]:
        """Return the cell, the coded elements and the noise of a part."""
        of_latent = self._cells[part.name]
        _, rows, columns = of_latent.shape
        places = self._selector.select(part.name, self._places[part.name], part.at, part.shape)
        elements = Elements(part, places, rows * columns)
        return of_latent, elements, self._noise[part.name][elements.places]


class CellCodingWalk(CodingWalk):
    """Writes latents with the quantizers of cells, or reads them.

    Parameters
    ----------
    coder : Encoder or Decoder
    cells : mapping of str to CellOfLatent
        By the name of the latent. Their quantizers are codable.
    """

    def __init__(self, coder: Coder, cells: Mapping[str, CellOfLatent]):
        super().__init__(coder)
        self._coders = _Coders(cells)
        self.decoded: list[Tensor] = []

    def decode(self, part: Part) -> Tensor:
        """Return the decoded elements of a part, float64."""
        y_hat = super().decode(part) if part.side else self._decode_latent(part)
        if not part.side:
            self.decoded.append(part.fill(y_hat))
        return y_hat

    def _decode_latent(self, part: Part) -> Tensor:
        of_latent, elements, noise = self._coders.prepare(part)
        cell, quantizer = of_latent.cell, of_latent.cell.quantizer
        assert isinstance(quantizer, CodableQuantizer), "the cell is achievable"
        if quantizer.uses_own_prior:
            return super().decode(part)
        off_center = not torch.equal(part.offset, part.prior.mean.double())
        mu = self.coder.agree(elements.in_steps(part.prior.mean))
        v = self.coder.agree_ratio(elements.in_steps(part.prior.scale).square().clamp(min=FLOOR))
        if quantizer.reproduces_codec and off_center:  # rounding to the codec's grid
            gaussian = Gaussian(part.prior.mean.double(), part.prior.scale.double())
            y_hat = super().decode(replace(part, prior=gaussian))
            if cell.reconstruction is None:
                return y_hat
            residual = elements.in_steps(y_hat) - mu
        else:
            r = torch.full_like(v, torch.nan)
            if not self.coder.reads and part.y is not None:
                r = elements.in_steps(part.y) - mu
            residual = code_residuals(self.coder, cell, r, v, noise)
        y_hat = self.coder.agree(mu + cell.reconstruct(residual, v, cell.step))
        return elements.scatter(y_hat * elements.step)


def code_residuals(coder: Coder, cell: Cell, r: Tensor, v: Tensor, noise: Tensor) -> Tensor:
    """Write residuals with the quantizer of a cell, or read them; return what a decoder has.

    Parameters
    ----------
    coder : Encoder or Decoder
    cell : Cell
        With a codable quantizer.
    r, v, noise : Tensor of shape (channel, position)
        Residuals (NaN in a decoder), their variance, and standard normal noise.
    """
    quantizer, reads = cell.quantizer, coder.reads
    assert isinstance(quantizer, CodableQuantizer), "the cell is achievable"
    order = torch.full_like(v, torch.nan) if reads else escape.escape_order(r, v, cell.step)
    v = escape.enlarge(v, escape.code_escapes(coder, order))
    if reads:
        return quantizer.read(coder, v, cell.step, noise)
    return quantizer.write(coder, r, v, cell.step, noise)
