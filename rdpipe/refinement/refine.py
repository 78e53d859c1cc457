"""Refine the latents of one image for a decoder that stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rdpipe.core.assembly import assemble
from rdpipe.core.axes import TRAINING_THETA
from rdpipe.core.errors import InputError
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.protocols import Codec, Image, Prior, SupportsParallel
from rdpipe.core.rng import generator
from rdpipe.core.running import decodes, device_of, padded_size, run, to_image, to_tensor
from rdpipe.core.walk import Walk
from rdpipe.entropy.priors import Gaussian
from rdpipe.refinement.lattice import RelaxedLattice
from rdpipe.refinement.spec import RefinedFor
from rdpipe.refinement.walk import RefiningWalk

HIGHEST_TEMPERATURE = 0.5
"""Temperature of the relaxed rounding at first."""
WARM = 0.3
"""Share of the steps at the highest temperature."""
COOLING = 2.0
"""Decay of the temperature after that: T falls as exp(-COOLING * (progress - WARM))."""
CHECKPOINTS = (0.6, 0.8, 1.0)
"""Shares of the steps after which the latents are coded and compared with the best so far."""
MOST_PARTS = 64
"""Largest number of parts of an image; each needs a pass of the codec's networks in sequence."""


@dataclass(frozen=True)
class Settings:
    """How latents are refined.

    Parameters
    ----------
    slope : float
        What a squared 8-bit level of the MSE is worth, bit/pixel: the objective is
        bits/pixel + slope * MSE.
    steps : int
        Number of steps of the optimizer.
    quantizer : RefinedFor
    theta : float
        Water level of the test channel, squared steps.
    step : float
        Step of the lattice, steps of the codec.
    gains : mapping of str to sequence of float
        Gains of the calibrated reconstruction of each latent after the lattice; plain if empty.
    learning_rate : float
        Of Adam, steps of the grid.
    seed : int
        Seed of the noise.
    """

    slope: float
    steps: int = 100
    quantizer: RefinedFor = RefinedFor.ROUNDING
    theta: float = TRAINING_THETA
    step: float = 1.0
    gains: Mapping[str, Sequence[float]] = field(default_factory=dict)
    learning_rate: float = 0.02
    seed: int = 0


class Objective(NamedTuple):
    """Rate and distortion of an image as it is coded.

    Parameters
    ----------
    bits : float
        Code length, with side information, bit.
    mse : float
        Of the decoded image, squared 8-bit levels.
    value : float
        bits/pixel + slope * MSE.
    """

    bits: float
    mse: float
    value: float


class Refinement(NamedTuple):
    """The refined latents of an image.

    Parameters
    ----------
    latents : dict of str to Tensor of shape (1, channel, row, column)
        The elements of each latent, float32 on the CPU.
    before, after : Objective
        Of the codec's own latents, and of the refined ones: never a larger value.
    step : int
        Number of steps after which the best latents were found; 0 for the codec's own.
    graph_bits : float
        Code length of the refined latents in the graph that evaluates a context model in raster
        scan for all elements at once; NaN without such a model. ``after`` is that of the codec.
    """

    latents: dict[str, Tensor]
    before: Objective
    after: Objective
    step: int
    graph_bits: float = math.nan


class Refiner:
    """Refines the latents of one image.

    Parameters
    ----------
    codec : Codec
        PyTorch can differentiate its decoder.
    name : str
        Name of the image, which seeds the noise.
    image : array
    settings : Settings

    Raises
    ------
    InputError
        If the codec has no decoder, or sends too many parts in sequence.

    Attributes
    ----------
    initial : dict of str to Tensor
        The codec's own latents.
    """

    def __init__(self, codec: Codec, name: str, image: Image, settings: Settings):
        if not decodes(codec):
            raise InputError(
                f"{type(codec).__name__} does not decode without the image; expected a decoder, to"
                " which refinement cannot leak the image"
            )
        self.codec, self.image, self.settings = codec, image, settings
        self._key = settings.seed, name
        self._size = image.shape[0], image.shape[1]
        self._theta = settings.theta if settings.quantizer is RefinedFor.TEST_CHANNEL else None
        self._lattice = None
        if settings.quantizer is RefinedFor.LATTICE:
            self._lattice = RelaxedLattice(settings.step, settings.gains)
        walk = Walk()
        run(codec, walk, image)
        wholes = assemble(walk.record)
        # blocks of the lattice depend on side information, so it stays
        self._fixed = {name for name, whole in wholes.items() if whole.side and self._lattice}
        device = device_of(codec)
        self.initial = {name: whole.y[None].float().to(device) for name, whole in wholes.items()}
        self._units = {name: float(whole.step.mean()) for name, whole in wholes.items()}
        self._past: dict[str, Prior] = {}
        if len(walk.record) > MOST_PARTS:
            if not isinstance(codec, SupportsParallel):
                raise InputError(
                    f"{type(codec).__name__} sends {len(walk.record)} parts in sequence; expected"
                    f" at most {MOST_PARTS} for refinement, or a method code_parallel"
                )
            if self._lattice is not None:
                raise InputError(
                    f"{type(codec).__name__} sends {len(walk.record)} parts in sequence; expected"
                    f" at most {MOST_PARTS} for refinement for a lattice"
                )
            self._past = {
                name: Gaussian(whole.mean[None].to(device), whole.scale[None].to(device))
                for name, whole in wholes.items()
                if not whole.side
            }

    @cached_property
    def before(self) -> Objective:
        """Objective of the codec's own latents."""
        return self.evaluate(self.initial)

    def refine(self) -> Refinement:
        """Return the best latents of some checkpoints, of which the codec's own are the first.

        Raises
        ------
        InputError
            If the decoded image has no gradient with respect to a latent.
        """
        steps, noise = self.settings.steps, generator("refine", *self._key)
        leaves = {
            name: (y / self._units[name]).requires_grad_()
            for name, y in self.initial.items()
            if name not in self._fixed
        }
        optimizer = torch.optim.Adam(leaves.values(), lr=self.settings.learning_rate)
        target = to_tensor(self.codec, self.image)[..., : self._size[0], : self._size[1]]
        checkpoints = {math.ceil(share * steps) for share in CHECKPOINTS}
        best = Refinement(_on_cpu(self.initial), self.before, self.before, 0)
        for step in range(steps):
            progress = step / steps
            optimizer.param_groups[0]["lr"] = self.settings.learning_rate * learning_rate(progress)
            elements = self._in_units_of_the_codec(leaves)
            walk = RefiningWalk(
                elements, noise, temperature(progress), self._theta, self._past, self._lattice
            )
            self._set_gradients(list(leaves.values()), self._loss(walk, target))
            optimizer.step()
            self._past = walk.past
            if step + 1 in checkpoints:
                latents = _on_cpu(self._in_units_of_the_codec(leaves))
                after = self.evaluate(latents)
                if after.value < best.after.value:
                    best = Refinement(latents, self.before, after, step + 1)
        return best._replace(graph_bits=self.bits_in_graph(best.latents))

    def _set_gradients(self, leaves: Sequence[Tensor], loss: Tensor) -> None:
        """Set the gradients of the leaves; of one on which nothing depends, there is none.

        Raises
        ------
        InputError
            If one is not finite.
        """
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            if gradient is not None and not gradient.isfinite().all():
                codec = type(self.codec).__name__
                raise InputError(f"{codec}: the gradient of a latent is not finite")
            leaf.grad = gradient

    def evaluate(self, latents: Mapping[str, Tensor]) -> Objective:
        """Return the objective of some latents as they are coded, with one draw of the noise."""
        device, noise = device_of(self.codec), generator("evaluate", *self._key)
        elements = {name: latent.to(device) for name, latent in latents.items()}
        walk = RefiningWalk(elements, noise, theta=self._theta, lattice=self._lattice)
        decoded = to_image(run(self.codec, walk, size=self._size), *self._size)
        bits, mse = walk.bits.item(), mean_squared_error(self.image, decoded)
        return Objective(bits, mse, bits / math.prod(self._size) + self.settings.slope * mse)

    def bits_in_graph(self, latents: Mapping[str, Tensor]) -> float:
        """Return the code length of latents, with a context model evaluated all at once.

        The grid is that of the priors in a pass before, as it is for the gradients. The result is
        NaN if the codec is refined as it codes.
        """
        if not self._past:
            return math.nan
        device, past = device_of(self.codec), self._past
        elements = {name: latent.to(device) for name, latent in latents.items()}
        bits = math.nan
        for _ in range(2):
            noise = generator("evaluate", *self._key)
            walk = RefiningWalk(elements, noise, theta=self._theta, past=past)
            with torch.no_grad():
                self._decode_for_gradients(walk)
            past, bits = walk.past, walk.bits.item()
        return bits

    def _loss(self, walk: RefiningWalk, target: Tensor) -> Tensor:
        """Return the objective with gradients.

        Raises
        ------
        InputError
            If the image has none: the codec computes it outside of the graph.
        """
        height, width = self._size
        decoded = self._decode_for_gradients(walk)[..., :height, :width]
        if not decoded.requires_grad:
            raise InputError(
                f"{type(self.codec).__name__} has no gradient of the image with respect to its"
                " latents; expected a decoder that PyTorch can differentiate"
            )
        peak = 255 if decoded.shape[1] == 3 else 1
        if peak == 255:
            decoded = decoded.clamp(0, 1)
        mse = peak**2 * (decoded - target).square().mean()
        return walk.bits / (height * width) + self.settings.slope * mse

    def _decode_for_gradients(self, walk: RefiningWalk) -> Tensor:
        """Return the decoded image; a context model in raster scan is evaluated all at once."""
        if self._past and isinstance(self.codec, SupportsParallel):
            with torch.enable_grad():
                return self.codec.code_parallel(padded_size(self.codec, *self._size), walk)
        return run(self.codec, walk, size=self._size)

    def _in_units_of_the_codec(self, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return leaves, which are in units of the mean step of their latent, and what is fixed."""
        refined = {name: leaf * self._units[name] for name, leaf in leaves.items()}
        return {name: refined.get(name, y) for name, y in self.initial.items()}


def temperature(progress: float) -> float:
    """Return the temperature of the relaxed rounding after a share of the steps."""
    return HIGHEST_TEMPERATURE * math.exp(-COOLING * max(0.0, progress - WARM))


def _on_cpu(latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: latent.detach().float().cpu() for name, latent in latents.items()}


def learning_rate(progress: float) -> float:
    """Return the learning rate after a share of the steps, relative to the largest.

    It is constant over the first half, and falls to 0 over the second.
    """
    return min(1.0, 2 * (1 - progress))
