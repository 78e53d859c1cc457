"""Walks that write and read real bytes, with whatever prior a codec states."""

from __future__ import annotations

import torch
from torch import Tensor

from rdpipe.core.protocols import Prior
from rdpipe.core.walk import Coded, Part, Walk
from rdpipe.entropy.coder import Coder
from rdpipe.entropy.range_coding import LogTail, Tails, code_indices, select


class CodingWalk(Walk):
    """Writes the rounded elements of every part, or reads them.

    Encoder and decoder run the same code.

    Parameters
    ----------
    coder : Encoder or Decoder
    """

    def __init__(self, coder: Coder):
        super().__init__()
        self.coder = coder

    def decode(self, part: Part) -> Tensor:
        """Return the decoded elements of a part, float64."""
        index = self.code_index(part)
        self.record.append(Coded(part, index))
        return self.agree(part, part.point(index))

    def code_index(self, part: Part) -> Tensor:
        """Write the indices of a part, or read them; return them."""
        unknown = torch.full(part.shape, torch.nan, dtype=torch.float64)
        index = unknown if self.coder.reads else part.index().cpu()
        everything = torch.arange(index.numel())
        places = everything if part.coded is None else everything[part.coded.flatten().cpu()]
        device = part.prior.mean.device
        prior = part.prior.select(places.to(device))
        offset, step = part.offset.flatten()[places.to(device)], part.step
        step = step.flatten()[places.to(device)] if isinstance(step, Tensor) else step
        decoded = torch.zeros_like(index).flatten()
        decoded[places] = code_index(self.coder, prior, index.flatten()[places], offset, step)
        return decoded.view(part.shape).to(device)

    def agree(self, part: Part, y_hat: Tensor) -> Tensor:
        """Return decoded elements as multiples of step / GRID, alike in encoder and decoder."""
        steps = y_hat / part.step
        return (self.coder.agree(steps.cpu()).to(y_hat.device)) * part.step


def code_index(
    coder: Coder, prior: Prior, index: Tensor, offset: Tensor, step: Tensor | float
) -> Tensor:
    """Write the numbers of points of a grid with the probabilities of a prior, or read them.

    They are coded relative to the point next to the mean: a probability next to 1 has few exact
    digits.

    Parameters
    ----------
    coder : Encoder or Decoder
    prior : Prior
        Of the elements.
    index : Tensor of the shape of the elements
        On the CPU; NaN when reading.
    offset, step : Tensor or float
        Grid of the elements.
    """
    device = prior.mean.device
    center = coder.agree_integer(((prior.mean - offset) / step).cpu())
    tails = tails_of(prior, offset + step * center.to(device), step)
    return code_indices(coder, index - center, tails) + center


def tails_of(prior: Prior, offset: Tensor, step: Tensor | float) -> Tails:
    """Return the log tails of the index (x - offset) / step, on the CPU.

    Parameters
    ----------
    prior : Prior
        Of the elements.
    offset, step : Tensor or float
        Grid of the elements.
    """
    device = prior.mean.device
    steps = step.expand(offset.shape) if isinstance(step, Tensor) else step

    def tails(chosen: Tensor | None) -> LogTail:
        if chosen is None:
            on_device = prior.index_log_tail(offset, step)
        else:
            chosen = chosen.to(device)
            some, start = prior.select(chosen), select(offset, chosen)
            length = select(steps, chosen) if isinstance(steps, Tensor) else steps
            on_device = some.index_log_tail(start, length)

        def log_tail(m: Tensor, positive: Tensor) -> Tensor:
            return on_device(m.to(device), positive.to(device)).cpu()

        return log_tail

    return tails
