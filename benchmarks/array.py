"""The whole array of closed forms, relative to ``torch.erfc`` of as many float64 numbers."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from benchmarks.common import Figure, Options, alternate, image_files, processor_seconds
from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.extraction import Extractor
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.latents import Latents
from rdpipe.estimators.variances import CalibratedVariance
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.cell import build_part
from rdpipe.quantizers.test_channel import WeightedTestChannel

MEANS = ("zero", "hyper", "codec", "accuracy-90")
VARIANCES = ("codec", "calibrated", "block-4", "channel", "window-3", "window-5", "element")
QUANTIZERS = (
    "rounding",
    "dithered",
    "dithered-wiener",
    "deadzone",
    "test-channel",
    "weighted-test-channel",
)
"""All except causal estimators, the search, and vector quantizers, which have no closed form."""


def latents(options: Options, count: int) -> list[Latents]:
    """Return the latents of the first images under the embedded codec, with the decoder's gain."""
    extractor = Extractor(mini_mean_scale(2, "cpu"), gain=True)
    files = image_files(options.images)[:count]
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    rows = (extractor.extract(str(i), image)[1] for i, image in enumerate(images))
    return [as_latents(str(i), arrays["y"]) for i, arrays in enumerate(rows)]


def figures(options: Options) -> Iterator[Figure]:
    image, calibration = latents(options, 2)
    means = {name: build_part("mean", name, {}, {}) for name in MEANS}
    fits = {
        ("variance", "calibrated"): {"y": CalibratedVariance().fit([calibration], means).state()},
        ("quantizer", "weighted-test-channel"): {
            "y": WeightedTestChannel().fit([calibration]).state()
        },
    }
    cells = image.y.numel() * len(MEANS) * len(VARIANCES) * len(QUANTIZERS)
    numbers = torch.randn(image.y.numel(), dtype=torch.float64)
    rounds = alternate(
        options.rounds,
        lambda: processor_seconds(lambda: torch.erfc(numbers)) / numbers.numel(),
        lambda: (
            processor_seconds(
                lambda: evaluate(image, MEANS, VARIANCES, QUANTIZERS, fits=fits), 0, 1
            )
            / cells
        ),
    )
    ratios = [erfc / cell for erfc, cell in rounds]
    note = f"{1e-6 / min(cell for _, cell in rounds):.0f} million cells/s of a core"
    yield Figure("the whole array, cells/s", "torch.erfc, float64", ">= 0.15", ratios, note)
