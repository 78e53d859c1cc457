"""A mean from a small context network (SCIENCE.md, section 2.1)."""

from __future__ import annotations

import lazy_loader
import numpy as np

from rdpipe.axes.mean import Mean
from rdpipe.errors import InputError

torch = lazy_loader.load("torch")


class Network(Mean):
    """The codec's mean, corrected by a convolutional network that sees what is decoded.

    .. code-block:: none

        deviation / s, done --> conv 3x3 --> GELU --> conv 3x3 --> GELU --> conv 1x1 --> * s --> correction

    Elements are decoded in two steps in each group of channels: the black positions of a checkerboard,
    then the white ones; each step sees all earlier ones. ``deviation`` is y_hat minus the codec's
    mean, 0 where nothing is decoded; ``done`` says where; s is the spread of each channel.

    It is trained on the latents of the calibration images, frozen, whose past is taken as rounding
    with the codec's mean leaves it, to the least squared error over s^2.

    Parameters
    ----------
    groups : int
        Groups of channels, coded one after the other.
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

    sees_context = True
    causal = True
    fitted = True
    radius = 1

    def __init__(self, groups: int = 4, width: int = 64, steps: int = 2000, seed: int = 0):
        for name, value in (("groups", groups), ("width", width), ("steps", steps)):
            if not (isinstance(value, int) and value > 0):
                raise InputError(f"network {name} {value!r}: allowed are 1, 2, 3, ...")
        self.groups, self.width, self.steps, self.seed = groups, width, steps, seed

    def order(self, shape):
        """Channels and positions of each decoding step."""
        channels, rows, columns = shape
        index = torch.arange(rows * columns)
        white = (index // columns + index % columns) % 2
        size = -(-channels // self.groups)
        for first in range(0, channels, size):
            for colour in (0, 1):
                if (white == colour).any():
                    yield slice(first, min(first + size, channels)), index[white == colour]

    def __call__(self, latents):
        """Mean of each element before anything is decoded, of shape (channel, row, column)."""
        return latents.mean

    def at(self, past, known, channels, positions):
        """Mean given the past, of shape (channel, position)."""
        inside = slice(past.radius, -past.radius)
        deviation, done = (a[:, inside, inside].float() for a in (past.deviation, past.done))
        with torch.no_grad():
            correction = self._correct(self.net, deviation, done)
        return known + correction.flatten(1)[channels][:, positions].double()

    def _correct(self, net, deviation, done):
        spread = self.spread[:, None, None]
        return net(torch.cat([deviation / spread, done])[None])[0] * spread

    def _net(self, channels: int):
        layers = torch.nn
        return layers.Sequential(
            layers.Conv2d(2 * channels, self.width, 3, padding=1), layers.GELU(),
            layers.Conv2d(self.width, self.width, 3, padding=1), layers.GELU(),
            layers.Conv2d(self.width, channels, 1),
        )  # fmt: skip

    def fit(self, images) -> dict[str, np.ndarray]:
        """The network's weights and ``spread`` of shape (channel,)."""
        moments = torch.stack([residual(one).square().mean((1, 2)) for one in images])
        self.spread = moments.mean(0).sqrt().clamp(min=0.05)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net = self._net(len(self.spread))
        torch.nn.init.zeros_(net[4].weight)  # begin as the codec
        torch.nn.init.zeros_(net[4].bias)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=self.steps)
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            r = residual(images[rng.integers(len(images))])
            order = list(self.order(r.shape))
            self._train(net, optimizer, r, order, rng.integers(len(order)))
            schedule.step()
        weights = {name.replace(".", "_"): w.detach().numpy() for name, w in net.named_parameters()}
        return {"spread": self.spread.numpy(), **weights}

    def _train(self, net, optimizer, r, order, now: int) -> None:
        done = torch.zeros_like(r)
        for channels, positions in order[:now]:
            done.flatten(1)[channels, positions] = 1
        channels, positions = order[now]
        error = (r - self._correct(net, r.round() * done, done)) / self.spread[:, None, None]
        optimizer.zero_grad()
        error.flatten(1)[channels][:, positions].square().mean().backward()
        optimizer.step()

    def use(self, fit: dict[str, np.ndarray]) -> None:
        """Take the weights that :meth:`fit` found."""
        self.spread = torch.from_numpy(fit["spread"])
        self.net = self._net(len(self.spread))
        names = dict(self.net.named_parameters())
        self.net.load_state_dict({n: torch.from_numpy(fit[n.replace(".", "_")]) for n in names})


def residual(latents) -> torch.Tensor:
    """What the codec's own mean leaves of the latents, float32."""
    return (latents.y - latents.mean).float()
