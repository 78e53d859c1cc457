"""A training of a few seconds, which several tests run."""

from pathlib import Path
from typing import Any

from small_spec import SPEC
from torch import Tensor

from rdpipe.datasets import sample
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import train

FILES = [Path(source.file) for source in sample.find()]


def train_small(folder: Path, **changes: Any) -> dict[str, Tensor]:
    """Train with some changes of the specification; return the weights."""
    weights = train(TrainingSpec.from_mapping({**SPEC, **changes}), FILES, folder)
    assert weights is not None
    return weights
