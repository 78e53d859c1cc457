"""Walks: objects that a codec's ``code`` calls as ``send``.

A codec says once how it codes an image. What happens to its latents is the affair of the walk::

    Walk           the codec as it is: rounds, and records all parts
    ZeroWalk       decodes 0 for every latent but side information: what is known without them
    Replay         decodes given latents
    FullReplay     decodes given latents and given side information
    rdpipe.entropy.coding_walk     writes or reads real bytes
    rdpipe.evaluation.simulation   another quantizer takes the place of rounding

A prior is asked for before the decoded elements are there, so a prediction cannot depend on what it
predicts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Prior, Region

MULTIPLE_HINT = ", and an attribute multiple of the codec that all strides divide"


@dataclass(frozen=True)
class Part:
    """One call of ``send``.

    Parameters
    ----------
    name : str
        Name of the latent.
    prior : Prior
    y : Tensor or None
        The elements; None at a decoder.
    offset, step : Tensor or float
        Grid of the elements.
    at : Tensor, tuple of slices or None
        Place in the latent.
    coded : Tensor of bool or None
        Which of the elements are coded; None for all.
    side : bool
        Whether it is side information.
    """

    name: str
    prior: Prior
    y: Tensor | None
    offset: Tensor
    step: Tensor | float
    at: Tensor | Region | None
    coded: Tensor | None
    side: bool

    @property
    def has_unit_step(self) -> bool:
        """Whether the step is 1."""
        return isinstance(self.step, float) and self.step == 1

    @property
    def shape(self) -> torch.Size:
        """Shape of the elements."""
        return self.prior.mean.shape

    def index(self) -> Tensor:
        """Return the number of the nearest point of the grid for each element, float64."""
        if self.y is None:
            raise InputError(f"latent {self.name!r} has no elements; expected them at an encoder")
        distance = self.y.double() - self.offset
        return (distance if self.has_unit_step else distance / self.step).round()

    def point(self, index: Tensor) -> Tensor:
        """Return points of the grid by their number, float64."""
        return self.offset + (index if self.has_unit_step else self.step * index)

    def coded_mask(self) -> Tensor:
        """Return which of the elements are coded."""
        return torch.ones(self.shape, dtype=torch.bool) if self.coded is None else self.coded

    def fill(self, y_hat: Tensor) -> Tensor:
        """Return decoded elements, with what a decoder has of those that are not coded."""
        if self.coded is None:
            return y_hat
        y_hat = torch.where(self.coded, y_hat, self.offset)
        return torch.where(self.at, y_hat, 0.0) if isinstance(self.at, Tensor) else y_hat


@dataclass(frozen=True)
class Coded:
    """A part and what was decoded of it.

    Parameters
    ----------
    part : Part
    index : Tensor
        Number of the point of the grid of each element.
    change : Tensor, optional
        Change of the image for a step of each element, if it was measured; see
        :mod:`rdpipe.codecs.gain`.
    """

    part: Part
    index: Tensor
    change: Tensor | None = None


class Walk:
    """The codec as it is: elements are rounded to their grid, and all parts are recorded.

    Attributes
    ----------
    record : list of Coded
        All parts, in decoding order.
    """

    needs_gradients = False

    def __init__(self) -> None:
        self.record: list[Coded] = []

    def __call__(
        self,
        name: str,
        prior: Prior | Callable[[], Prior],
        y: Tensor | None = None,
        *,
        at: Tensor | Region | None = None,
        offset: Tensor | float | None = None,
        step: Tensor | float = 1.0,
        skip: Tensor | None = None,
        side: bool = False,
    ) -> Tensor:
        """Return y_hat; see :class:`rdpipe.core.protocols.Send`."""
        part = make_part(name, prior, y, at, offset, step, skip, side)
        return part.fill(self.decode(part)).to(part.prior.mean.dtype)

    def decode(self, part: Part) -> Tensor:
        """Return the decoded elements of a part, float64."""
        index = part.index()
        self.record.append(Coded(part, index))
        return part.point(index)


def make_part(
    name: str,
    prior: Prior | Callable[[], Prior],
    y: Tensor | None,
    at: Tensor | Region | None,
    offset: Tensor | float | None,
    step: Tensor | float,
    skip: Tensor | None,
    side: bool,
) -> Part:
    """Return the part of a call of ``send``, with its defaults.

    Raises
    ------
    InputError
        If shapes do not fit.
    """
    check_name(name)
    if callable(prior):
        prior = prior()
    mean = prior.mean
    if prior.scale.shape != mean.shape:
        raise InputError(
            f"send({name!r}) got a prior with a mean of shape {tuple(mean.shape)} and a scale of"
            f" shape {tuple(prior.scale.shape)}; expected the same shape"
        )
    if isinstance(at, tuple):
        check_region(name, at)
    if offset is None:
        offset = prior.origin.double()
    else:
        offset = torch.as_tensor(offset, dtype=torch.float64, device=mean.device).expand_as(mean)
    if isinstance(step, Tensor):
        step = step.detach().double().expand_as(mean)
    else:
        step = float(step)
    if y is not None and y.shape != mean.shape:
        multiple = "" if y.shape[2:] == mean.shape[2:] else MULTIPLE_HINT
        raise InputError(
            f"send({name!r}) got y of shape {tuple(y.shape)} and a prior of shape"
            f" {tuple(mean.shape)}; expected the same shape{multiple}"
        )
    coded = None
    if isinstance(at, Tensor):
        coded = at = at.expand_as(mean)
    if skip is not None:
        coded = ~skip.expand_as(mean) if coded is None else coded & ~skip
    return Part(name, prior, y, offset, step, at, coded, side)


@cache
def check_name(name: str) -> None:
    """Check the name of a latent, which becomes that of a group in a store.

    Raises
    ------
    InputError
        If it has other characters than letters, digits, ``_``, ``-`` and ``.``.
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise InputError(
            f"send({name!r}): expected a name of letters, digits, '_', '-' and '.', such as 'y1'"
        )


def check_region(name: str, at: Region) -> None:
    """Check that a region is three slices with both ends.

    Raises
    ------
    InputError
        If it is not.
    """
    slices = [part for part in at if isinstance(part, slice)]
    if len(slices) != 3 or any(
        part.start is None or part.stop is None or part.step not in (None, 1) for part in slices
    ):
        raise InputError(
            f"send({name!r}) got at={at!r}; expected slices of channels, rows and columns with a"
            " start and a stop, such as (slice(0, 192), slice(3, 4), slice(0, 8))"
        )


class ZeroWalk(Walk):
    """Decodes 0 for every latent but side information."""

    def decode(self, part: Part) -> Tensor:
        """Return zeros, or the rounded side information."""
        if part.side:
            return super().decode(part)
        self.record.append(Coded(part, torch.full_like(part.offset, torch.nan)))
        return torch.zeros_like(part.offset)


class PartSelector:
    """Selects consecutive parts of whole latents."""

    def __init__(self) -> None:
        self._channels: dict[str, int] = {}

    def select(
        self, name: str, whole: Tensor, at: Tensor | Region | None, shape: Sequence[int]
    ) -> Tensor:
        """Return the elements of the next part of a latent.

        Parameters
        ----------
        name : str
        whole : Tensor of shape (1, channel, row, column)
            A value for each element of the latent.
        at : Tensor, tuple of slices or None
            Place of the part.
        shape : sequence of int
            Shape of the part.
        """
        if isinstance(at, tuple):
            return whole[:, *at]
        if isinstance(at, Tensor):
            return whole.view(*shape)
        first = self._channels.get(name, 0)
        end = first + (shape[1] if len(shape) == 4 else whole.shape[1])
        self._channels[name] = end
        return whole[:, first:end].reshape(*shape)


class Replay(Walk):
    """Decodes given latents; what is not given is rounded.

    A prior that is a function is not evaluated for a part that is placed by slices.

    Parameters
    ----------
    latents : mapping of str to Tensor
        Decoded latents by name, in units of the codec, of the shape of the whole latent.
    device : device
        Where the codec runs.
    """

    def __init__(self, latents: Mapping[str, Tensor], device: Any = "cpu"):
        super().__init__()
        dtype = torch.get_default_dtype()
        self._latents = {
            name: (y_hat if y_hat.ndim == 4 else y_hat[None]).to(device, dtype)
            for name, y_hat in latents.items()
        }
        self._selector = PartSelector()

    def __call__(
        self,
        name: str,
        prior: Prior | Callable[[], Prior],
        y: Tensor | None = None,
        *,
        at: Tensor | Region | None = None,
        **options: Any,
    ) -> Tensor:
        """Return y_hat; see :class:`rdpipe.core.protocols.Send`."""
        if name not in self._latents:
            return super().__call__(name, prior, y, at=at, **options)
        whole = self._latents[name]
        if isinstance(at, tuple):
            return whole[:, *at]
        mean = (prior() if callable(prior) else prior).mean
        y_hat = self._selector.select(name, whole, at, mean.shape).to(mean.dtype)
        return torch.where(at, y_hat, 0.0) if isinstance(at, Tensor) else y_hat


class FullReplay(Replay):
    """Decodes given latents and given side information, so that no image is needed.

    Parameters
    ----------
    latents : mapping of str to Tensor
        See :class:`Replay`.
    side : iterable of Tensor
        Decoded parts of side information, in decoding order.
    device : device
        Where the codec runs.
    """

    def __init__(self, latents: Mapping[str, Tensor], side: Iterable[Tensor], device: Any = "cpu"):
        super().__init__(latents, device)
        self._side = iter(side)

    def decode(self, part: Part) -> Tensor:
        """Return the next part of side information."""
        return next(self._side)
