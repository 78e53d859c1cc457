"""Whether a codec does what :class:`rdpipe.codecs.protocol.Codec` asks, in plain words."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from rdpipe.quantizers.scalar import Rounding
from rdpipe.codecs.protocol import Analysis, decoded_latents, gain_of, own_code
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.errors import InputError
from rdpipe.core.rng import generator

REQUIRED = ("analyse", "synthesise")
SMALLEST = 64
"""Least side of the image, pixels: codecs may refuse smaller ones with reason."""
PAIRS = (("compress", "decompress"), ("side", "predict"))


def check(codec, image: np.ndarray) -> Iterator[tuple[bool, str]]:
    """Try a codec on an image.

    Parameters
    ----------
    codec : Codec
    image : array of uint8, of shape (height, width, 3)

    Raises
    ------
    InputError
        If the image is too small to say anything.

    Yields
    ------
    fine : bool
        Whether this is as it should be.
    finding : str
        What was found, and what to do where it is not.
    """
    if min(image.shape[:2]) < SMALLEST:
        height, width = image.shape[:2]
        raise InputError(f"an image of {width} x {height}: the check takes one of at least {SMALLEST} pixels a side")
    try:
        missing = [name for name in REQUIRED if not callable(getattr(codec, name, None))]
        if missing:
            yield False, f"it has no method {' and no '.join(missing)} (rdpipe/codecs/protocol.py)"
            return
        yield from methods(codec)
        odd = np.ascontiguousarray(image[: image.shape[0] - 1, : image.shape[1] - 3])
        for one in (image, odd):
            height, width = one.shape[:2]
            yield from on_image(codec, f"{width} x {height}", one)
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
    for part in (of_repetition, of_images, of_bits, of_scale, of_gain, of_decoder, of_stride):
        yield from ((fine, f"{size}: {text}") for fine, text in part(codec, image, analysis))


def of_latents(latents) -> Iterator[str]:
    """What is wrong with some latents."""
    if latents.name != "name":
        yield f"the latents are named {latents.name!r}, not as the image that was given"
    tensors = {k: v for k, v in vars(latents).items() if k not in ("name", "gain") and v is not None}
    if latents.gain is not None:
        yield "gain is None in what analyse returns; it is the method decoder_gain that is asked for it"
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            yield f"{name} is a {type(value).__name__}, not a torch.Tensor"
            return
        if len(latents.y.shape) != 3 or value.shape != latents.y.shape:
            yield (
                f"{name} has shape {tuple(value.shape)}; y must have (channel, row, column),"
                " mean, scale, hyper and own_bits the same"
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
    """Whether rounded latents give the image that the bitstream gives, and the bits its length."""
    found = codec.synthesise(decoded_latents(codec, analysis.latents), *image.shape[:2])
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
    stream = codec.compress(image)
    decoded = codec.decompress(stream)
    if not np.array_equal(decoded, found):
        error = psnr(mean_squared_error(image, decoded)).item()
        yield False, (
            f"the bitstream decodes to another image ({error:.2f} dB) than the rounded latents: y and"
            " mean must be in units of the step, and y_hat = round(y - mean) + mean what the decoder has"
            " (else reconstruct says what it has)"
        )
    pixels, real = image.shape[0] * image.shape[1], 8 * len(stream)
    own = analysis.latent_bits + analysis.side_bits
    fine = abs(real - own) < 0.02 * own + 1000
    yield fine, (
        f"{real / pixels:.4f} bit/pixel in real bytes, {own / pixels:.4f} by latent_bits + side_bits"
        + ("" if fine else "; they must be the same but for the coder's overhead")
    )


def of_bits(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether the codec says the same of its bits in every place."""
    pixels, latents = image.shape[0] * image.shape[1], analysis.latents
    if latents.own_bits is not None:
        told = latents.own_bits.double().sum().item()
        yield bool(np.isclose(told, analysis.latent_bits, rtol=1e-3)), (
            f"own_bits sum to {told / pixels:.4f} bit/pixel, latent_bits say"
            f" {analysis.latent_bits / pixels:.4f}"
        )
    yield analysis.side_bits >= 0, f"{analysis.side_bits / pixels:.4f} bit/pixel of side information"


def of_scale(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether the scale is the standard deviation of what is coded."""
    latents, pixels = analysis.latents, image.shape[0] * image.shape[1]
    residual, variance = (latents.y - latents.mean).double(), latents.scale.double().square()
    bits = Rounding().code(residual, variance, 1.0).bits.sum().item() / pixels
    ratio = (residual.square().mean() / variance.mean()).sqrt().item()
    fine = 1 / 3 < ratio < 3
    yield fine, (
        f"latents cost {bits:.4f} bit/pixel under N(mean, scale^2),"
        f" {analysis.latent_bits / pixels:.4f} under the codec's own prior; y - mean is {ratio:.2f} times"
        f" the scale (root mean squares)"
        + ("" if fine else "; is scale a standard deviation, in steps?")
    )


def of_gain(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether the gain is what noise on the channel of the largest one does to the image."""
    if not hasattr(codec, "decoder_gain"):
        return
    latents = analysis.latents
    try:
        gain = gain_of(codec, latents, *image.shape[:2])
    except InputError as error:
        yield False, str(error)
        return
    channel = gain.argmax().item()
    y_hat = decoded_latents(codec, latents)
    noisy = y_hat.clone()
    noisy[channel] += 2 * (torch.rand(y_hat[channel].shape, generator=generator("check")) < 0.5) - 1
    before, after = (codec.synthesise(one, *image.shape[:2]) / 255 for one in (y_hat, noisy))
    found = np.square(after - before).sum() / y_hat[channel].numel()
    fine = 0.1 < found / gain[channel].item() < 10
    yield fine, (
        f"gain of channel {channel} is {gain[channel].item():.3g}, and the image changes by {found:.3g}"
        + ("" if fine else "; it is the sum over pixels and colours, in [0, 1], of the squared change")
    )


def of_decoder(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether what a decoder predicts is what the latents say."""
    latents = analysis.latents
    if hasattr(codec, "side") and hasattr(codec, "predict"):
        mean, _ = codec.predict(codec.side(image), *image.shape[:2])
        expected = latents.mean if latents.hyper is None else latents.hyper
        fine = mean.shape == expected.shape and torch.allclose(mean, expected, atol=1e-3)
        yield fine, "predict gives the mean of the latents" + (
            "" if fine else ": it does not; a decoder would decode something else"
        )
    if getattr(codec, "recode", None) is None:
        return
    if not latents.with_context:
        yield False, "it has recode, a context model, but its latents have no hyper, the mean without it"
        return
    found, own = codec.recode(image, own_code(codec, latents.y)), decoded_latents(codec, latents)
    fine = torch.allclose(found.float(), own.float(), atol=1e-3)
    yield fine, "recode with the codec's own rounding gives its own latents" + (
        "" if fine else ": it does not; does it walk in decoding order, over what code returned?"
    )


def of_stride(codec, image: np.ndarray, analysis: Analysis) -> Iterator[tuple[bool, str]]:
    """Whether maps over the image know how far apart the latents are."""
    sizes = zip(image.shape[:2], analysis.latents.y.shape[1:])
    found = {-(-side // count) for side, count in sizes}
    if not hasattr(codec, "stride") and len(found) > 1:
        yield False, f"latents seem {' or '.join(map(str, sorted(found)))} pixels apart: say stride"
