"""Training steps per second, relative to the plain loop of CompressAI's example.

Both have the same model, batch, crop and files. They run alternately, each in a new process. The
plain loop is that of CompressAI's example trainer: float32, Adam, a second Adam for the quantiles,
and worker processes that decode an image for every crop.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import Figure, Options, alternate, image_files
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import train

SPEC = TrainingSpec(
    N=64,
    M=96,
    lambdas=[0.0075],
    mean="hyper",
    variance="hyperprior",
    quantizer="ste",
    steps=10,
    batch=8,
    crop=128,
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


def seconds_of_plain_loop(files: list[Path], steps: int) -> float:
    """Return the seconds of some steps of the plain loop."""
    from compressai.losses import RateDistortionLoss
    from compressai.models import MeanScaleHyperprior

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = MeanScaleHyperprior(SPEC.N, SPEC.M).to(device)
    parameters = dict(model.named_parameters())
    quantiles = [p for name, p in parameters.items() if name.endswith("quantiles")]
    others = [p for name, p in parameters.items() if not name.endswith("quantiles")]
    optimizer, aux_optimizer = torch.optim.Adam(others, 1e-4), torch.optim.Adam(quantiles, 1e-3)
    criterion = RateDistortionLoss(lmbda=SPEC.lambdas[0])
    repeats = 1 + SPEC.batch * (steps + WARM_UP_STEPS) // len(files)
    dataset = PlainCrops(files * repeats, SPEC.crop)
    batches = iter(DataLoader(dataset, SPEC.batch, shuffle=True, num_workers=2))
    for step in range(steps + WARM_UP_STEPS):
        if step == WARM_UP_STEPS:
            start = time.perf_counter()
        x = next(batches).to(device)
        optimizer.zero_grad()
        aux_optimizer.zero_grad()
        criterion(model(x), x)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.aux_loss().backward()
        aux_optimizer.step()
    return time.perf_counter() - start


def seconds_of_trainer(files: list[Path], steps: int) -> float:
    """Return the seconds of as many steps of rdpipe's trainer.

    They are the difference between a longer and a shorter training.
    """
    times = []
    for count in (WARM_UP_STEPS, WARM_UP_STEPS + steps):
        spec = TrainingSpec.from_mapping(SPEC.to_mapping() | {"steps": count})
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            train(spec, files, Path(folder))
            times.append(time.perf_counter() - start)
    return times[1] - times[0]


def figures(options: Options) -> Iterator[Figure]:
    files = image_files(options.images)

    def in_new_process(function: Callable[[list[Path], int], float]) -> float:
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            return pool.submit(function, files, STEPS).result()

    rounds = alternate(  # each takes a minute or two
        min(3, options.rounds),
        lambda: in_new_process(seconds_of_plain_loop),
        lambda: in_new_process(seconds_of_trainer),
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    speed = statistics.median(SPEC.batch * STEPS / trainer for _, trainer in rounds)
    yield Figure(
        f"training steps/s on {device}",
        "CompressAI's example loop",
        ">= 1.5" if device == "cuda" else ">= 1.4",
        [plain / trainer for plain, trainer in rounds],
        f"{speed:.0f} images/s",
    )
