"""Codecs of modules that are built on CompressAI's entropy models, without code for each.

The forward pass of the module runs with its entropy models hooked and ``round()`` intercepted. An
entropy model that is called sends its elements, and what was sent takes the place of the rounded
elements. Where the module rounds elements before their entropy model is called, the pass starts
again with what was sent for them; a pass for each part is enough, since the module is causal.

A module that codes anything else, such as a mixture with likelihoods of its own, is refused. Its
codec is written with :meth:`rdpipe.core.protocols.Codec.code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import rdpipe.codecs.compressai  # noqa: F401 - before compressai

# isort: split
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.entropy_models.entropy_models import EntropyModel
from compressai.models.utils import remap_old_keys
from torch import Tensor, nn

from rdpipe.codecs import fill_in_quality, weights_of
from rdpipe.codecs.compressai.checkpoint import listed, read_state
from rdpipe.codecs.layout import Layout, Step, decoded_image, find_layout, prior_of, refuse
from rdpipe.codecs.structure import SIDE
from rdpipe.codecs.tracing import Call, Event, trace
from rdpipe.core.device import available_device, raise_lack_of_memory
from rdpipe.core.errors import InputError, describe
from rdpipe.core.plugins import load_attribute
from rdpipe.core.protocols import Send
from rdpipe.core.running import padded_size
from rdpipe.entropy.priors import Gaussian


def automatic(
    quality: int,
    model: str,
    checkpoint: str | None = None,
    device: str = "auto",
    multiple: int = 64,
    least: int = 1,
    model_args: Mapping[str, Any] | None = None,
) -> AutomaticCodec:
    """Return the codec of a module that is built on CompressAI's entropy models.

    Parameters
    ----------
    quality : int
        Quality of the codec; replaces ``{quality}`` in ``checkpoint``.
    model : str
        ``module:attribute`` of a class or a function that returns the module. Its ``forward(x)``
        returns a dict with ``x_hat``, the decoded image, or a tuple that holds it.
    checkpoint : str, optional
        File of weights; see :func:`rdpipe.codecs.compressai.factories.from_checkpoint`. Default:
        those with which ``model`` returns the module.
    device : str
        ``cpu``, ``cuda`` or ``auto``.
    multiple, least : int
        Multiple to which the sides of images are extended, and their least length, pixels.
    model_args : mapping, optional
        Keyword arguments of ``model``. A string ``{quality}`` is replaced by the quality, an int;
        within a longer string, by its digits.

    Raises
    ------
    InputError
        If the module cannot be built, its weights do not fit, or hooks do not see all that it
        codes.
    """
    make_model = load_attribute(model)
    arguments = fill_in_quality(dict(model_args or {}), quality)
    try:
        module = make_model(**arguments)
    except Exception as error:  # a user's model may raise anything
        raise_lack_of_memory(error)
        raise InputError(f"cannot call {model!r} with {arguments}: {describe(error)}") from error
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{model!r} returned a {type(module).__name__}; expected a torch.nn.Module"
        )
    if checkpoint is not None:
        load_weights(module, Path(weights_of(checkpoint, quality)))
    return AutomaticCodec(module, device, multiple, least)


def load_weights(module: nn.Module, file: Path) -> None:
    """Load the weights of a module from a checkpoint.

    The tables of entropy coders are not needed. A method ``load_state_dict`` of the module is not
    called: those of CompressAI's models resize these tables, and take no partial state.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, or does not fit; names the keys.
    """
    state: Any = read_state(file)
    optional: set[str] = set()
    for name, model in module.named_modules():
        if isinstance(model, EntropyModel):
            prefix = f"{name}." * bool(name)
            optional |= {prefix + key for key, _ in model.named_buffers()}
            if isinstance(model, EntropyBottleneck):
                state = remap_old_keys(name, state)  # of before CompressAI 1.2.7
    expected = module.state_dict()
    fits = {
        name
        for name, value in state.items()
        if name in expected and expected[name].shape == value.shape
    }
    problems = {
        "missing": expected.keys() - state.keys() - optional,
        "unexpected": state.keys() - expected.keys() - optional,
        "another shape": (state.keys() & expected.keys()) - fits - optional,
    }
    if any(problems.values()):
        texts = (f"{kind}: {listed(sorted(keys))}" for kind, keys in problems.items() if keys)
        name = type(module).__name__
        raise InputError(f"{file}: these weights do not fit {name}; {'; '.join(texts)}")
    nn.Module.load_state_dict(module, {name: state[name] for name in fits}, strict=False)


class AutomaticCodec:
    """The codec of a module that is built on CompressAI's entropy models.

    It has no bitstream: the forward pass needs the image.

    Parameters
    ----------
    model : Module
        A module with its weights. It belongs to the codec: it is moved to the device, and set to
        evaluation.
    device, multiple, least
        See :func:`automatic`.

    Raises
    ------
    InputError
        If hooks do not see all that the module codes.
    """

    can_decode = False

    def __init__(self, model: nn.Module, device: str = "auto", multiple: int = 64, least: int = 1):
        self.device = available_device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.multiple, self.least = multiple, least
        shape = torch.Size((1, 3, *padded_size(self, SIDE, SIDE)))
        self._first_layout = self._find_layout(shape, thorough=True)
        self._layouts = {shape: self._first_layout}

    def code(self, image: Tensor | None, size: tuple[int, int], send: Send) -> Tensor:
        """Code an image; see :meth:`rdpipe.core.protocols.Codec.code`.

        Raises
        ------
        InputError
            If there is no image, or the module is not causal.
        """
        if image is None:
            raise InputError(
                f"the codec of {type(self.model).__name__} got no image; expected one: it runs the"
                " forward pass of the module, which cannot decode"
            )
        return _Coding(self.model, self._layout(image.shape), send).run(image)

    def forward(self, image: Tensor) -> Tensor:
        """Return the decoded image according to the module's own forward pass."""
        return decoded_image(self.model, self.model(image), image.shape)

    def _layout(self, shape: torch.Size) -> Layout:
        if self._first_layout.fits_any_size:
            return self._first_layout
        if shape not in self._layouts:
            self._layouts[shape] = self._find_layout(shape, thorough=False)
        return self._layouts[shape]

    @torch.no_grad()
    def _find_layout(self, shape: torch.Size, thorough: bool) -> Layout:
        # passes are compared bit by bit
        with torch.backends.cudnn.flags(torch.backends.cudnn.enabled, deterministic=True):
            try:
                return find_layout(self.model, shape, self.device, thorough)
            except InputError:
                raise
            except Exception as error:  # a user's model may raise anything
                raise_lack_of_memory(error)
                name = type(self.model).__name__
                raise InputError(f"forward of {name} raised {describe(error)}") from error


class _StartAgain(Exception):
    """The forward pass went on with other elements than were sent."""


class _Decoded:
    """What was sent of a call of an entropy model."""

    def __init__(self, call: Call):
        self.mask = torch.zeros_like(call.y, dtype=torch.bool)
        self.y_hat = self.residual = torch.zeros_like(call.y)
        self._values = [torch.zeros_like(value) for value in call.numbers]

    def add(self, call: Call, mask: Tensor, y_hat: Tensor) -> bool:
        """Add elements; return whether they are other than the rounded ones."""
        index = torch.round(call.y - call.mean)
        rounded, residual = index + call.mean, y_hat - call.mean
        is_rounded = y_hat == rounded  # the difference may not be the index, to the last bit
        residual = residual + torch.where(is_rounded, index - residual, 0.0).detach()
        self.y_hat = torch.where(mask, y_hat, self.y_hat)
        self.residual = torch.where(mask, residual, self.residual)
        self._values = [
            torch.where(mask, value, before)
            for value, before in zip(call.numbers, self._values, strict=True)
        ]
        self.mask = self.mask | mask
        return not bool(is_rounded[mask].all())

    def agrees(self, call: Call) -> bool:
        """Return whether another pass has the same elements and priors."""
        return all(
            torch.allclose(value[self.mask], before[self.mask], rtol=1e-3, atol=1e-4)
            for value, before in zip(call.numbers, self._values, strict=True)
        )


class _Coding:
    """Forward passes in which elements are sent, until all of them are."""

    def __init__(self, module: nn.Module, layout: Layout, send: Send):
        self._module, self._layout, self._send = module, layout, send
        self._pending = list(layout.steps)
        self._decoded: dict[int, _Decoded] = {}
        self._count = 0

    def run(self, image: Tensor) -> Tensor:
        """Return the decoded image."""
        while True:
            before, self._count = len(self._pending), 0
            try:
                output = trace(self._module, image, self._replace)
            except _StartAgain:
                continue
            if self._count < len(self._layout.events) or len(self._pending) == before > 0:
                self._refuse_path()
            if not self._pending:
                return decoded_image(self._module, output, image.shape)

    def _replace(self, number: int, event: Event) -> Tensor:
        """Return what takes the place of what an event returns."""
        self._count += 1
        if self._layout.events[number : number + 1] != [type(event)]:
            self._refuse_path()
        if isinstance(event, Call):
            return self._code(number, event)
        call, mask = self._layout.rounded.get(number, (-1, None))
        decoded = self._decoded.get(call)
        if decoded is None:
            return event.result
        mask = decoded.mask if mask is None else mask & decoded.mask
        return torch.where(mask, decoded.residual, event.result)

    def _code(self, number: int, call: Call) -> Tensor:
        """Return the elements of a call, and send those whose turn it is."""
        decoded = self._decoded.setdefault(number, _Decoded(call))
        if not decoded.agrees(call):
            refuse(self._module, "elements or priors depend on what is rounded after them")
        while self._pending and self._pending[0].call == number:
            step = self._pending.pop(0)
            mask = torch.ones_like(decoded.mask) if step.mask is None else step.mask
            is_other = decoded.add(call, mask, self._send_step(step, call, mask))
            # elements that are leaves of a graph must take their place where they are rounded
            if step.event < number and (is_other or torch.is_grad_enabled()):
                raise _StartAgain
        return torch.where(decoded.mask, decoded.y_hat, call.result)

    def _send_step(self, step: Step, call: Call, mask: Tensor) -> Tensor:
        """Return what is decoded of some elements of a call."""
        place = self._layout.places[step.call]
        prior = prior_of(call)
        if not place.masked:
            return self._send(place.name, prior, call.y, side=place.side)
        whole = Gaussian(place.embed(prior.mean), place.embed(prior.scale, 1.0), prior.least)
        at = place.embed(mask.float()).bool()
        return self._send(place.name, whole, place.embed(call.y), at=at)[:, place.channels]

    def _refuse_path(self) -> NoReturn:
        refuse(self._module, "what its forward pass calls depends on the image")
