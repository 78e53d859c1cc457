"""Small CompressAI models with random weights."""

import numpy as np
import torch

from rdpipe.codecs.compressai import adapt_model
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.codecs.extraction import to_latents
from rdpipe.core.assembly import assemble
from rdpipe.core.latents import Structure
from rdpipe.core.running import visit
from rdpipe.core.walk import Walk

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 130, 3), dtype=np.uint8)
"""An image whose sides are not multiples of 64."""
RASTER_SCAN = {"mbt2018", "cheng2020-anchor", "cheng2020-attn", "mbt2018-vbr"}
"""Architectures whose forward() sees neighbors that are rounded without their means."""
CONTEXT = {
    "mbt2018-checkerboard",
    "cheng2020-anchor-checkerboard",
    "elic2022-official",
    "elic2022-chandelier",
    *RASTER_SCAN,
}
"""Architectures with a context model."""
VARIABLE_RATE = {name for name in ARCHITECTURES if name.endswith("-vbr")}
"""Architectures whose quantization step is a parameter."""
REPRESENTATIVE = (
    "bmshj2018-factorized",
    "mbt2018-mean",
    "mbt2018",
    "mbt2018-checkerboard",
    "elic2022-chandelier",
    "mbt2018-mean-vbr",
)
"""One architecture of each kind."""
QUALITY = 7
"""Quality of all codecs; of variable-rate models the stage."""


def small_model(architecture):
    """Return an untrained model with few channels."""
    family, _ = ARCHITECTURES[architecture]
    if architecture.startswith("cheng"):
        return family(8)
    if architecture.startswith("elic"):
        return family(8, 12, groups=[2, 4, 6])
    variable_bottleneck = architecture in ("bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr")
    return family(8, 12, **({"vr_entbttlnck": True} if variable_bottleneck else {}))


def coding_model(architecture):
    """Return a model whose latents have a deviation of several steps."""
    torch.manual_seed(0)
    model = small_model(architecture)
    with torch.no_grad():
        last = [layer for layer in model.g_a if isinstance(layer, torch.nn.Conv2d)][-1]
        for _ in range(8):
            last.weight *= 2.5 / model.g_a(torch.rand(1, 3, 128, 128)).std()
        for layer, scales in scale_outputs(model):  # so large that no floor acts
            layer.bias[scales] += 2
    if architecture not in VARIABLE_RATE:
        model.update(force=True, update_quantiles=True)
    return model.eval()


def scale_outputs(model):
    """Yield the layers that predict scales, and which of their outputs are scales."""
    coders = [m for m in model.modules() if type(m).__name__ == "CheckerboardLatentCodec"]
    for coder in coders:
        layer, half = coder.entropy_parameters[-1], len(coder.entropy_parameters[-1].bias) // 2
        yield layer, slice(half) if coder["y"].chunks[0] == "scales" else slice(half, None)
    if not coders and hasattr(model, "h_s"):
        net = model.entropy_parameters if hasattr(model, "entropy_parameters") else model.h_s
        yield [layer for layer in net if hasattr(layer, "bias")][-1], slice(12)


def adapt(model):
    """Return the codec of a model on the CPU."""
    return adapt_model(model, QUALITY, "cpu")


def record_of(codec, image=IMAGE):
    """Return all parts that a codec codes of an image."""
    walk = Walk()
    visit(codec, walk, image)
    return walk.record


def wholes_of(codec, image=IMAGE):
    """Return the latents of a codec by name."""
    return assemble(record_of(codec, image))


def y_of(codec, image=IMAGE):
    """Return the latent y of a codec."""
    return wholes_of(codec, image)["y"]


def bits_of(wholes):
    """Return the code length of latents by name, bit."""
    return {name: whole.bits.sum().item() for name, whole in wholes.items()}


def latents_of(codec, image=IMAGE):
    """Return the latent y of a codec for the array, without what only a context model has."""
    return to_latents("a", y_of(codec, image), Structure(), {}, None, image.shape[:2])
