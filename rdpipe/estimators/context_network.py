"""A mean from a small context network.

See ``docs/explanation/science.md``, section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


class NetworkMean(Mean, CausalEstimator, FittedEstimator):
    """The codec's mean, corrected by a convolutional network that sees the decoded elements.

    .. code-block:: none

        deviation / s, decoded --> conv 3x3 --> GELU --> conv 3x3 --> GELU --> conv 1x1 --> * s -->
        correction

    Each group of channels is decoded in two steps: the black positions of a checkerboard, then the
    white ones. Each step sees all earlier ones. ``deviation`` is y_hat minus the codec's mean, 0
    where nothing is decoded; ``decoded`` marks where; s is the standard deviation of the channel's
    residuals.

    The network is trained on the latents of the calibration images and then frozen. The past in
    training is what rounding with the codec's mean leaves; the loss is the squared error over s^2.

    Parameters
    ----------
    groups : int
        Number of channel groups, coded one after the other.
    width : int
        Channels of the hidden layers.
    steps : int
        Training steps, each over one image and one decoding step.
    seed : int
        Seed of the initial weights and of the order of training.

    References
    ----------
    D. He et al., "Checkerboard Context Model for Efficient Learned Image Compression", CVPR 2021;
    D. Minnen, S. Singh, "Channel-wise Autoregressive Entropy Models for Learned Image Compression",
    ICIP 2020.
    """

    information = Information.DECODABLE
    radius = 1  # of the padding; :meth:`decoding_order` replaces the waves

    def __init__(self, groups: int = 4, width: int = 64, steps: int = 2000, seed: int = 0):
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
        inside = slice(context.radius, -context.radius)
        deviation, decoded = (
            array[:, inside, inside].float() for array in (context.deviation, context.decoded)
        )
        with torch.no_grad():
            correction = self._correct(self.net, deviation, decoded)
        return initial + correction.flatten(1)[channels][:, positions].double()

    def _correct(self, net: torch.nn.Module, deviation: Tensor, decoded: Tensor) -> Tensor:
        """Return the correction of the mean, of shape (channel, row, column)."""
        sigma = self.sigma[:, None, None]
        correction: Tensor = net(torch.cat([deviation / sigma, decoded])[None])[0] * sigma
        return correction

    def _build(self, channels: int) -> torch.nn.Sequential:
        layers = torch.nn
        return layers.Sequential(
            layers.Conv2d(2 * channels, self.width, 3, padding=1),
            layers.GELU(),
            layers.Conv2d(self.width, self.width, 3, padding=1),
            layers.GELU(),
            layers.Conv2d(self.width, channels, 1),
        )

    def fit(self, images: Sequence[Latents], means: Mapping[str, Mean] | None = None) -> Self:
        """Train the network."""
        from rdpipe.estimators.causal import with_typical

        moments = torch.stack(
            [
                with_typical(codec_residual(latents).float(), latents.coded).square().mean((1, 2))
                for latents in images
            ]
        )
        self.sigma = moments.mean(0).sqrt().clamp(min=LEAST_DEVIATION)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net = self._build(len(self.sigma))
        for parameter in net[4].parameters():  # begin as the codec's own mean
            torch.nn.init.zeros_(parameter)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=self.steps)
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            latents = images[rng.integers(len(images))]
            r = codec_residual(latents).float()
            coded = torch.ones_like(r) if latents.coded is None else latents.coded.float()
            order = list(self.decoding_order(r.shape))
            self._train_step(net, optimizer, r, coded, order, rng.integers(len(order)))
            schedule.step()
        self.net = net
        return self

    def _train_step(
        self,
        net: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        r: Tensor,
        coded: Tensor,
        order: list[tuple[slice, Tensor]],
        current: int,
    ) -> None:
        """Make one gradient step on one decoding step of one image."""
        decoded = torch.zeros_like(r)
        for channels, positions in order[:current]:
            decoded.flatten(1)[channels, positions] = 1
        channels, positions = order[current]
        error = (r - self._correct(net, r.round() * decoded, decoded)) / self.sigma[:, None, None]
        optimizer.zero_grad()
        loss = (coded * error.square()).flatten(1)[channels][:, positions].mean()
        torch.autograd.backward(loss)
        optimizer.step()

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
