"""Which elements of which latent a module codes, and where its forward pass rounds them.

Two forward passes are compared: one as it is, and one in which every rounded element is moved. A
call of ``round()`` belongs to the entropy model whose y - mean it rounds in both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from rdpipe.codecs.bottleneck import bottleneck_prior
from rdpipe.codecs.tracing import Call, Event, Rounding, trace
from rdpipe.core.errors import InputError
from rdpipe.core.rng import generator
from rdpipe.entropy.priors import Gaussian, Learned

MOVE = 0.3
"""Distance by which rounded elements are moved, away from zero, so that ``int()`` hides it."""
BITS_TOLERANCE = 1e-3
"""Relative difference of code lengths that is not an error."""


@dataclass(frozen=True)
class Step:
    """Elements that are coded together.

    Parameters
    ----------
    event : int
        Number of the event that rounds them first.
    call : int
        Number of the call of the entropy model that codes them.
    mask : Tensor of bool or None
        Which elements of that call they are; None for all.
    """

    event: int
    call: int
    mask: Tensor | None


@dataclass(frozen=True)
class Place:
    """Place of the elements of a call in a latent.

    Parameters
    ----------
    name : str
        Name of the latent.
    side : bool
        Whether it is side information.
    masked : bool
        Whether its parts are masks of the whole latent; they are groups of channels otherwise.
    channels : slice
        Channels of the call.
    total : int
        Number of channels of the latent.
    """

    name: str
    side: bool
    masked: bool
    channels: slice
    total: int

    def embed(self, x: Tensor, value: float = 0.0) -> Tensor:
        """Return the elements of a call in a latent that is filled with a value."""
        margin = (0, 0, 0, 0, self.channels.start, self.total - self.channels.stop)
        return nn.functional.pad(x, margin, value=value)


@dataclass(frozen=True)
class Layout:
    """What a forward pass codes.

    Parameters
    ----------
    events : list of type
        Type of every event.
    steps : list of Step
        In decoding order.
    places : dict
        Place of each call, by its number.
    rounded : dict
        Call and mask of the elements that each call of ``round()`` rounds, by its number; None for
        all elements.
    """

    events: list[type]
    steps: list[Step]
    places: dict[int, Place]
    rounded: dict[int, tuple[int, Tensor | None]]

    @property
    def fits_any_size(self) -> bool:
        """Whether it holds for images of other sizes."""
        masks = [mask for _, mask in self.rounded.values()] + [step.mask for step in self.steps]
        return all(mask is None for mask in masks)


class _Pass:
    """A forward pass whose events are recorded, and changed by a function."""

    def __init__(
        self, module: nn.Module, image: Tensor, change: Callable[[int, Event], Tensor] | None = None
    ):
        self.events: list[Event] = []

        def replace(number: int, event: Event) -> Tensor:
            self.events.append(event)
            return event.result if change is None else change(number, event)

        self.output = trace(module, image, replace)
        self.decoded = decoded_image(module, self.output, image.shape)

    @property
    def calls(self) -> dict[int, Call]:
        """Calls of entropy models by the number of the event."""
        return {k: event for k, event in enumerate(self.events) if isinstance(event, Call)}

    @property
    def types(self) -> list[type]:
        """Types of the events."""
        return [type(event) for event in self.events]

    def differs(self, other: _Pass, masks: Mapping[int, Tensor]) -> bool:
        """Return whether the image, or what is coded of some calls, differs."""
        return not torch.equal(self.decoded, other.decoded) or any(
            _differ(self.calls[k], other.calls[k], mask) for k, mask in masks.items()
        )


def find_layout(module: nn.Module, shape: Sequence[int], device: Any, thorough: bool) -> Layout:
    """Return what the forward pass of a module codes for images of a shape.

    Parameters
    ----------
    module : Module
    shape : sequence of int
    device : torch.device
    thorough : bool
        Whether to check that every latent reaches the decoded image, with a pass for each.

    Raises
    ------
    InputError
        If something is rounded or coded that the entropy models do not explain.
    """
    image = torch.rand(tuple(shape), generator=generator("layout")).to(device)
    plain = _Pass(module, image)
    moved = _Pass(module, image, lambda number, event: _moved(event))
    _check_calls(module, plain, moved)
    constant = {k: _constant(k, plain, moved) for k in range(len(plain.events))}
    coded = {k: ~constant[k] for k in plain.calls}
    rounded = _assign_roundings(plain, moved, coded)
    _resolve_overlaps(module, plain, coded, rounded)
    rounded = {k: (call, mask & coded[call]) for k, (call, mask) in rounded.items()}
    explained = coded | {k: mask for k, (_, mask) in rounded.items()}
    unexplained = {k: ~constant[k] & ~explained.get(k, constant[k]) for k in constant}
    if _Pass(module, image, _moving(unexplained)).differs(plain, coded):
        refuse(
            module, "the forward pass rounds what no entropy model codes, or draws random numbers"
        )
    if thorough:
        _check_effects(module, image, plain, coded, rounded)
    steps = _order_steps(coded, rounded)
    _check_bits(module, plain, coded)
    return Layout(
        plain.types,
        steps,
        _places(module, plain.calls, steps, coded),
        {k: (call, _none_if_full(mask)) for k, (call, mask) in rounded.items()},
    )


def refuse(module: nn.Module, reason: str) -> NoReturn:
    """Raise the error for a module that hooks do not see through."""
    raise InputError(
        f"{type(module).__name__}: {reason}; expected a forward pass whose latents are all coded by"
        " CompressAI's GaussianConditional and EntropyBottleneck, and rounded by torch.round. Write"
        " `code` for this model instead (docs/howto/codec.md)"
    )


def decoded_image(module: nn.Module, output: Any, shape: torch.Size) -> Tensor:
    """Return the decoded image in the output of a forward pass."""
    image = output
    if isinstance(output, Mapping):
        image = output.get("x_hat")
    elif isinstance(output, Sequence):
        images = [x for x in output if isinstance(x, Tensor) and x.shape == shape]
        image = images[0] if images else None
    if isinstance(image, Tensor) and image.shape == shape:
        return image
    raise InputError(
        f"forward of {type(module).__name__} returned a {type(output).__name__} without the decoded"
        f" image; expected a tensor of shape {tuple(shape)}, a tuple that holds one, or a dict with"
        " x_hat"
    )


def prior_of(call: Call) -> Gaussian | Learned:
    """Return the density with which a call codes its elements."""
    if call.scale is not None:
        return Gaussian(call.mean, call.scale, call.least)
    return bottleneck_prior(call.model, call.y.shape)


def _none_if_full(mask: Tensor) -> Tensor | None:
    return None if bool(mask.all()) else mask


def _residual(event: Event) -> Tensor:
    """Return what an event rounds."""
    return event.argument if isinstance(event, Rounding) else event.y - event.mean


def _moved(event: Event, mask: Tensor | None = None) -> Tensor:
    """Return what an event returns, with some elements moved."""
    away = torch.where(_residual(event).round() < 0, -MOVE, MOVE)
    return event.result + (away if mask is None else torch.where(mask, away, 0.0))


def _moving(masks: Mapping[int, Tensor]) -> Callable[[int, Event], Tensor]:
    def change(number: int, event: Event) -> Tensor:
        mask = masks.get(number)
        return event.result if mask is None or not mask.any() else _moved(event, mask)

    return change


def _check_calls(module: nn.Module, plain: _Pass, moved: _Pass) -> None:
    """Check that entropy models are called, with latents of an image."""
    if not plain.calls:
        refuse(module, "its forward pass calls no entropy model of CompressAI")
    for call in plain.calls.values():
        if call.y.ndim != 4 or len(call.y) != 1:
            shape = tuple(call.y.shape)
            refuse(module, f"an entropy model codes elements of shape {shape}, not of one image")
    if plain.types != moved.types:
        refuse(module, "what its forward pass calls depends on the decoded elements")


def _constant(number: int, plain: _Pass, moved: _Pass) -> Tensor:
    """Return which elements of an event are masked out: they are 0 in both passes."""
    masks = []
    for event in (plain.events[number], moved.events[number]):
        if isinstance(event, Rounding):
            masks.append(event.argument == 0)
        else:
            masks.append((event.y == 0) & (event.mean == 0) & (not event.zero_mean))
    return masks[0] & masks[1]


def _assign_roundings(
    plain: _Pass, moved: _Pass, coded: Mapping[int, Tensor]
) -> dict[int, tuple[int, Tensor]]:
    """Return the call, and its elements, that each call of ``round()`` rounds."""
    rounded = {}
    for k, event in enumerate(plain.events):
        if isinstance(event, Call):
            continue
        matches = {
            call: mask
            & (event.argument == _residual(plain.events[call]))
            & (_residual(moved.events[k]) == _residual(moved.events[call]))
            for call, mask in coded.items()
            if mask.shape == event.argument.shape
        }
        if any(bool(mask.any()) for mask in matches.values()):
            rounded[k] = max(matches.items(), key=lambda match: int(match[1].sum()))
    return rounded


def _resolve_overlaps(
    module: nn.Module,
    plain: _Pass,
    coded: dict[int, Tensor],
    rounded: Mapping[int, tuple[int, Tensor]],
) -> None:
    """Reduce calls that get the same elements to what ``round()`` rounds for each of them."""
    pairs = [(a, b) for a in coded for b in coded if a < b and _overlap(plain, coded, a, b)]
    for call in {call for pair in pairs for call in pair}:
        masks = [mask for of_call, mask in rounded.values() if of_call == call]
        if masks:
            coded[call] = coded[call] & torch.stack(masks).any(0)
    if any(_overlap(plain, coded, *pair) for pair in pairs):
        refuse(module, "its forward pass codes a latent with several components, or twice")


def _overlap(plain: _Pass, coded: Mapping[int, Tensor], first: int, second: int) -> bool:
    """Return whether two calls code the same elements."""
    a, b = plain.calls[first], plain.calls[second]
    if a.y.shape != b.y.shape:
        return False
    same = (a.y == b.y) & (a.y != 0) & coded[first] & coded[second]
    return bool(same.any())


def _differ(first: Call, second: Call, mask: Tensor) -> bool:
    """Return whether elements of a call, or their priors, differ."""
    pairs = zip(first.numbers, second.numbers, strict=True)
    return any(not torch.equal(a[mask], b[mask]) for a, b in pairs)


def _check_effects(
    module: nn.Module,
    image: Tensor,
    plain: _Pass,
    coded: Mapping[int, Tensor],
    rounded: Mapping[int, tuple[int, Tensor]],
) -> None:
    """Check that what is decoded of each call has an effect."""
    for k, call in plain.calls.items():
        masks = {j: mask for j, (of_call, mask) in rounded.items() if of_call == k} | {k: coded[k]}
        others = {j: mask for j, mask in coded.items() if j != k}
        if not _Pass(module, image, _moving(masks)).differs(plain, others):
            refuse(
                module,
                f"elements of shape {tuple(call.y.shape)} that {type(call.model).__name__} codes"
                " have no effect on the decoded image where torch.round rounds them",
            )


def _order_steps(
    coded: Mapping[int, Tensor], rounded: Mapping[int, tuple[int, Tensor]]
) -> list[Step]:
    """Return what is coded together, in decoding order.

    An element is decoded where it is rounded first.
    """
    steps = []
    for call, mask in coded.items():
        remaining = mask
        masks = {k: m for k, (of_call, m) in rounded.items() if of_call == call and k < call}
        for event, of_event in {**masks, call: mask}.items():
            here, remaining = remaining & of_event, remaining & ~of_event
            if here.any():
                steps.append(Step(event, call, _none_if_full(here)))
    return sorted(steps, key=lambda step: step.event)


def _places(
    module: nn.Module,
    calls: Mapping[int, Call],
    steps: Sequence[Step],
    coded: Mapping[int, Tensor],
) -> dict[int, Place]:
    """Return the place of each call: calls with elements at the same positions are one latent."""
    latents: dict[tuple[Any, ...], list[int]] = {}
    for number in dict.fromkeys(step.call for step in steps):
        key = (calls[number].scale is None, *calls[number].y.shape[2:])
        latents.setdefault(key, []).append(number)
    all_learned = all(key[0] for key in latents)
    names = _names([key[0] for key in latents])
    places: dict[int, Place] = {}
    for (is_learned, *_), members, name in zip(latents, latents.values(), names, strict=True):
        masked = any(step.mask is not None for step in steps if step.call in members)
        if masked and is_learned:
            refuse(module, "an EntropyBottleneck codes some elements of a latent only")
        slots = _slots(members, coded)
        ends = list(itertools.accumulate(coded[slot[0]].shape[1] for slot in slots))
        for first, end, slot in zip([0, *ends], ends, slots, strict=False):
            if not torch.stack([coded[number] for number in slot]).any(0).all():
                refuse(module, f"some elements of latent {name!r} are never coded")
            side = is_learned and not all_learned
            place = Place(name, side, masked, slice(first, end), ends[-1])
            places |= dict.fromkeys(slot, place)
    return places


def _names(learned: Sequence[bool]) -> list[str]:
    """Return names of latents, by whether the density of each is learned."""
    kinds = ["z" if is_learned and not all(learned) else "y" for is_learned in learned]
    return [
        f"{kind}{kinds[: k + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for k, kind in enumerate(kinds)
    ]


def _slots(members: Sequence[int], coded: Mapping[int, Tensor]) -> list[list[int]]:
    """Return which calls share their channels, because they code other elements of them."""
    slots: list[list[int]] = []
    for number in members:
        for slot in slots:
            if coded[slot[0]].shape == coded[number].shape and not any(
                bool((coded[number] & coded[other]).any()) for other in slot
            ):
                slot.append(number)
                break
        else:
            slots.append([number])
    return slots


def _check_bits(module: nn.Module, plain: _Pass, coded: Mapping[int, Tensor]) -> None:
    """Check that the code lengths are those that the module reports, if it does."""
    reported = _likelihoods(plain.output)
    bits, expected = (
        sum(-likelihood.double().log2().sum().item() for likelihood in likelihoods)
        for likelihoods in ([plain.calls[k].likelihood[m] for k, m in coded.items()], reported)
    )
    if reported and not abs(bits - expected) <= BITS_TOLERANCE * expected:
        refuse(
            module,
            f"its entropy models code {bits:.1f} bit, but the likelihoods that it returns amount to"
            f" {expected:.1f} bit",
        )


def _likelihoods(output: Any) -> list[Tensor]:
    """Return the likelihoods in the output of a forward pass."""
    likelihoods = output.get("likelihoods") if isinstance(output, Mapping) else None
    values = likelihoods.values() if isinstance(likelihoods, Mapping) else likelihoods or ()
    return [value for value in values if isinstance(value, Tensor)]
