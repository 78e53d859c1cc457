"""Training steps per second, relative to the plain loop of CompressAI's example.

Both have the same model, batch, crop and files. They run alternately, each in a new process. The
plain loop is that of CompressAI's example trainer: float32, Adam, a second Adam for the quantiles,
and worker processes that decode an image for every crop.
"""

import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import Figure, Options, alternate, image_files
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import train

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES: dict[str, list[dict[str, Any]]] = {
    "cpu": [{"N": 64, "M": 96, "batch": 8, "crop": 128}],
    "cuda": [{"N": N, "M": M, "batch": 16, "crop": 256} for N, M in ((64, 144), (192, 320))],
}
"""Networks and batches for each device."""
SPEC = TrainingSpec(
    **SIZES[DEVICE][0],
    lambdas=[0.0075],
    mean="hyper",
    variance="hyperprior",
    quantizer="ste",
    steps=10,
    learning_rate=1e-3,
    seed=0,
    precision="bf16-mixed",
    devices=1,
    save_every=10**9,
)
STEPS = 100
"""Number of timed steps."""
WARM_UP_STEPS = 10
"""Number of steps before the timed ones."""
SAMPLE_MS = 100
"""Milliseconds between two looks at the card."""


class PlainCrops(Dataset):
    """Crops in [0, 1], as torchvision's ImageFolder with RandomCrop and ToTensor."""

    def __init__(self, files: list[Path], size: int):
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = np.asarray(Image.open(self.files[index]).convert("RGB"))
        top, left = (int(torch.randint(side - self.size + 1, ())) for side in image.shape[:2])
        crop = image[top : top + self.size, left : left + self.size]
        return torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255


class BusyCard:
    """Samples how busy the first card is, as a context: ``with BusyCard() as busy``."""

    def __enter__(self) -> "BusyCard":
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        self._samples = subprocess.Popen(
            ["nvidia-smi", *query, f"--loop-ms={SAMPLE_MS}"], stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._samples.terminate()
        output, _ = self._samples.communicate()
        self._percent = [float(line) for line in output.split() if line.isdigit()]

    def share(self, seconds: float) -> float:
        """Return the mean over the last seconds of the context, between 0 and 1."""
        return statistics.mean(self._percent[-max(1, round(1000 * seconds / SAMPLE_MS)) :]) / 100


def seconds_of_plain_loop(spec: TrainingSpec, files: list[Path], steps: int) -> float:
    """Return the seconds of some steps of the plain loop."""
    from compressai.losses import RateDistortionLoss
    from compressai.models import MeanScaleHyperprior

    model = MeanScaleHyperprior(spec.N, spec.M).to(DEVICE)
    parameters = dict(model.named_parameters())
    quantiles = [p for name, p in parameters.items() if name.endswith("quantiles")]
    others = [p for name, p in parameters.items() if not name.endswith("quantiles")]
    optimizer, aux_optimizer = torch.optim.Adam(others, 1e-4), torch.optim.Adam(quantiles, 1e-3)
    criterion = RateDistortionLoss(lmbda=spec.lambdas[0])
    repeats = 1 + spec.batch * (steps + WARM_UP_STEPS) // len(files)
    dataset = PlainCrops(files * repeats, spec.crop)
    batches = iter(DataLoader(dataset, spec.batch, shuffle=True, num_workers=2))
    for step in range(steps + WARM_UP_STEPS):
        if step == WARM_UP_STEPS:
            start = time.perf_counter()
        x = next(batches).to(DEVICE)
        optimizer.zero_grad()
        aux_optimizer.zero_grad()
        criterion(model(x), x)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.aux_loss().backward()
        aux_optimizer.step()
    return time.perf_counter() - start


def speed_of_trainer(spec: TrainingSpec, files: list[Path], steps: int) -> tuple[float, float]:
    """Return the seconds of as many steps of rdpipe's trainer, and how busy the card is.

    The seconds are the difference between a longer and a shorter training. Another one before both
    takes what happens once in a process, such as compilation. The share of time is NaN without a
    card.
    """
    times = []
    with BusyCard() if DEVICE == "cuda" else nullcontext() as busy:
        for count in (WARM_UP_STEPS, WARM_UP_STEPS, WARM_UP_STEPS + steps):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                train(replace(spec, steps=count), files, Path(folder))
                times.append(time.perf_counter() - start)
    seconds = times[2] - times[1]
    return seconds, busy.share(seconds) if busy else math.nan


def figures(options: Options) -> Iterator[Figure]:
    files = image_files(options.images)

    def in_new_process(function: Callable[..., Any], spec: TrainingSpec) -> Any:
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            return pool.submit(function, spec, files, STEPS).result()

    for size in SIZES[DEVICE]:
        spec = replace(SPEC, **size)
        rounds = alternate(  # each takes a minute or two
            min(3, options.rounds),
            partial(in_new_process, seconds_of_plain_loop, spec),
            partial(in_new_process, speed_of_trainer, spec),
        )
        speed = statistics.median(spec.batch * STEPS / seconds for _, (seconds, _) in rounds)
        name = f"training steps/s on {DEVICE}, N {spec.N}"
        yield Figure(
            name,
            "CompressAI's example loop",
            ">= 1.5" if DEVICE == "cuda" else ">= 1.4",
            [plain / seconds for plain, (seconds, _) in rounds],
            f"{speed:.0f} images/s",
        )
        if DEVICE == "cuda":
            shares = [share for _, (_, share) in rounds]
            yield Figure(f"time the card is busy, N {spec.N}", "all time", ">= 0.8", shares)
