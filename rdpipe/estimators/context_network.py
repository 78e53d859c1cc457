"""A mean from a small context network.

See ``docs/explanation/science.md``, section 2.1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import lazy_loader
import numpy as np

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.estimators.base import CausalEstimator, FittedEstimator, Mean, State
from rdpipe.estimators.means import codec_residual

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
    from rdpipe.estimators.causal import CausalContext
else:
    torch = lazy_loader.load("torch")

LEAST_DEVIATION = 0.05
"""Smallest standard deviation by which a channel is normalized, latent units."""
HELD_OUT = 5
"""Every fifth calibration image, beginning with the first, is held out."""
RATE = 3e-3
"""First learning rate."""
WEIGHT_DECAY = 0.1
DROPOUT = 0.1
LEAST_PERIOD = 25
"""Fewest training steps between two evaluations of the held-out loss."""
PATIENCE = 4
"""Training stops after this many evaluations in a row without a lower held-out loss."""
LEAST_SCORE = 4.0
"""Fewest standard errors by which the held-out loss must fall for anything to be corrected."""


class NetworkMean(Mean, CausalEstimator, FittedEstimator):
    """The codec's mean, corrected by a convolutional network that sees the decoded elements.

    .. code-block:: none

        deviation / s --+--> conv 5x5 per channel ---------------------------------+
                        +--> conv 1x1 ---------------------------------------------+--> * s -->
                        +--> conv 3x3 --> GELU --> conv 3x3 --> GELU --> conv 1x1 -+    correction
        decoded --------+

    Each group of channels is decoded in two steps: the black positions of a checkerboard, then the
    white ones. Each step sees all earlier ones. ``deviation`` is y_hat minus the codec's mean, 0
    where nothing is decoded; ``decoded`` marks where; s is the standard deviation of the channel's
    residuals.

    The network is trained on the latents of the calibration images and then frozen. It begins as
    the codec's own mean. The past in training is what rounding with the network's mean leaves. The
    loss is the squared error over sigma^2 + 1/12, the code length of rounded residuals under the
    codec's scale sigma up to a constant, summed over all decoding steps.

    Every fifth image is held out; of a single image, the top half (the left one, if it is wider
    than high). The weights with the lowest loss there are taken. If that is not at least four
    standard errors below the loss of the codec's own mean, nothing is corrected: the loss on what
    is held out is never above that of the codec's own mean. Training stops early if that loss has
    not fallen in four evaluations in a row.

    Parameters
    ----------
    groups : int
        Number of channel groups, coded one after the other.
    width : int
        Channels of the hidden layers.
    steps : int
        Most training steps, each over one image and all its decoding steps.
    seed : int
        Seed of the initial weights, of dropout and of the order of training.

    References
    ----------
    D. He et al., "Checkerboard Context Model for Efficient Learned Image Compression", CVPR 2021;
    D. Minnen, S. Singh, "Channel-wise Autoregressive Entropy Models for Learned Image Compression",
    ICIP 2020.
    """

    information = Information.DECODABLE
    radius = 1  # of the padding; :meth:`decoding_order` replaces the waves

    def __init__(self, groups: int = 4, width: int = 32, steps: int = 400, seed: int = 0):
        for name, value in (("groups", groups), ("width", width), ("steps", steps)):
            if not (isinstance(value, int) and value > 0):
                raise InputError(f"network: {name} is {value!r}; expected 1, 2, 3, ...")
        self.groups, self.width, self.steps, self.seed = groups, width, steps, seed

    def decoding_order(self, shape: Sequence[int]) -> Iterator[tuple[slice, Tensor]]:
        """Yield channels and positions of each wave."""
        channels, rows, columns = shape
        index = torch.arange(rows * columns)
        white = (index // columns + index % columns) % 2
        size = -(-channels // self.groups)
        for first in range(0, channels, size):
            for color in (0, 1):
                if (white == color).any():
                    yield slice(first, min(first + size, channels)), index[white == color]

    def __call__(self, latents: Latents) -> Tensor:
        """Return the mean before anything is decoded, of shape (channel, row, column)."""
        return latents.mean

    def predict(
        self, context: CausalContext, initial: Tensor, channels: slice, positions: Tensor
    ) -> Tensor:
        """Return the mean given the decoded elements, of shape (channel, position)."""
        if not self.corrects:
            return initial
        inside = slice(context.radius, -context.radius)
        deviation, decoded = (
            array[None, :, inside, inside].float() for array in (context.deviation, context.decoded)
        )
        with torch.no_grad():
            correction = self._correct(self.net, deviation, decoded)[0]
        return initial + correction.flatten(1)[channels][:, positions].double()

    @property
    def corrects(self) -> bool:
        """Whether the mean differs from the codec's own."""
        return any(bool(weight.any()) for weight in _last_weights(self.net))

    def _correct(self, net: torch.nn.ModuleDict, deviation: Tensor, decoded: Tensor) -> Tensor:
        """Return the correction of the mean, of shape (step, channel, row, column)."""
        s = self.sigma[:, None, None]
        normalized = deviation / s
        linear = net["space"](normalized) + net["channel"](normalized)
        correction: Tensor = linear + net["hidden"](torch.cat([normalized, decoded], 1))
        return correction * s

    def _build(self, channels: int) -> torch.nn.ModuleDict:
        layers = torch.nn
        hidden = layers.Sequential(
            layers.Conv2d(2 * channels, self.width, 3, padding=1),
            layers.GELU(),
            layers.Dropout(DROPOUT),
            layers.Conv2d(self.width, self.width, 3, padding=1),
            layers.GELU(),
            layers.Conv2d(self.width, channels, 1),
        )
        space = layers.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        channel = layers.Conv2d(channels, channels, 1, bias=False)
        return layers.ModuleDict({"space": space, "channel": channel, "hidden": hidden}).eval()

    def fit(self, images: Sequence[Latents], means: Mapping[str, Mean] | None = None) -> Self:
        """Train the network, and take the weights with the lowest loss on the images held out."""
        from rdpipe.estimators.causal import with_typical

        moments = torch.stack(
            [
                with_typical(codec_residual(latents).float(), latents.coded).square().mean((1, 2))
                for latents in images
            ]
        )
        self.sigma = moments.mean(0).sqrt().clamp(min=LEAST_DEVIATION)
        images = images if len(images) > 1 else _halves(images[0])
        held_out = range(0, len(images), HELD_OUT)
        train = [index for index in range(len(images)) if index % HELD_OUT]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.net = self._build(len(self.sigma))
            for weight in _last_weights(self.net):  # begin as the codec's own mean
                torch.nn.init.zeros_(weight)
            if train:
                self._train(images, train, held_out)
        return self

    def _train(self, images: Sequence[Latents], train: list[int], held_out: range) -> None:
        """Train the network on some of the images, and take the best weights."""
        net = self.net
        optimizer = torch.optim.AdamW(net.parameters(), weight_decay=WEIGHT_DECAY)
        rng = np.random.default_rng(self.seed)
        best = score = 0.0
        initial = weights = copy.deepcopy(net.state_dict())
        period, failures = max(LEAST_PERIOD, len(train)), 0
        order: list[int] = []
        for step in range(self.steps):
            annealed = (1 + math.cos(math.pi * step / self.steps)) / 2
            optimizer.param_groups[0]["lr"] = RATE * annealed / 2**failures
            order = order or rng.permutation(train).tolist()
            self._train_step(net, optimizer, images[order.pop()])
            if (step + 1) % period and step + 1 < self.steps:
                continue
            gains = torch.stack([self._gain(net, images[index]) for index in held_out])
            gain, squares = gains.sum(0).tolist()
            if gain > best:
                best, score, failures = gain, gain / math.sqrt(squares), 0
                weights = copy.deepcopy(net.state_dict())
            else:
                failures += 1
                net.load_state_dict(weights)
            if failures == PATIENCE:
                break
        net.load_state_dict(weights if score >= LEAST_SCORE else initial)

    def _train_step(
        self, net: torch.nn.ModuleDict, optimizer: torch.optim.Optimizer, latents: Latents
    ) -> None:
        """Make one gradient step on all decoding steps of one image."""
        r, weight = codec_residual(latents).float(), _error_weight(latents)
        masks, past = self._masks(r.shape)
        deviation, _ = self._decode(net, r, weight)
        net.train()
        correction = self._correct(net, deviation * past, past)
        net.eval()
        loss = (masks * weight * (r - correction).square()).sum() / r.numel()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    def _gain(self, net: torch.nn.ModuleDict, latents: Latents) -> Tensor:
        """Return by how much the loss of an image falls: sum over elements, and sum of squares."""
        r, weight = codec_residual(latents).float(), _error_weight(latents)
        _, correction = self._decode(net, r, weight)
        gain = (weight * (r.square() - (r - correction).square())).double()
        return torch.stack([gain.sum(), gain.square().sum()])

    def _decode(self, net: torch.nn.ModuleDict, r: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return deviations and corrections of an image that is rounded with the network's mean."""
        deviation, total, coded = torch.zeros_like(r), torch.zeros_like(r), weight > 0
        with torch.no_grad():
            for mask, past in zip(*self._masks(r.shape), strict=True):
                correction = mask * self._correct(net, deviation[None], past[None])[0]
                deviation += mask * (correction + coded * (r - correction).round())
                total += correction
        return deviation, total

    def _masks(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return where each decoding step codes, and what was decoded before.

        Both have the shape (step, channel, row, column), 1 where it is so and otherwise 0.
        """
        order = list(self.decoding_order(shape))
        masks = torch.zeros((len(order), *shape))
        for mask, (channels, positions) in zip(masks, order, strict=True):
            mask.flatten(1)[channels, positions] = 1
        return masks, masks.cumsum(0) - masks

    def state(self) -> State:
        """Return ``sigma`` of shape (channel,) and the weights of the network."""
        weights = {
            name.replace(".", "_"): weight.detach().numpy()
            for name, weight in self.net.named_parameters()
        }
        return {"sigma": self.sigma.numpy(), **weights}

    def load_state(self, state: State) -> Self:
        """Set the standard deviations and the weights."""
        self.sigma = torch.from_numpy(state["sigma"])
        self.net = self._build(len(self.sigma))
        names = dict(self.net.named_parameters())
        self.net.load_state_dict(
            {name: torch.from_numpy(state[name.replace(".", "_")]) for name in names}
        )
        return self


def _last_weights(net: torch.nn.ModuleDict) -> list[Tensor]:
    """Return the weights that make the correction 0 if they are."""
    hidden = net["hidden"]
    assert isinstance(hidden, torch.nn.Sequential)
    return [
        parameter
        for layer in (net["space"], net["channel"], hidden[-1])
        for parameter in layer.parameters()
    ]


def _error_weight(latents: Latents) -> Tensor:
    """Return the weights of the squared errors, 0 where nothing is coded."""
    weight = 1 / (latents.scale.float().square() + 1 / 12)
    return weight if latents.coded is None else weight * latents.coded


def _halves(latents: Latents) -> list[Latents]:
    """Return the two halves of an image along its longer side; the image if it has one element."""
    _, rows, columns = latents.y.shape
    dim = 2 if columns > rows else 1
    middle = (rows, columns)[dim - 1] // 2
    if not middle:
        return [latents]
    fields = {name: getattr(latents, name) for name in ("y", "mean", "scale", "coded")}
    present = {name: array for name, array in fields.items() if array is not None}
    halves = {name: array.tensor_split([middle], dim) for name, array in present.items()}
    return [
        replace(latents, **{name: parts[side] for name, parts in halves.items()}) for side in (0, 1)
    ]
