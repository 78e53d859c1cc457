"""The whole array of closed forms against ``torch.erfc`` on as many float64 numbers, on the same threads."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from benchmarks.common import Figure, Options, by_turns, files, seconds
from rdpipe.evaluation.cell import build
from rdpipe.evaluation.array import evaluate
from rdpipe.estimators.variances import Calibrated
from rdpipe.quantizers.test_channel import WeightedTestChannel
from rdpipe.codecs.compressai.adapter import CompressAI, mini_mean_scale

MEANS = ["zero", "hyper", "codec", "accuracy-90"]
VARIANCES = ["codec", "calibrated", "block-4", "channel", "window-3", "window-5", "element"]
QUANTIZERS = ["rounding", "dithered", "dithered-wiener", "deadzone", "test-channel", "weighted-test-channel"]  # fmt: skip
"""All but the causal ones, the search, and the vector quantizers, which have no closed form."""


def latents(options: Options, count: int) -> list:
    """Of the first images, under the embedded codec."""
    codec = mini_mean_scale(2, "cpu")
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files(options.images)[:count]]
    return [codec.analyse(str(i), image).latents for i, image in enumerate(images)]


def figures(options: Options) -> Iterator[Figure]:
    one, other = latents(options, 2)
    height, width = (CompressAI.stride * side for side in other.y.shape[1:])
    other = replace(other, gain=mini_mean_scale(2, "cpu").decoder_gain(other, height, width))
    means = {name: build("mean", name, {}, {}) for name in MEANS}
    fits = {
        ("variance", "calibrated"): Calibrated().fit([other], means),
        ("quantizer", "weighted-test-channel"): WeightedTestChannel().fit([other]),
    }
    cells = one.y.numel() * len(MEANS) * len(VARIANCES) * len(QUANTIZERS)
    numbers = torch.randn(one.y.numel(), dtype=torch.float64)
    array = lambda: evaluate(one, MEANS, VARIANCES, QUANTIZERS, fits=fits)
    rounds = by_turns(
        options.rounds,
        lambda: seconds(lambda: torch.erfc(numbers)) / numbers.numel(),
        lambda: seconds(array, 0, 1) / cells,
    )
    speed = 1e-6 / min(cell for _, cell in rounds)
    yield Figure("the whole array, cells/s", "torch.erfc, float64", ">= 0.15",
                 [erfc / cell for erfc, cell in rounds], f"{speed:.0f} million cells/s of a core")  # fmt: skip
