"""Train a variable-rate codec: resumable at any step, the same batches whatever happens."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import lightning_fabric
import numpy as np
import safetensors.torch
import torch
from PIL import Image, ImageEnhance
from pytorch_optimizer import SOAP
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from rdpipe.codecs.trainable import CHOICES, GainedHyperprior
from rdpipe.datasets.image import read
from rdpipe.errors import InputError
from rdpipe.files import write_atomically


class Crops(Dataset):
    """Random square crops, mirrored, zoomed and coloured at random; crop ``i`` is a pure function of
    (seed, i).

    Half of them are resampled, by up to 3/2 either way: other textures, and fewer artefacts of the
    JPEG files that most training sets are. Half have their saturation changed, by up to 2 either way:
    a hyperprior that has not seen saturated colours predicts means far out for them.

    Parameters
    ----------
    files : list of Path
        Training images, each at least ``1.5 * size`` pixels on a side.
    size : int
        Side of a crop, pixels.
    seed : int
        Another seed gives another sequence.
    """

    def __init__(self, files: list[Path], size: int, seed: int):
        self.files, self.size, self.seed = files, size, seed
        self.decoded: dict[Path, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        rng, file = self._draw(index)
        if file not in self.decoded:
            self.decoded[file] = read(str(file))[0]
        crop = zoomed(self.decoded[file], self.size, rng)
        if rng.integers(2):
            crop = crop[:, ::-1]
        return np.ascontiguousarray(saturated(crop, rng).transpose(2, 0, 1))

    def _draw(self, index: int) -> tuple[np.random.Generator, Path]:
        rng = np.random.default_rng([self.seed, index])
        return rng, self.files[rng.integers(len(self.files))]

    def sources(self, indices) -> str:
        """Names of the files that some crops are from."""
        return ", ".join(sorted({self._draw(index)[1].name for index in indices}))


def zoomed(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A crop of ``size``, of pixels as they are or resampled from a smaller or larger one."""
    side = round(size * 1.5 ** rng.uniform(-1, 1)) if rng.integers(2) else size
    side = min(side, *image.shape[:2])
    top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
    crop = image[top : top + side, left : left + side]
    if side != size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
    return crop


def saturated(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop as it is, or with its distance from grey multiplied."""
    if rng.integers(2):
        return crop
    return np.asarray(ImageEnhance.Color(Image.fromarray(crop)).enhance(2 ** rng.uniform(-1, 1)))


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
        ``N, M, lambdas, mean, variance, quantizer, steps, batch, crop, learning_rate, seed,
        precision, save_every``; ``start``, weights to begin with, if any; and what else a state must
        agree in, such as a digest of the images.
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
        If the loss or its gradient is not finite; the last good state stays in ``state_dir``.
    SystemExit
        On SIGTERM, after saving the state.
    """
    fabric = lightning_fabric.Fabric(precision=spec["precision"], devices=1)
    fabric.seed_everything(spec["seed"], verbose=False)
    model = make_model(spec)
    state_dir.mkdir(parents=True, exist_ok=True)
    state_file, start = state_dir / "state.pt", 0
    if "start" in spec and not state_file.exists():
        begin_with(model, spec["start"])
    model = model.to(memory_format=torch.channels_last)
    parameters = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
    optimizer = SOAP(parameters, lr=spec["learning_rate"], weight_decay=0.0)
    model, optimizer = fabric.setup(model, optimizer)
    average = AveragedModel(model.module, multi_avg_fn=moving_average)
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
    lambdas = torch.tensor(spec["lambdas"], device=fabric.device)
    scalars = SummaryWriter(state_dir / "tensorboard", purge_step=start)
    progress = tqdm(enumerate(batches, start), total=spec["steps"], initial=start, mininterval=10)
    for step, batch in progress:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, spec["steps"], spec["learning_rate"])
        torch.manual_seed(
            spec["seed"] * 1_000_003 + step
        )  # the noise too is a function of the step
        x = batch.to(fabric.device).to(memory_format=torch.channels_last).float() / 255
        first = step * spec["batch"]  # every rate as often, whatever the batch
        rate = torch.arange(first, first + spec["batch"], device=fabric.device) % len(lambdas)
        out = model(x, rate)
        bpp = out["bits"] / spec["crop"] ** 2
        mse = (out["x_hat"].float() - x).square().mean((1, 2, 3))
        loss = (bpp + 255**2 * lambdas[rate] * mse).mean()
        optimizer.zero_grad()
        fabric.backward(loss)
        norm = fabric.clip_gradients(model, optimizer, max_norm=1.0, error_if_nonfinite=False)
        if not torch.isfinite(loss + norm):
            those = crops.sources(range(step * spec["batch"], (step + 1) * spec["batch"]))
            raise FloatingPointError(
                f"loss {loss.item()}, gradient {norm.item()} at step {step}, with crops of {those};"
                f" last good state: {state_file}"
            )
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


def make_model(spec: dict) -> GainedHyperprior:
    """The untrained network of a spec."""
    axes = {axis: spec[axis] for axis in CHOICES}
    return GainedHyperprior(spec["N"], spec["M"], spec["lambdas"], **axes)


def begin_with(model: torch.nn.Module, file: str) -> None:
    """Take over every weight of another training that has the same name and shape here.

    Raises
    ------
    InputError
        If there is none.
    """
    given, own = safetensors.torch.load_file(file), dict(model.named_parameters())
    fitting = {name: value for name, value in given.items()
               if name in own and own[name].shape == value.shape}  # fmt: skip
    if not fitting:
        raise InputError(f"{file}: none of its {len(given)} arrays fits this network")
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(value)
    print(f"began with {len(fitting)} arrays of {file}; not taken over: "
          f"{sorted(given.keys() - fitting.keys()) or 'none'}")  # fmt: skip


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
    model = make_model(spec)
    model.load_state_dict(average.module.state_dict())
    model.settle()
    return {name: p.detach().half().contiguous() for name, p in model.named_parameters()}
