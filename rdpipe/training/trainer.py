"""Training of a variable-rate network, resumable at any step with the same batches."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_optimizer import SOAP
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import BatchSampler, DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from rdpipe.core.device import available_device, claim_cards, use_full_precision
from rdpipe.core.errors import InputError
from rdpipe.core.process import retain_freed_memory
from rdpipe.io.files import write_atomically
from rdpipe.training.card_crops import CardCrops
from rdpipe.training.crops import Crops
from rdpipe.training.model import VariableRateModel
from rdpipe.training.spec import LoopSpec, OnChange, TrainingSpec
from rdpipe.training.warm_start import load_start

logger = logging.getLogger(__name__)


def learning_rate(step: int, steps: int, peak: float, warm_up: int = 100) -> float:
    """Return the learning rate of a step.

    It rises for ``warm_up`` steps, stays constant, and falls as a cosine over the last third. A
    longer training therefore begins exactly like a shorter one.
    """
    rise = min(1.0, (step + 1) / warm_up)
    fall = max(0.0, (step - steps * 2 / 3) / (steps / 3))
    return peak * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


CHECK_EVERY = 10
"""Steps between two looks at what the device has computed, for which the host waits."""


@torch.no_grad()
def update_average(average: AveragedModel, model: torch.nn.Module) -> None:
    """Update an exponential moving average of parameters whose memory grows to 1000 steps.

    ``AveragedModel`` would do the same, but with its count on the device.
    """
    count = int(average.n_averaged)  # on the CPU
    decay = min(0.999, (1 + count) / (10 + count)) if count else 0.0
    averaged, current = ([*of_one.parameters()] for of_one in (average.module, model))
    torch._foreach_lerp_(averaged, current, 1 - decay)  # type: ignore[arg-type]
    average.n_averaged += 1


class KernelSOAP(SOAP):
    """SOAP with the height and the width of a kernel as one axis.

    This needs fewer products than separate axes, and fits more closely. The library would merge
    axes by size, and then also channels.
    """

    def merge_dims(self, grad: Tensor, max_precondition_dim: int) -> Tensor:
        """Return the gradient with all axes from the third on as one."""
        return grad.flatten(2) if grad.ndim > 2 else grad


class Trainer:
    """A network in training: one step, and the state between two steps.

    Parameters
    ----------
    spec : LoopSpec
        For this class a :class:`TrainingSpec`; subclasses train something else.
    state_dir : Path
        Folder of the state. If it has a state of this training, the training continues from there.
    crops : Crops, optional
        The first batch sets the width of learned densities of the latents in a new training; see
        :meth:`rdpipe.training.model.VariableRateModel.initialize_densities`.

    Attributes
    ----------
    step_count : int
        Number of steps made so far.

    Raises
    ------
    InputError
        If there is the state of another training and ``spec.on_change`` refuses it, or the devices
        cannot share a batch.
    """

    warm_up = 100

    def __init__(self, spec: LoopSpec, state_dir: Path, crops: Crops | None = None):
        retain_freed_memory()
        self.spec, self.file, self.crops = spec, state_dir / "state.pt", crops
        self._unchecked: dict[int, Tensor] = {}  # loss and gradient by step
        self.fabric = self.make_fabric()
        self.fabric.seed_everything(spec.seed, verbose=False)
        state, self.step_count = self._read_state(), 0
        model = self.make_model(is_new=state is None)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = KernelSOAP(parameters, lr=spec.learning_rate, weight_decay=0.0, merge_dims=True)
        self.model, self.optimizer = self.fabric.setup(model, optimizer)
        self.average = AveragedModel(self.model.module)
        self.lambdas = torch.tensor(spec.lambdas, device=self.fabric.device)
        if state is not None:
            self._resume(state)

    def make_fabric(self) -> lightning_fabric.Fabric:
        """Return the Fabric on whose devices the training runs."""
        return make_fabric(self.spec)

    def make_model(self, is_new: bool) -> nn.Module:
        """Return the network before its first step, or one whose weights the state replaces."""
        spec = self.spec
        assert isinstance(spec, TrainingSpec)
        model, loaded = make_model(spec), set[str]()
        if spec.start is not None and is_new:
            loaded = load_start(model, Path(spec.start))
        learned = "entropy_bottleneck.matrices.0" in loaded
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.crops is not None and is_new and not learned and not model.has_hyperprior:
            # before the model is distributed, so that all processes have the same numbers
            batch = np.stack([self.crops[i] for i in range(spec.batch)])
            model.initialize_densities(torch.from_numpy(batch).float() / 255)
        model.entropy_bottleneck.quantiles.requires_grad_(False)  # solved for at the end
        if self.fabric.device.type == "cuda":
            compile_if_possible(model)
        return model

    def _read_state(self) -> dict[str, Any] | None:
        """Return the state to continue from; None if the training starts at its first step.

        Raises
        ------
        InputError
            If there is the state of another training, and the specification refuses it.
        """
        if not self.file.exists():
            return None
        state: dict[str, Any] = torch.load(self.file, map_location="cpu", weights_only=True)
        changes = self.spec.changes_since(state["spec"], state["step"])
        if not changes:
            return state
        problem = f"{self.file.parent} has the state of another training ({', '.join(changes)})"
        if self.spec.on_change is OnChange.REFUSE:
            raise InputError(
                f"{problem}; remove the folder or set on_change: restart to start again, or give"
                " this training another name"
            )
        stale = self.file.with_name("stale.pt")
        logger.warning("%s: starting again; the state is now %s", problem, stale.name)
        self.fabric.barrier()  # all processes have read it
        if self.fabric.is_global_zero:
            self.file.replace(stale)
        return None

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.step_count = state["step"]
        logger.info("resumed at step %d from %s", self.step_count, self.file)

    def save(self) -> dict[str, Tensor] | None:
        """Write the state, and the weights as they would be if the training ended now.

        Returns
        -------
        dict of Tensor, optional
            The weights. None in all processes but the first, which do not write anything.

        Raises
        ------
        DivergenceError
            See :meth:`step`.
        """
        self._check_finite()
        if not self.fabric.is_global_zero:
            return None
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "step": self.step_count,
            "spec": self.spec.to_mapping(),
        }
        write_atomically(self.file, lambda path: _save(state, path))
        weights = self.weights()
        write_atomically(self.file.parent / "weights.pt", lambda path: _save(weights, path))
        return weights

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, for :class:`TrainingSpec` float16 and with quantiles."""
        assert isinstance(self.spec, TrainingSpec)
        model = make_model(self.spec)
        model.load_state_dict(self.average.module.state_dict())
        model.solve_quantiles()
        return {name: p.detach().half().contiguous() for name, p in model.named_parameters()}

    def step(self, batch: Tensor) -> dict[str, Tensor]:
        """Make one step, which is a pure function of the state and the batch.

        Parameters
        ----------
        batch : Tensor of uint8, of shape (n, 3, size, size)
            The crops of this process.

        Returns
        -------
        dict
            ``loss``, ``bpp`` (bit/pixel) and ``psnr`` (dB) of the batch before the step.

        Raises
        ------
        DivergenceError
            If the loss or its gradient was not finite in one of the last ``CHECK_EVERY`` steps.
        """
        spec, device = self.spec, self.fabric.device
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.step_count, spec.steps, spec.learning_rate, self.warm_up
            )
        rank, world = self.fabric.global_rank, self.fabric.world_size
        # the noise is a function of the step
        torch.manual_seed((spec.seed * 1_000_003 + self.step_count) * world + rank)
        x = batch.to(device, non_blocking=True).to(memory_format=torch.channels_last).float() / 255
        # all rates are equally frequent, whatever the batch size
        first = (self.step_count * world + rank) * len(batch)
        rate = torch.arange(first, first + len(batch), device=device) % len(self.lambdas)
        out = self.model(x, rate)
        bpp = out["bits"] / (x.shape[2] * x.shape[3])
        mse = (out["x_hat"].float() - x).square().mean((1, 2, 3))
        loss = (bpp + 255**2 * self.lambdas[rate] * limit_error(mse)).mean()
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=1.0, error_if_nonfinite=False
        )
        assert norm is not None  # with max_norm
        self._unchecked[self.step_count] = torch.stack([loss.detach(), norm])
        if len(self._unchecked) == CHECK_EVERY or not self.optimizer.state:
            self._check_finite()
        self.optimizer.step()
        update_average(self.average, self.model.module)
        self.step_count += 1
        psnr = -10 * mse.detach().log10().mean()
        return {"loss": loss.detach(), "bpp": bpp.detach().mean(), "psnr": psnr}

    def _check_finite(self) -> None:
        """Check the steps since the last check."""
        if not self._unchecked:
            return
        values = torch.stack(list(self._unchecked.values())).tolist()
        for step, (loss, gradient) in zip(self._unchecked, values, strict=True):
            if not math.isfinite(loss + gradient):
                raise DivergenceError(step, loss, gradient)
        self._unchecked.clear()


def limit_error(mse: Tensor) -> Tensor:
    """Return squared errors that grow as a logarithm above 1, the range of the pixels.

    Three inverse GDN in a row grow as the eighth power of a latent. A single crop whose latents are
    out of range can thus have an error of 1e23, whose gradient overflows. The gradient of the
    logarithm does not, and leads back into the range. Errors of up to 1 stay as they are.
    """
    return torch.where(mse < 1, mse, 1 + mse.clamp(min=1).log())


class DivergenceError(FloatingPointError):
    """A loss or a gradient that is not finite.

    Parameters
    ----------
    step : int
    loss, gradient : float
    """

    def __init__(self, step: int, loss: float, gradient: float):
        super().__init__(f"loss {loss}, gradient {gradient} at step {step}")
        self.step = step


def _save(content: dict[str, Any], path: Path) -> None:
    """Save to an open file: torch reports a full disk only then."""
    with path.open("wb") as file:
        torch.save(content, file)


def compile_if_possible(model: nn.Module) -> None:
    """Compile a network at its first step, if this machine has the C compiler that it takes."""
    if any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        model.compile()
    else:
        logger.warning(
            "training without torch.compile, which is slower: there is no C compiler on this"
            " machine; expected cc, gcc or clang, or one that the variable CC names"
        )


def make_fabric(spec: LoopSpec) -> lightning_fabric.Fabric:
    """Return a Fabric on the devices of this node, with its other processes started.

    TensorFloat-32 is switched off for the whole process.

    Parameters
    ----------
    spec : LoopSpec

    Raises
    ------
    InputError
        If there are too few devices, or they cannot share a batch.
    """
    if spec.batch % spec.devices:
        raise InputError(
            f"training: batch {spec.batch} is not a multiple of devices {spec.devices};"
            " expected the same number of images on each device"
        )
    use_full_precision()
    claim_cards(spec.device, spec.devices)
    device = available_device(spec.device)
    if device.index is not None and spec.devices > 1:
        raise InputError(
            f"training: device {spec.device!r} is one card; expected 'cuda' for devices"
            f" {spec.devices}"
        )
    try:
        # in a scheduler's environment, Fabric would expect the scheduler to start the processes
        fabric = lightning_fabric.Fabric(
            accelerator=device.type,
            precision=spec.precision,  # type: ignore[arg-type]
            devices=spec.devices if device.index is None else [device.index],
            plugins=[LightningEnvironment()],
        )
    except MisconfigurationException as error:
        raise InputError(f"training: devices {spec.devices}: {error}") from error
    os.environ["PYTHONSAFEPATH"] = "1"  # -P, as in the rules, also for processes that Fabric starts
    fabric.launch()
    return fabric


def _ignore_sigterm(worker: int) -> None:
    """Ignore SIGTERM in a worker, which a scheduler sends to every process.

    The training process needs the worker's next batch before it stops.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def denormals_as_zeros() -> Iterator[None]:
    """Treat denormal numbers as zeros in the block.

    The gradients of an untrained network have many, with which a CPU is ten times slower.
    """
    torch.set_flush_denormal(True)  # threads take over the setting of the thread that starts them
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@denormals_as_zeros()
def train(
    spec: LoopSpec,
    files: Sequence[Path],
    state_dir: Path,
    make_trainer: Callable[[Any, Path, Crops], Trainer] = Trainer,
) -> dict[str, Tensor] | None:
    """Train until ``spec.steps``, from the state of this training in ``state_dir`` if it exists.

    Parameters
    ----------
    spec : LoopSpec
    files : sequence of Path
        Training images.
    state_dir : Path
        Folder for the state and the TensorBoard scalars.
    make_trainer : callable
        The class of the trainer.

    Returns
    -------
    dict of Tensor, optional
        The weights of :meth:`Trainer.weights`. None in all processes but the first.

    Raises
    ------
    InputError
        If the state belongs to a training with another spec (see
        :meth:`LoopSpec.changes_since`) and ``spec.on_change`` refuses it; or if the devices
        cannot share a batch.
    FloatingPointError
        If the loss or its gradient is not finite. The last good state stays in ``state_dir``.
    SystemExit
        On SIGTERM, after saving the state.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    crops = Crops(files, spec.crop, spec.seed)
    trainer = make_trainer(spec, state_dir, crops)
    stop_requests: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stop_requests.append(True))
    is_first = trainer.fabric.is_global_zero
    purge_step = trainer.step_count
    scalars = SummaryWriter(state_dir / "tensorboard", purge_step=purge_step) if is_first else None
    progress = tqdm(
        _batches(trainer, crops),
        total=spec.steps,
        initial=trainer.step_count,
        mininterval=10,
        disable=not is_first,
    )
    with _naming_images(trainer, crops):
        for batch in progress:
            report = trainer.step(batch)
            if scalars is not None and trainer.step_count % 100 == 1:
                values = {name: value.item() for name, value in report.items()}
                for name, value in values.items():
                    scalars.add_scalar(name, value, trainer.step_count - 1)
                progress.set_postfix(values, refresh=False)
            _save_if_due(trainer, bool(stop_requests))
        return trainer.save()


def _save_if_due(trainer: Trainer, stop_requested: bool) -> None:
    """Save the state after every ``save_every`` steps, and before a stop.

    Raises
    ------
    SystemExit
        If a process has been asked to stop.
    """
    fabric, is_due = trainer.fabric, trainer.step_count % trainer.spec.save_every == 0
    asks_others = fabric.world_size > 1
    if asks_others and not is_due and trainer.step_count % CHECK_EVERY:
        return
    stopping = any_process(fabric, stop_requested) if asks_others else stop_requested
    if stopping or is_due:
        trainer.save()
    if stopping:
        fabric.barrier()  # a process that ends stops all others
        raise SystemExit(
            f"stopped by SIGTERM at step {trainer.step_count}: the state is in {trainer.file}"
        )


def _batches(trainer: Trainer, crops: Crops) -> Iterable[Tensor]:
    """Return the batches of this process that are left to train on."""
    spec, fabric = trainer.spec, trainer.fabric
    share, on_gpu = spec.batch // fabric.world_size, fabric.device.type == "cuda"
    indices = (
        i
        for i in range(trainer.step_count * spec.batch, spec.steps * spec.batch)
        if i % spec.batch // share == fabric.global_rank
    )
    if on_gpu and (on_card := CardCrops.load(crops, fabric.device)) is not None:
        return map(on_card.batch, BatchSampler(indices, share, drop_last=False))
    return DataLoader(
        crops,
        share,
        sampler=indices,
        # the order of the crops does not depend on the number of workers
        num_workers=max(1, torch.get_num_threads() - 1) if on_gpu else 1,
        pin_memory=on_gpu,
        prefetch_factor=8,
        worker_init_fn=_ignore_sigterm,
    )


@contextmanager
def _naming_images(trainer: Trainer, crops: Crops) -> Iterator[None]:
    """Name the images of the batch at which a training diverges in the block."""
    try:
        yield
    except DivergenceError as error:
        batch = trainer.spec.batch
        sources = crops.sources(range(error.step * batch, (error.step + 1) * batch))
        raise FloatingPointError(
            f"{error}, with crops of {sources}; last good state: {trainer.file}"
        ) from None


def any_process(fabric: lightning_fabric.Fabric, flag: bool) -> bool:
    """Return whether a flag is set in any process; all processes must call this."""
    flags = torch.tensor(float(flag), device=fabric.device)
    return bool(fabric.all_reduce(flags, reduce_op="sum") > 0)  # type: ignore[operator]


def make_model(spec: TrainingSpec) -> VariableRateModel:
    """Return the untrained network of a specification."""
    return VariableRateModel(spec.N, spec.M, spec.lambdas, spec.mean, spec.variance, spec.quantizer)
