"""Train a variable-rate codec: resumable at any step, the same batches whatever happens."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import lightning_fabric
import numpy as np
import torch
from PIL import Image
from pytorch_optimizer import SOAP
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from rdpipe.codecs.trainable import GainedMeanScaleHyperprior
from rdpipe.errors import InputError
from rdpipe.files import write_atomically


class Crops(Dataset):
    """Random square crops, mirrored at random; crop ``i`` is a pure function of (seed, i).

    Parameters
    ----------
    files : list of Path
        Training images, each at least ``size`` pixels on a side.
    size : int
        Side of a crop, pixels.
    seed : int
        Another seed gives another sequence.
    """

    def __init__(self, files: list[Path], size: int, seed: int):
        self.files, self.size, self.seed = files, size, seed
        self.decoded: dict[Path, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, index])
        file = self.files[rng.integers(len(self.files))]
        if file not in self.decoded:
            with Image.open(file) as image:
                self.decoded[file] = np.asarray(image.convert("RGB"))
        image = self.decoded[file]
        top, left = (rng.integers(side - self.size + 1) for side in image.shape[:2])
        crop = image[top : top + self.size, left : left + self.size]
        if rng.integers(2):
            crop = crop[:, ::-1]
        return np.ascontiguousarray(crop.transpose(2, 0, 1))


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


def train(spec: dict, files: list[Path], state_dir: Path) -> dict[str, torch.Tensor]:
    """Train to ``spec["steps"]``, from wherever ``state_dir`` says the last run stopped.

    Parameters
    ----------
    spec : dict
        ``N, M, lambdas, steps, batch, crop, learning_rate, seed, precision, save_every``.
    files : list of Path
        Training images.
    state_dir : Path
        Folder for the resume state and the TensorBoard scalars.

    Returns
    -------
    dict of Tensor
        The averaged weights, float16, with the quantiles of the entropy bottleneck fitted to them.

    Raises
    ------
    InputError
        If ``state_dir`` is of a training with another spec (only ``steps`` and ``save_every`` may
        change), or has gone beyond ``steps``.
    FloatingPointError
        If the loss is not finite; the last good state stays in ``state_dir``.
    SystemExit
        On SIGTERM, after saving the state.
    """
    fabric = lightning_fabric.Fabric(precision=spec["precision"], devices=1)
    fabric.seed_everything(spec["seed"], verbose=False)
    model = GainedMeanScaleHyperprior(spec["N"], spec["M"], spec["lambdas"])
    model = model.to(memory_format=torch.channels_last)
    parameters = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
    optimizer = SOAP(parameters, lr=spec["learning_rate"], weight_decay=0.0)
    model, optimizer = fabric.setup(model, optimizer)
    average = AveragedModel(model.module, multi_avg_fn=moving_average)

    state_dir.mkdir(parents=True, exist_ok=True)
    state_file, start = state_dir / "state.pt", 0
    if state_file.exists():
        state = torch.load(state_file, map_location=fabric.device, weights_only=True)
        check_same_training(state, spec, state_dir)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        start = state["step"]

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                 "average": average.state_dict(), "step": step, "spec": spec}  # fmt: skip
        write_atomically(state_file, lambda path: torch.save(state, path))
        weights = averaged_weights(average, spec)
        write_atomically(state_dir / "weights.pt", lambda path: torch.save(weights, path))

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    crops = Crops(files, spec["crop"], spec["seed"])
    wanted = range(start * spec["batch"], spec["steps"] * spec["batch"])
    batches = DataLoader(crops, spec["batch"], sampler=wanted, num_workers=1, persistent_workers=True,
                         prefetch_factor=8)  # fmt: skip
    rate = torch.arange(spec["batch"], device=fabric.device) % len(spec["lambdas"])
    weight = 255**2 * torch.tensor(spec["lambdas"], device=fabric.device)[rate]
    scalars = SummaryWriter(state_dir / "tensorboard", purge_step=start)
    progress = tqdm(enumerate(batches, start), total=spec["steps"], initial=start, mininterval=10)
    for step, batch in progress:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, spec["steps"], spec["learning_rate"])
        torch.manual_seed(
            spec["seed"] * 1_000_003 + step
        )  # the noise too is a function of the step
        x = batch.to(fabric.device).to(memory_format=torch.channels_last).float() / 255
        out = model(x, rate)
        bpp = out["bits"] / spec["crop"] ** 2
        mse = (out["x_hat"].float() - x).square().mean((1, 2, 3))
        loss = (bpp + weight * mse).mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss {loss.item()} at step {step}; last good state: {state_file}"
            )
        optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        average.update_parameters(model.module)
        if step % 100 == 0:
            report = {"loss": loss.item(), "bpp": bpp.mean().item(),
                      "psnr": -10 * mse.detach().log10().mean().item()}  # fmt: skip
            for name, value in report.items():
                scalars.add_scalar(name, value, step)
            progress.set_postfix(report, refresh=False)
        if stop or (step + 1) % spec["save_every"] == 0:
            save(step + 1)
        if stop:
            raise SystemExit(f"stopped by SIGTERM at step {step + 1}: the state is in {state_file}")
    save(spec["steps"])
    return averaged_weights(average, spec)


def check_same_training(state: dict, now: dict, state_dir: Path) -> None:
    """Refuse to go on from a state that this training cannot have come from."""
    before, free = state["spec"], {"steps", "save_every"}
    changed = [f"{key} {before.get(key)!r} -> {now.get(key)!r}"
               for key in sorted({*before, *now} - free) if before.get(key) != now.get(key)]  # fmt: skip
    if changed:
        raise InputError(
            f"{state_dir} holds a training with another spec ({', '.join(changed)}); remove the folder"
            " to start anew, or give this training another name"
        )
    if state["step"] > now["steps"]:
        raise InputError(f"{state_dir} holds {state['step']} steps; {now['steps']} are asked for")


def averaged_weights(average: AveragedModel, spec: dict) -> dict[str, torch.Tensor]:
    """Float16 weights of the average, its bottleneck's quantiles solved for, ready to code with."""
    model = GainedMeanScaleHyperprior(spec["N"], spec["M"], spec["lambdas"])
    model.load_state_dict(average.module.state_dict())
    model.entropy_bottleneck.update(force=True, update_quantiles=True)
    return {name: p.detach().half().contiguous() for name, p in model.named_parameters()}
