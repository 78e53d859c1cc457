"""A step of refinement relative to the raw forward and backward pass of the same networks."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from benchmarks.common import Figure, Options, alternate, image_files, processor_seconds
from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.compressai.adapter import CompressAICodec
from rdpipe.refinement.refine import Refiner, Settings

STEPS = 5
"""Number of steps of each measurement."""


def refine(codec: CompressAICodec, pixels: np.ndarray, steps: int) -> None:
    """Refine the latents of an image."""
    Refiner(codec, "image", pixels, Settings(0.005, steps=steps)).refine()


def differentiate(codec: CompressAICodec, y: torch.Tensor, z: torch.Tensor) -> None:
    """Run both synthesis transforms forward and backward."""
    y, z = (x.clone().requires_grad_() for x in (y, z))
    image, side = codec.model.g_s(y), codec.model.h_s.transform(z)
    (image.square().mean() + side.mean()).backward()


def figures(options: Options) -> Iterator[Figure]:
    codec = mini_mean_scale(2, "cpu")
    pixels = np.array(Image.open(image_files(options.images)[0]).convert("RGB"))
    initial = Refiner(codec, "image", pixels, Settings(0.005)).initial
    rounds = alternate(
        options.rounds,
        # the checkpoints, whose number does not depend on that of the steps, are left out
        lambda: (
            (
                processor_seconds(lambda: refine(codec, pixels, 2 * STEPS), 0, 1)
                - processor_seconds(lambda: refine(codec, pixels, STEPS), 0, 1)
            )
            / STEPS
        ),
        lambda: processor_seconds(lambda: differentiate(codec, initial["y"], initial["z"])),
    )
    ratios = [step / raw for step, raw in rounds]
    yield Figure("a step of refinement", "forward and backward pass", "<= 1.15", ratios)
