"""Training steps per second: `rdpipe train_codec` against the plain loop of CompressAI's example.

Same model, batch, crop and files; one after the other, each in a process of its own, several times
over. The plain loop is what CompressAI's example trainer does: float32, Adam and a second Adam for the
quantiles, images decoded anew for every crop by worker processes.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import Figure, Options, alternate, image_files
from rdpipe.training.trainer import train

SPEC = {"N": 64, "M": 96, "lambdas": [0.0075], "mean": "hyper", "variance": "hyperprior", "quantizer": "ste",
        "batch": 8, "crop": 128, "learning_rate": 1e-3, "seed": 0, "precision": "bf16-mixed",
        "devices": 1, "save_every": 10**9}  # fmt: skip

STEPS = 100


class PlainCrops(Dataset):
    """Decode, crop, scale to [0, 1], as torchvision's ImageFolder with RandomCrop and ToTensor."""

    def __init__(self, files, size):
        self.files, self.size = files, size

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image = np.asarray(Image.open(self.files[index]).convert("RGB"))
        top, left = (np.random.randint(side - self.size + 1) for side in image.shape[:2])
        crop = image[top : top + self.size, left : left + self.size]
        return torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255


def plain(files, steps: int) -> float:
    """Seconds for some steps of the plain loop, after 10 to warm up."""
    from compressai.losses import RateDistortionLoss
    from compressai.models import MeanScaleHyperprior

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = MeanScaleHyperprior(SPEC["N"], SPEC["M"]).to(device)
    auxiliary = [p for name, p in model.named_parameters() if name.endswith("quantiles")]
    others = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
    optimizer, aux_optimizer = torch.optim.Adam(others, 1e-4), torch.optim.Adam(auxiliary, 1e-3)
    criterion = RateDistortionLoss(lmbda=SPEC["lambdas"][0])
    dataset = PlainCrops(files * (1 + SPEC["batch"] * (steps + 10) // len(files)), SPEC["crop"])
    batches = iter(DataLoader(dataset, SPEC["batch"], shuffle=True, num_workers=2))
    for step in range(steps + 10):
        if step == 10:
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


def ours(files, steps: int) -> float:
    """Seconds for the same of the suite's trainer: a run of steps + 10 less a run of 10."""
    times = []
    for count in (10, 10 + steps):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            train({**SPEC, "steps": count}, files, Path(folder))
            times.append(time.perf_counter() - start)
    return times[1] - times[0]


def figures(options: Options) -> Iterator[Figure]:
    paths = image_files(options.images)

    def fresh(function) -> float:
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            return pool.submit(function, paths, STEPS).result()

    # a round is a minute or two
    rounds = alternate(min(3, options.rounds), lambda: fresh(plain), lambda: fresh(ours))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    speed = statistics.median(SPEC["batch"] * STEPS / own for _, own in rounds)
    yield Figure(f"training steps/s on {device}", "CompressAI's example loop",
                 ">= 1.5" if device == "cuda" else ">= 1.4",
                 [before / after for before, after in rounds], f"{speed:.0f} images/s")  # fmt: skip
