"""Whole latents, put together from the parts in which a codec sends them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Region
from rdpipe.core.walk import Coded, Part


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
    change : Tensor of shape (channel, row, column), optional
        Change of the image for a step of each element; see :class:`rdpipe.core.walk.Coded`.
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
    change: Tensor | None = None


def stride_of(whole: Whole, size: tuple[int, int]) -> int | None:
    """Return the distance of neighboring elements in the extended image, pixels.

    None if it is not the same number of pixels in both directions: the elements have no place then.

    Parameters
    ----------
    whole : Whole
    size : tuple of int
        Height and width of the extended image, pixels.
    """
    _, *counts = whole.mean.shape
    strides = {side / count for side, count in zip(size, counts, strict=True)}
    stride = strides.pop()
    return None if strides or not stride.is_integer() else int(stride)


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
    columns = {name: _columns(of_name) for name, of_name in parts.items()}
    fields = [values for of_name in columns.values() for values in of_name.values()]
    on_host = iter(to_host([*chain(*fields)]))
    return {
        name: _assemble(
            name, parts[name], {key: [next(on_host) for _ in values] for key, values in of.items()}
        )
        for name, of in columns.items()
    }


def _columns(parts: Sequence[Coded]) -> dict[str, list[Tensor]]:
    """Return the fields of the parts of a latent, and the masks that are their places."""
    changes = [coded.change for coded in parts if coded.change is not None]
    return ({"change": changes} if changes else {}) | {
        "y": [_or_nan(coded.part.y, coded.part) for coded in parts],
        "mean": [coded.part.prior.mean for coded in parts],
        "scale": [coded.part.prior.scale for coded in parts],
        "offset": [coded.part.offset for coded in parts],
        "step": [_full(coded.part.step, coded.part) for coded in parts],
        "index": [coded.index for coded in parts],
        "bits": own_bits(parts),
        "coded": [coded.part.coded_mask() for coded in parts],
        "at": [coded.part.at for coded in parts if isinstance(coded.part.at, Tensor)],
    }


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors without gradients on the CPU, with one copy for all on a card."""
    on_host = [tensor.detach() for tensor in tensors]
    for device in {tensor.device for tensor in on_host if tensor.device.type != "cpu"}:
        numbers = [n for n, tensor in enumerate(on_host) if tensor.device == device]
        numbers.sort(key=lambda n: on_host[n].element_size(), reverse=True)  # aligns all
        flat = [on_host[n].flatten().contiguous().view(torch.uint8) for n in numbers]
        pieces = torch.split(torch.cat(flat).cpu(), [len(part) for part in flat])
        for n, piece in zip(numbers, pieces, strict=True):
            on_host[n] = piece.view(on_host[n].dtype).view(on_host[n].shape)
    return on_host


def _assemble(name: str, parts: Sequence[Coded], columns: dict[str, list[Tensor]]) -> Whole:
    """Return a latent from its parts and their fields, which are on the CPU."""
    if len({coded.part.side for coded in parts}) > 1:
        raise InputError(f"send({name!r}) is side information in some calls only; expected in all")
    masks = iter(columns.pop("at"))
    places = [
        next(masks) if isinstance(coded.part.at, Tensor) else coded.part.at for coded in parts
    ]
    for coded, scale, mask in zip(parts, columns["scale"], columns["coded"], strict=True):
        check_scale(name, scale, None if coded.part.coded is None else mask)
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
            count[:, *where[1:]][where[0]] += mask[0]
        elif isinstance(where, Tensor):
            count += mask.reshape(count.shape)
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
    joined = priors[0].join(priors).bits(points, steps)
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
    device = part.prior.mean.device
    if isinstance(value, Tensor):
        return value.to(device, torch.float64).expand(part.shape)
    return torch.full((), value, dtype=torch.float64, device=device).expand(part.shape)


def place(
    name: str,
    values: Sequence[Tensor],
    places: Sequence[Tensor | Region | None],
    rest: float = 0.0,
) -> Tensor:
    """Return the whole latent, of shape (channel, row, column), from the values of its parts.

    Elements that are in no part have the value ``rest``. All tensors are on the CPU.
    """
    if all(where is None for where in places):
        axis = 1 if values[0].ndim > 1 else 0
        whole = values[0] if len(values) == 1 else torch.cat(list(values), axis)
    elif len(regions := [where for where in places if isinstance(where, tuple)]) == len(places):
        stops = (max(region[axis].stop for region in regions) for axis in range(3))
        whole = torch.full((1, *stops), rest, dtype=values[0].dtype)
        for value, region in zip(values, regions, strict=True):
            whole[:, *region] = value
    elif len(masks := [where for where in places if isinstance(where, Tensor)]) == len(places):
        whole = torch.full_like(values[0], rest)
        for value, mask in zip(values, masks, strict=True):
            whole = torch.where(mask, value, whole)
    else:
        raise InputError(
            f"send({name!r}) has parts with and without `at`; expected the same kind in all calls"
        )
    return whole.reshape((1,) * (3 - whole.ndim) + whole.shape[-3:])
