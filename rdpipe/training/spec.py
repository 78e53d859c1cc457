"""Specification of a training."""

from __future__ import annotations

from rdpipe.core.errors import InputError
from rdpipe.core.specs import Spec

CHANGEABLE = frozenset({"steps", "device", "devices", "save_every"})
"""Fields that may change when a training is resumed."""


class TrainingSpec(Spec, frozen=True, kw_only=True):
    """A network to train, as an entry of ``training`` in the config.

    Parameters
    ----------
    N, M : int
        Channels of the transforms and of the latents.
    lambdas : list of float
        One Lagrange multiplier per rate.
    mean, variance, quantizer : str
        See :class:`rdpipe.training.model.VariableRateModel`.
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
    start : str, optional
        File of weights to begin with; see :func:`rdpipe.training.warm_start.load_start`.
    dataset : str, optional
        Name of the dataset.
    images : str, optional
        Digest of the training images.
    """

    N: int
    M: int
    lambdas: list[float]
    mean: str
    variance: str
    quantizer: str
    steps: int
    batch: int
    crop: int
    learning_rate: float
    seed: int
    precision: str
    devices: int
    save_every: int
    device: str = "auto"
    start: str | None = None
    dataset: str | None = None
    images: str | None = None

    def check_resumable(self, earlier: dict[str, object], steps: int, folder: str) -> None:
        """Check that a state belongs to this training.

        Parameters
        ----------
        earlier : dict
            The specification of the state, from :meth:`to_mapping`.
        steps : int
            Number of steps of the state.
        folder : str
            Folder of the state, for the error message.

        Raises
        ------
        InputError
            If a field differs that must not change, or the state has more steps.
        """
        now = self.to_mapping()
        fields = sorted({*earlier, *now} - CHANGEABLE)
        changes = [
            f"{field} {earlier.get(field)!r} -> {now.get(field)!r}"
            for field in fields
            if earlier.get(field) != now.get(field)
        ]
        if changes:
            raise InputError(
                f"{folder} has the state of a training with another specification"
                f" ({', '.join(changes)}); remove the folder to start again, or give this training"
                " another name"
            )
        if steps > self.steps:
            raise InputError(f"{folder}: the state has {steps} steps; expected up to {self.steps}")
