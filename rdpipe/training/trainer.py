"""Train a variable-rate codec: resumable at any step, the same batches whatever happens."""

from __future__ import annotations

import inspect
import math
import signal
from contextlib import contextmanager
from pathlib import Path

import lightning_fabric
import numpy as np
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_optimizer import SOAP
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from rdpipe.training.warm_start import begin_with
from rdpipe.training.model import Gained
from rdpipe.training.crops import Crops
from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically
from rdpipe.core.process import retain_freed_memory


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Warm up over 500 steps, hold, and fall by a cosine over the last third.

    Holding makes a longer run begin exactly like a shorter one.
    """
    warm_up = min(1.0, (step + 1) / 500)
    fall = max(0.0, (step - steps * 2 / 3) / (steps / 3))
    return peak * warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def moving_average(average: list, current: list, count: torch.Tensor) -> None:
    """Exponential moving average whose memory grows from nothing to 1000 steps."""
    decay = min(0.999, (1 + count.item()) / (10 + count.item()))
    torch._foreach_lerp_(average, current, 1 - decay)


class KernelSOAP(SOAP):
    """SOAP that takes the height and width of a kernel as one axis: fewer products, and a closer fit.

    The library would merge by size instead, and then also channels.
    """

    def merge_dims(self, grad: torch.Tensor, max_precondition_dim: int) -> torch.Tensor:
        """The gradient with all axes from the third on as one."""
        return grad.flatten(2) if grad.ndim > 2 else grad


class Trainer:
    """A network in training: one step, and the state between two of them.

    Parameters
    ----------
    spec : dict
        As for :func:`train`.
    state_dir : Path
        Where the state lies; what an earlier run left there is taken up.

    Attributes
    ----------
    done : int
        Steps made so far.
    fresh : bool
        Whether densities of the latents are to be learned, and have learned nothing yet.
    """

    def __init__(self, spec: dict, state_dir: Path):
        retain_freed_memory()
        self.spec, self.file = spec, state_dir / "state.pt"
        self.fabric = make_fabric(spec)
        self.fabric.seed_everything(spec["seed"], verbose=False)
        model, self.done = make_model(spec), 0
        begins, taken = not self.file.exists(), set()
        if "start" in spec and begins:
            taken = begin_with(model, spec["start"])
        learned = "entropy_bottleneck.matrices.0" in taken
        self.fresh = begins and not learned and not hasattr(model, "h_s")
        model = model.to(memory_format=torch.channels_last)
        model.entropy_bottleneck.quantiles.requires_grad_(False)  # solved for, at the end
        if self.fabric.device.type == "cuda":
            model.compile()
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = KernelSOAP(parameters, lr=spec["learning_rate"], weight_decay=0.0, merge_dims=True)
        self.model, self.optimizer = self.fabric.setup(model, optimizer)
        self.average = AveragedModel(self.model.module, multi_avg_fn=moving_average)
        self.lambdas = torch.tensor(spec["lambdas"], device=self.fabric.device)
        if self.file.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.file, map_location=self.fabric.device, weights_only=True)
        check_same_training(state, self.spec, self.file.parent)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.done = state["step"]

    def save(self) -> dict[str, torch.Tensor] | None:
        """Write all that the next step depends on, and the weights as they would end now; these it returns.

        Of several processes, the first one does.
        """
        if not self.fabric.is_global_zero:
            return None
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "average": self.average.state_dict(), "step": self.done, "spec": self.spec}  # fmt: skip
        write_atomically(self.file, lambda path: dump(state, path))
        weights = self.weights()
        write_atomically(self.file.parent / "weights.pt", lambda path: dump(weights, path))
        return weights

    def weights(self) -> dict[str, torch.Tensor]:
        """Float16 weights of the average, its bottleneck's quantiles solved for, ready to code with."""
        model = make_model(self.spec)
        model.load_state_dict(self.average.module.state_dict())
        model.settle()
        return {name: p.detach().half().contiguous() for name, p in model.named_parameters()}

    def widen(self, batch: np.ndarray) -> None:
        """Give fresh densities the spread that the latents of some crops have; see :meth:`Gained.widen`."""
        x = torch.from_numpy(batch).to(self.fabric.device).float() / 255
        self.model.module.widen(x)

    def step(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """One step on this process' crops of shape (n, 3, size, size), uint8; a pure function of the state.

        Returns
        -------
        dict
            ``loss``, ``bpp`` and ``psnr`` of the batch before the step.

        Raises
        ------
        FloatingPointError
            If the loss or its gradient is not finite.
        """
        spec, device = self.spec, self.fabric.device
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.done, spec["steps"], spec["learning_rate"])
        rank, world = self.fabric.global_rank, self.fabric.world_size
        # the noise is a function of the step
        torch.manual_seed((spec["seed"] * 1_000_003 + self.done) * world + rank)
        x = batch.to(device).to(memory_format=torch.channels_last).float() / 255
        first = (self.done * world + rank) * len(batch)  # every rate as often, whatever the batch
        rate = torch.arange(first, first + len(batch), device=device) % len(self.lambdas)
        out = self.model(x, rate)
        bpp = out["bits"] / (x.shape[2] * x.shape[3])
        mse = (out["x_hat"].float() - x).square().mean((1, 2, 3))
        loss = (bpp + 255**2 * self.lambdas[rate] * mse).mean()
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=1.0, error_if_nonfinite=False
        )
        if not torch.isfinite(loss + norm):
            raise FloatingPointError(
                f"loss {loss.item()}, gradient {norm.item()} at step {self.done}"
            )
        self.optimizer.step()
        self.average.update_parameters(self.model.module)
        self.done += 1
        psnr = -10 * mse.detach().log10().mean()
        return {"loss": loss.detach(), "bpp": bpp.detach().mean(), "psnr": psnr}


def dump(content: dict, path: Path) -> None:
    """Save to an open file: given a path, torch does not say that the disk is full."""
    with path.open("wb") as file:
        torch.save(content, file)


def make_fabric(spec: dict) -> lightning_fabric.Fabric:
    """Fabric on the devices of this node, its other processes started.

    Raises
    ------
    InputError
        If there are too few devices, or they cannot share a batch.
    """
    devices, batch = spec["devices"], spec["batch"]
    if batch % devices:
        raise InputError(f"training: batch {batch} is no multiple of devices {devices}")
    try:
        # a scheduler's environment would have the processes started by the scheduler
        fabric = lightning_fabric.Fabric(
            precision=spec["precision"], devices=devices, plugins=[LightningEnvironment()]
        )
    except MisconfigurationException as error:
        raise InputError(f"training: devices {devices}: {error}") from error
    fabric.launch()
    return fabric


def ignore_sigterm(worker: int) -> None:
    """A scheduler sends it to every process: the one that trains still wants its batch, and then ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def denormals_as_zeros():
    """Take denormals for zeros: a fresh network's gradients are full of them, and a CPU ten times as slow."""
    torch.set_flush_denormal(True)  # threads begin with the setting of the one that starts them
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@denormals_as_zeros()
def train(spec: dict, files: list[Path], state_dir: Path) -> dict[str, torch.Tensor] | None:
    """Train to ``spec["steps"]``, from wherever ``state_dir`` says the last run stopped.

    Parameters
    ----------
    spec : dict
        ``N, M, lambdas, mean, variance, quantizer, steps, batch, crop, learning_rate, seed,
        precision, devices, save_every``; ``start``, weights to begin with, if any; and what else a
        state must agree in, such as a digest of the images.
    files : list of Path
        Training images.
    state_dir : Path
        Folder for the resume state and the TensorBoard scalars.

    Returns
    -------
    dict of Tensor or None
        The averaged weights, float16, with the quantiles of the entropy bottleneck fitted to them; of
        several processes, in the first one.

    Raises
    ------
    InputError
        If ``state_dir`` is of a training with another spec (only ``steps``, ``devices`` and
        ``save_every`` may change), or has gone beyond ``steps``; if the devices cannot share a batch.
    FloatingPointError
        If the loss or its gradient is not finite; the last good state stays in ``state_dir``.
    SystemExit
        On SIGTERM, after saving the state.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(spec, state_dir)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    crops, fabric = Crops(files, spec["crop"], spec["seed"]), trainer.fabric
    share = spec["batch"] // fabric.world_size
    wanted = (
        i
        for i in range(trainer.done * spec["batch"], spec["steps"] * spec["batch"])
        if i % spec["batch"] // share == fabric.global_rank
    )
    batches = DataLoader(crops, share, sampler=wanted, num_workers=1, persistent_workers=True,
                         prefetch_factor=8, worker_init_fn=ignore_sigterm)  # fmt: skip
    if trainer.fresh:  # every process on the same crops
        trainer.widen(np.stack([crops[i] for i in range(spec["batch"])]))
    first = fabric.is_global_zero
    scalars = SummaryWriter(state_dir / "tensorboard", purge_step=trainer.done) if first else None
    progress = tqdm(
        batches, total=spec["steps"], initial=trainer.done, mininterval=10, disable=not first
    )
    for batch in progress:
        try:
            report = trainer.step(batch)
        except FloatingPointError as error:
            start = trainer.done * spec["batch"]
            those = crops.sources(range(start, start + spec["batch"]))
            raise FloatingPointError(
                f"{error}, with crops of {those}; last good state: {trainer.file}"
            ) from None
        if first and trainer.done % 100 == 1:
            report = {name: value.item() for name, value in report.items()}
            for name, value in report.items():
                scalars.add_scalar(name, value, trainer.done - 1)
            progress.set_postfix(report, refresh=False)
        stopping = any_of(fabric, bool(stop))
        if stopping or trainer.done % spec["save_every"] == 0:
            trainer.save()
        if stopping:
            fabric.barrier()  # where one process ends, all do
            raise SystemExit(
                f"stopped by SIGTERM at step {trainer.done}: the state is in {trainer.file}"
            )
    return trainer.save()


def any_of(fabric: lightning_fabric.Fabric, flag: bool) -> bool:
    """Whether a flag is set in any of the processes; all of them must ask."""
    if fabric.world_size == 1:
        return flag
    flags = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return flags.item() > 0


def make_model(spec: dict) -> Gained:
    """The untrained network of a spec."""
    return Gained(**{name: spec[name] for name in inspect.signature(Gained).parameters})


def check_same_training(state: dict, now: dict, state_dir: Path) -> None:
    """Refuse to go on from a state that this training cannot have come from."""
    before, free = state["spec"], {"steps", "devices", "save_every"}
    changed = [f"{key} {before.get(key)!r} -> {now.get(key)!r}"
               for key in sorted({*before, *now} - free) if before.get(key) != now.get(key)]  # fmt: skip
    if changed:
        raise InputError(
            f"{state_dir} holds a training with another spec ({', '.join(changed)}); remove the folder"
            " to start anew, or give this training another name"
        )
    if state["step"] > now["steps"]:
        raise InputError(f"{state_dir} holds {state['step']} steps; {now['steps']} are asked for")
