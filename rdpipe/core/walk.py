"""Walks: objects that a codec's ``code`` calls as ``send``.

A codec says once how it codes an image. What happens to its latents is the affair of the walk::

    Walk           the codec as it is: rounds, and records all parts
    ZeroWalk       decodes 0 for every latent but side information: what is known without them
    Replay         decodes given latents
    rdpipe.entropy.coding_walk     writes or reads real bytes
    rdpipe.evaluation.simulation   another quantizer takes the place of rounding

A prior is asked for before the decoded elements are there, so a prediction cannot depend on what it
predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import (
    Codec,
    HasDevice,
    HasLeast,
    HasMultiple,
    Image,
    Prior,
    Region,
)

MULTIPLE = 64
"""Multiple to which the sides of images are extended, pixels, if the codec does not state it."""

IMAGE_TYPES = (("uint8", 3), ("float32", 1))
"""Type and number of colors of images: photographs, and Gaussian fields."""


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
    """

    part: Part
    index: Tensor


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
        raise InputError(
            f"send({name!r}) got y of shape {tuple(y.shape)} and a prior of shape"
            f" {tuple(mean.shape)}; expected the same shape"
        )
    coded = None
    if isinstance(at, Tensor):
        coded = at.expand_as(mean)
    if skip is not None:
        coded = ~skip.expand_as(mean) if coded is None else coded & ~skip
    at = coded_region(at, mean)
    return Part(name, prior, y, offset, step, at, coded, side)


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


def coded_region(at: Tensor | Region | None, mean: Tensor) -> Tensor | Region | None:
    """Return the place of a part, a mask in the shape of its elements."""
    return at.expand_as(mean) if isinstance(at, Tensor) else at


class ZeroWalk(Walk):
    """Decodes 0 for every latent but side information."""

    def decode(self, part: Part) -> Tensor:
        """Return zeros, or the rounded side information."""
        if part.side:
            return super().decode(part)
        self.record.append(Coded(part, torch.full(part.shape, torch.nan)))
        return torch.zeros(part.shape, dtype=torch.float64, device=part.prior.mean.device)


class Replay(Walk):
    """Decodes given latents; what is not given is rounded.

    Priors that are functions are not evaluated for them.

    Parameters
    ----------
    given : mapping of str to Tensor
        Decoded latents by name, in units of the codec, of the shape of the whole latent.
    device : device
        Where the codec runs.
    """

    def __init__(self, given: Mapping[str, Tensor], device: Any = "cpu"):
        super().__init__()
        dtype = torch.get_default_dtype()
        self._given = {
            name: (y_hat if y_hat.ndim == 4 else y_hat[None]).to(device, dtype)
            for name, y_hat in given.items()
        }
        self._channels: dict[str, int] = {}

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
        if name not in self._given:
            return super().__call__(
                name, prior, y, at=at, offset=offset, step=step, skip=skip, side=side
            )
        whole = self._given[name]
        if isinstance(at, tuple):
            return whole[:, *at]
        mean = (prior() if callable(prior) else prior).mean
        if isinstance(at, Tensor):
            y_hat = torch.where(at, whole, 0.0)
        else:
            first = self._channels.get(name, 0)
            self._channels[name] = first + mean.shape[1]
            y_hat = whole[:, first : first + mean.shape[1]]
        return y_hat.to(mean.dtype).view(mean.shape)


def visit(
    codec: Codec, send: Any, image: Image | None = None, size: tuple[int, int] | None = None
) -> Tensor | Callable[[], Tensor]:
    """Run ``code`` of a codec, and return what it returns.

    Parameters
    ----------
    codec : Codec
    send : Send
    image : array, optional
        None at a decoder.
    size : tuple of int, optional
        Height and width of the image, pixels, at a decoder.
    """
    if image is not None:
        size = image.shape[0], image.shape[1]
    if size is None:
        raise InputError("a decoder has no size; expected height and width of the image")
    x = None if image is None else to_tensor(codec, image)
    with torch.enable_grad() if _gradients(send) else torch.no_grad():
        return codec.code(x, padded_size(codec, *size), send)


def run(
    codec: Codec, send: Any, image: Image | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """Run ``code`` of a codec, and return the decoded image before it is cropped.

    Parameters are those of :func:`visit`.

    Returns
    -------
    Tensor of shape (1, color, height, width)

    Raises
    ------
    InputError
        If it returns something else.
    """
    return evaluate_image(codec, visit(codec, send, image, size), _gradients(send))


def evaluate_image(
    codec: Codec, decoded: Tensor | Callable[[], Tensor], gradients: bool = False
) -> Tensor:
    """Return the decoded image that :func:`visit` returned, which may be a function.

    Parameters
    ----------
    codec : Codec
    decoded : Tensor or callable
    gradients : bool
        Whether to compute with gradients.

    Raises
    ------
    InputError
        If it is no image.
    """
    if callable(decoded):
        with torch.enable_grad() if gradients else torch.no_grad():
            decoded = decoded()
    if isinstance(decoded, Tensor) and decoded.ndim == 4:
        return decoded
    tensor = isinstance(decoded, Tensor)
    what = f"a tensor of shape {tuple(decoded.shape)}" if tensor else f"a {type(decoded).__name__}"
    raise InputError(
        f"code of {type(codec).__name__} returned {what}; expected a tensor of shape"
        " (1, 3, height, width), the decoded image"
    )


def _gradients(send: object) -> bool:
    """Return whether a walk needs the gradient of the image."""
    return isinstance(send, Walk) and send.needs_gradients


def decode_image(
    codec: Codec, send: Any, image: Image | None = None, size: tuple[int, int] | None = None
) -> Image:
    """Run ``code`` of a codec, and return the decoded image.

    Parameters are those of :func:`visit`.
    """
    decoded = run(codec, send, image, size)
    height, width = size if image is None else image.shape[:2]  # type: ignore[misc]
    return to_image(decoded, height, width)


def padded_size(codec: object, height: int, width: int) -> tuple[int, int]:
    """Return the size to which a codec's images are extended, pixels."""
    multiple = codec.multiple if isinstance(codec, HasMultiple) else MULTIPLE
    least = codec.least if isinstance(codec, HasLeast) else 1
    rows, columns = (-(-max(side, least) // multiple) * multiple for side in (height, width))
    return rows, columns


def device_of(codec: object) -> Any:
    """Return where a codec runs."""
    return codec.device if isinstance(codec, HasDevice) else "cpu"


def to_tensor(codec: object, image: Image) -> Tensor:
    """Return an image as ``code`` of a codec expects it.

    Raises
    ------
    InputError
        If it is neither a color image of uint8 nor a field of float32.
    """
    if image.ndim != 3 or (str(image.dtype), image.shape[2]) not in IMAGE_TYPES:
        raise InputError(
            f"the image has dtype {image.dtype} and shape {tuple(image.shape)}; expected uint8 of"
            " shape (height, width, 3)"
        )
    device = device_of(codec)
    dtype = torch.get_default_dtype()
    x = torch.tensor(image, device=device).permute(2, 0, 1)[None].to(dtype)
    if image.dtype == np.uint8:
        x = x / 255
    height, width = image.shape[:2]
    rows, columns = padded_size(codec, height, width)
    if (rows, columns) == (height, width):
        return x.contiguous()
    return torch.nn.functional.pad(x, (0, columns - width, 0, rows - height), "replicate")


def to_image(decoded: Tensor, height: int, width: int) -> Image:
    """Return a decoded image: uint8 of shape (height, width, 3), or float32 for a field."""
    decoded = decoded.detach()[0, :, :height, :width].permute(1, 2, 0)
    if decoded.shape[2] == 1:
        return decoded.float().cpu().contiguous().numpy()
    return decoded.clamp(0, 1).mul(255).round().byte().cpu().contiguous().numpy()


@dataclass(frozen=True)
class Whole:
    """A latent that is put together from its parts, in units of the codec.

    Parameters
    ----------
    name : str
    y, mean, scale, offset, step, index, bits : Tensor of shape (channel, row, column)
        On the CPU. ``y`` is NaN at a decoder. ``bits`` are those of the codec's own prior; 0 where
        nothing is coded.
    coded : Tensor of bool or None
        Elements that are coded; None for all.
    gaussian : bool
        Whether the prior is a Gaussian with this mean and scale.
    side : bool
    """

    name: str
    y: Tensor
    mean: Tensor
    scale: Tensor
    offset: Tensor
    step: Tensor
    index: Tensor
    bits: Tensor
    coded: Tensor | None
    gaussian: bool
    side: bool


def assemble(record: Iterable[Coded]) -> dict[str, Whole]:
    """Return the latents of a walk by name, put together from their parts.

    Raises
    ------
    InputError
        If the parts of a latent do not fit together.
    """
    parts: dict[str, list[Coded]] = {}
    for coded in record:
        parts.setdefault(coded.part.name, []).append(coded)
    return {name: _assemble(name, of_name) for name, of_name in parts.items()}


def _assemble(name: str, parts: Sequence[Coded]) -> Whole:
    if len({coded.part.side for coded in parts}) > 1:
        raise InputError(f"send({name!r}) is side information in some calls only; expected in all")
    scales = [coded.part.prior.scale for coded in parts]
    for coded, scale in zip(parts, scales, strict=True):
        check_scale(name, scale, coded.part.coded)
    columns: dict[str, list[Tensor]] = {
        "y": [_or_nan(coded.part.y, coded.part) for coded in parts],
        "mean": [coded.part.prior.mean for coded in parts],
        "scale": scales,
        "offset": [coded.part.offset for coded in parts],
        "step": [_full(coded.part.step, coded.part) for coded in parts],
        "index": [coded.index for coded in parts],
        "bits": own_bits(parts),
        "coded": [coded.part.coded_mask() for coded in parts],
    }
    places = [coded.part.at for coded in parts]
    check_overlap(name, columns["coded"], places)
    rest = {"scale": 1.0, "step": 1.0}
    fields = {
        key: place(name, values, places, rest.get(key, 0.0)) for key, values in columns.items()
    }
    mask = fields.pop("coded").bool()
    gaussian = all(coded.part.prior.is_gaussian for coded in parts)
    coded_elements = None if bool(mask.all()) else mask
    return Whole(name, **fields, coded=coded_elements, gaussian=gaussian, side=parts[0].part.side)


def check_scale(name: str, scale: Tensor, coded: Tensor | None) -> None:
    """Check that the scales of a prior are positive where elements are coded.

    Raises
    ------
    InputError
        If one is not.
    """
    positive = (scale > 0) if coded is None else (scale > 0) | ~coded
    if not positive.all():
        least = scale[~positive][0].item()
        raise InputError(f"send({name!r}) got a scale of {least:g}; expected positive numbers")


def check_overlap(
    name: str, masks: Sequence[Tensor], places: Sequence[Tensor | Region | None]
) -> None:
    """Check that no element of a latent is in two of its parts.

    Raises
    ------
    InputError
        If one is.
    """
    if len(masks) == 1 or places[0] is None:
        return
    count = place(name, [torch.zeros_like(masks[0], dtype=torch.int32)] * len(masks), places)
    for mask, where in zip(masks, places, strict=True):
        if isinstance(where, tuple):
            count[:, *where[1:]][where[0]] += mask[0].cpu()
        elif isinstance(where, Tensor):
            count += mask.reshape(count.shape).cpu()
    if (count > 1).any():
        raise InputError(
            f"send({name!r}) has parts that overlap; expected every element of a latent in one part"
            " at most, or another name for each latent"
        )


def own_bits(parts: Sequence[Coded]) -> list[Tensor]:
    """Return the code length of each element of some parts under the codec's own prior, bit."""
    priors = [coded.part.prior for coded in parts]
    points = torch.cat([coded.part.point(coded.index).flatten() for coded in parts])
    steps = torch.cat([_full(coded.part.step, coded.part).flatten() for coded in parts])
    joined = priors[0].join(priors).bits(points, steps.to(points.device))
    bits = torch.split(joined, [coded.index.numel() for coded in parts])
    return [
        of_part.view(coded.part.shape)
        if coded.part.coded is None
        else torch.where(coded.part.coded, of_part.view(coded.part.shape), 0.0)
        for of_part, coded in zip(bits, parts, strict=True)
    ]


def _or_nan(y: Tensor | None, part: Part) -> Tensor:
    return torch.full(part.shape, torch.nan) if y is None else y


def _full(value: Tensor | float, part: Part) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(part.shape)


def place(
    name: str,
    values: Sequence[Tensor],
    places: Sequence[Tensor | Region | None],
    rest: float = 0.0,
) -> Tensor:
    """Return the whole latent, of shape (channel, row, column), from the values of its parts.

    Elements that are in no part have the value ``rest``.
    """
    values = [value.detach().cpu() for value in values]
    kinds = {type(place) for place in places}
    if kinds == {type(None)}:
        axis = 1 if values[0].ndim > 1 else 0
        whole = values[0] if len(values) == 1 else torch.cat(list(values), axis)
    elif kinds == {tuple}:
        regions = [place for place in places if isinstance(place, tuple)]
        stops = (max(region[axis].stop for region in regions) for axis in range(3))
        whole = torch.full((1, *stops), rest, dtype=values[0].dtype)
        for value, region in zip(values, regions, strict=True):
            whole[:, *region] = value
    elif kinds == {Tensor}:
        whole = torch.full_like(values[0], rest)
        for value, mask in zip(values, places, strict=True):
            whole = torch.where(mask.cpu(), value, whole)  # type: ignore[union-attr]
    else:
        raise InputError(
            f"send({name!r}) has parts with and without `at`; expected the same kind in all calls"
        )
    return whole.reshape((1,) * (3 - whole.ndim) + whole.shape[-3:])
