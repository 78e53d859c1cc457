"""Whether a codec does what :class:`rdpipe.codecs.protocol.Codec` asks, in plain words."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from rdpipe.axes.quantizer import Rounding
from rdpipe.codecs.protocol import Analysis
from rdpipe.curves import mean_squared_error, psnr

REQUIRED = ("analyse", "synthesise")
PAIRS = (("compress", "decompress"), ("side", "predict"))


def check(codec, image: np.ndarray) -> Iterator[tuple[bool, str]]:
    """Try a codec on an image.

    Parameters
    ----------
    codec : Codec
    image : array of uint8, of shape (height, width, 3)

    Yields
    ------
    fine : bool
        Whether this is as it should be.
    finding : str
        What was found, and what to do where it is not.
    """
    try:
        missing = [name for name in REQUIRED if not callable(getattr(codec, name, None))]
        if missing:
            yield False, f"it has no method {' and no '.join(missing)} (rdpipe/codecs/protocol.py)"
            return
        yield from methods(codec)
        odd = np.ascontiguousarray(image[: image.shape[0] - 1, : image.shape[1] - 3])
        for size, one in (("the image", image), ("an odd size", odd)):
            yield from on_image(codec, size, one)
    except Exception as error:  # whatever a stranger's code raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        yield False, f"it raised {type(error).__name__}: {error} ({where})"


def methods(codec) -> Iterator[tuple[bool, str]]:
    """Which parts of the protocol it has."""
    for pair in PAIRS:
        has = [callable(getattr(codec, name, None)) for name in pair]
        if any(has) and not all(has):
            yield False, f"it has {pair[has.index(True)]} without {pair[has.index(False)]}"
    if not hasattr(codec, "compress"):
        yield True, "it has no bitstream: its curve will be called achievable, not achieved"
    if not hasattr(codec, "predict"):
        yield True, "it has no side and predict: cells that need them get no real bytes"


def on_image(codec, size: str, image: np.ndarray) -> Iterator[tuple[bool, str]]:
    """Its latents, its image and its bits."""
    analysis = codec.analyse("name", image)
    if not isinstance(analysis, Analysis):
        yield False, f"{size}: analyse returns a {type(analysis).__name__}, not an Analysis"
        return
    problems = list(of_latents(analysis.latents))
    yield from ((False, f"{size}: {problem}") for problem in problems)
    if problems:
        return
    yield from ((fine, f"{size}: {text}") for fine, text in of_repetition(codec, image, analysis))
    yield from ((fine, f"{size}: {text}") for fine, text in of_images(codec, image, analysis))
    yield from ((fine, f"{size}: {text}") for fine, text in of_bits(codec, image, analysis))


def of_latents(latents) -> Iterator[str]:
    """What is wrong with some latents."""
    if latents.name != "name":
        yield f"the latents are named {latents.name!r}, not as the image that was given"
    tensors = {k: v for k, v in vars(latents).items() if k != "name" and v is not None}
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            yield f"{name} is a {type(value).__name__}, not a torch.Tensor"
            return
        shape = tuple(latents.y.shape[:1] if name == "gain" else latents.y.shape)
        if len(latents.y.shape) != 3 or tuple(value.shape) != shape:
            yield (
                f"{name} has shape {tuple(value.shape)}; y must have (channel, row, column),"
                " mean, scale, hyper and own_bits the same, gain (channel,)"
            )
        if not value.is_floating_point():
            yield f"{name} is of {value.dtype}; allowed are floating-point types"
        elif not value.isfinite().all():
            yield f"{name} holds values that are not finite"
    if not (latents.scale > 0).all():
        yield f"scale must be positive; its least value is {latents.scale.min().item():g}"


def of_repetition(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether the same image gives the same latents."""
    again = codec.analyse("name", image).latents
    same = torch.equal(again.y, analysis.latents.y) and torch.equal(again.mean, analysis.latents.mean)
    if not same:
        yield False, "analyse gives other latents the second time; is the model in eval mode?"


def of_images(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether rounded latents give the image that the bitstream gives."""
    latents = analysis.latents
    y_hat = (latents.y - latents.mean).round() + latents.mean
    if hasattr(codec, "reconstruct"):
        y_hat = codec.reconstruct(y_hat, latents.mean, latents.scale)
    found = codec.synthesise(y_hat, *image.shape[:2])
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.shape != image.shape:
        about = f"{getattr(found, 'dtype', type(found))} of shape {getattr(found, 'shape', None)}"
        yield False, f"synthesise returns {about}; it must be uint8 of shape {image.shape}"
        return
    quality = psnr(mean_squared_error(image, found)).item()
    yield quality > 10, f"rounded latents decode to {quality:.2f} dB" + (
        "" if quality > 10 else "; are the latents in units of the quantization step?"
    )
    if not hasattr(codec, "compress"):
        return
    decoded = codec.decompress(codec.compress(image))
    if not np.array_equal(decoded, found):
        error = psnr(mean_squared_error(image, decoded)).item()
        yield False, (
            f"the bitstream decodes to another image ({error:.2f} dB) than the rounded latents: y and"
            " mean must be in units of the step, and y_hat = round(y - mean) + mean what the decoder has"
            " (else reconstruct says what it has)"
        )


def of_bits(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether real bytes, the codec's own likelihood, and mean and scale agree."""
    pixels, latents = image.shape[0] * image.shape[1], analysis.latents
    own = analysis.latent_bits + analysis.side_bits
    if latents.own_bits is not None:
        told = latents.own_bits.double().sum().item()
        yield bool(np.isclose(told, analysis.latent_bits, rtol=1e-3)), (
            f"own_bits sum to {told / pixels:.4f} bit/pixel, latent_bits say"
            f" {analysis.latent_bits / pixels:.4f}"
        )
    if hasattr(codec, "compress"):
        real = 8 * len(codec.compress(image))
        fine = abs(real - own) < 0.02 * own + 1000
        yield fine, (
            f"{real / pixels:.4f} bit/pixel in real bytes, {own / pixels:.4f} by latent_bits + side_bits"
            + ("" if fine else "; they must be the same but for the coder's overhead")
        )
    bits = Rounding().code(latents.y - latents.mean, latents.scale.double().square(), 1.0).bits
    gaussian = bits.sum().item() / pixels
    yield True, (
        f"latents cost {gaussian:.4f} bit/pixel under N(mean, scale^2), "
        f"{analysis.latent_bits / pixels:.4f} under the codec's own prior"
    )

