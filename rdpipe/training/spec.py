"""Specification of a training."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rdpipe.core.kinds import CodecPart
from rdpipe.core.specs import Spec

CHANGEABLE = frozenset({"steps", "device", "devices", "save_every", "on_change"})
"""Fields that may change when a training is resumed."""


class OnChange(StrEnum):
    """What happens to a state whose weights depend on something that has changed."""

    RESTART = "restart"
    """The training starts again: like every product, the weights belong to their inputs."""
    REFUSE = "refuse"
    """The training stops with an error; nothing is lost."""


class LoopSpec(Spec, frozen=True, kw_only=True):
    """How weights are trained, whatever they are.

    Parameters
    ----------
    lambdas : list of float
        One Lagrange multiplier per rate.
    steps : int
        Number of steps.
    batch : int
        Crops per step, of all devices together.
    crop : int
        Side of a crop, pixels.
    learning_rate : float
        Largest learning rate; see :func:`rdpipe.training.trainer.learning_rate`.
    seed : int
        Seed of the initial weights, the crops and the noise.
    precision : str
        ``bf16-mixed`` or ``32-true``.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    devices : int
        GPUs, or processes on a CPU, that share a batch.
    save_every : int
        Steps between two states.
    on_change : OnChange
        What happens if there is a state from before a change of what the weights depend on.
    dataset : str, optional
        Name of the dataset.
    images, start_weights : str, optional
        Digests of the training images and of the weights to begin with.
    source : list of str, optional
        Digests of the code that the weights depend on, and versions of packages, by name.
    """

    lambdas: list[float]
    steps: int
    batch: int
    crop: int
    learning_rate: float
    seed: int
    precision: str
    devices: int
    save_every: int
    on_change: OnChange = OnChange.RESTART
    device: str = "auto"
    dataset: str | None = None
    images: str | None = None
    start_weights: str | None = None
    source: list[str] | None = None

    def changes_since(self, earlier: dict[str, object], steps: int) -> list[str]:
        """Return why a state does not belong to this training; empty if it does.

        Parameters
        ----------
        earlier : dict
            The specification of the state, from :meth:`to_mapping`.
        steps : int
            Number of steps of the state.
        """
        now = self.to_mapping()
        changes = [
            _difference(field, earlier.get(field), now.get(field))
            for field in sorted({*earlier, *now} - CHANGEABLE)
            if earlier.get(field) != now.get(field)
        ]
        if steps > self.steps:
            changes.append(f"the state has {steps} steps; expected up to {self.steps}")
        return changes


def _difference(field: str, earlier: object, now: object) -> str:
    """Return how a field has changed; of the source, the names that have."""
    if field == "source" and isinstance(earlier, list) and isinstance(now, list):
        changed = sorted({entry.partition(":")[0] for entry in {*earlier} ^ {*now}})
        return f"source: {', '.join(changed)}"
    return f"{field} {earlier!r} -> {now!r}"


class TrainingSpec(LoopSpec, frozen=True, kw_only=True):
    """A network to train, as an entry of ``training`` in the config.

    Parameters
    ----------
    N, M : int
        Channels of the transforms and of the latents.
    mean, variance, quantizer : str
        See :class:`rdpipe.training.model.VariableRateModel`.
    start : str, optional
        File of weights to begin with; see :func:`rdpipe.training.warm_start.load_start`.
    """

    N: int
    M: int
    mean: str
    variance: str
    quantizer: str
    start: str | None = None


class RetuningSpec(LoopSpec, frozen=True, kw_only=True):
    """A codec whose weights are fine-tuned, at one quality.

    Parameters
    ----------
    train : list of CodecPart
        What is trained; all else stays as it is.
    quantizer : str
        A quantizer of the config, or ``noise``, which replaces rounding in training only. With
        more than the decoder, one of :data:`rdpipe.core.kinds.DIFFERENTIABLE`.
    quantizers : dict
        The entry of the quantizer in the config, by name.
    level : float
        Its water level or step, latent units.
    """

    train: list[CodecPart]
    quantizer: str
    quantizers: dict[str, dict[str, Any]]
    level: float
    precision: str = "32-true"
    devices: int = 1
