"""A training of a few seconds, which several tests run."""

from pathlib import Path
from typing import Any

from torch import Tensor

from rdpipe.datasets import sample
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import train

SPEC = {
    "N": 8,
    "M": 8,
    "lambdas": [0.01, 0.04],
    "mean": "hyper",
    "variance": "hyperprior",
    "quantizer": "ste",
    "steps": 12,
    "batch": 2,
    "crop": 64,
    "learning_rate": 0.003,
    "seed": 1,
    "precision": "32-true",
    "device": "cpu",
    "devices": 1,
    "save_every": 2,
}
FILES = [Path(source.file) for source in sample.find()]


def train_small(folder: Path, **changes: Any) -> dict[str, Tensor]:
    """Train with some changes of the specification; return the weights."""
    weights = train(TrainingSpec.from_mapping({**SPEC, **changes}), FILES, folder)
    assert weights is not None
    return weights
