"""Check that a codec fulfills the protocols in :mod:`rdpipe.core.protocols`."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rdpipe.codecs.decoding import HasStride, decoded_latents, measured_gain, own_code_step
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.protocols import (
    Analysis,
    Codec,
    Image,
    SupportsBitstream,
    SupportsContext,
    SupportsGain,
    SupportsSideInformation,
)
from rdpipe.core.rng import generator
from rdpipe.quantizers.scalar import Rounding

NAME = "name"
"""Name of the image in the check."""
SMALLEST = 64
"""Least side of the image, pixels: codecs may refuse smaller images."""
REQUIRED = ("analyse", "synthesise")
"""Methods that every codec has."""
PAIRS = (("compress", "decompress"), ("side", "predict"))
"""Optional methods of which a codec has both or none."""
CAPABILITIES = (
    (SupportsBitstream, "a bitstream", "its curve is called achievable instead of achieved"),
    (
        SupportsSideInformation,
        "side and predict",
        "cells that use its side information have no bitstream",
    ),
    (SupportsGain, "decoder_gain", "weighted-test-channel cannot be fitted"),
)
"""Optional capabilities: protocol, name, and the consequence of a codec without it."""


class Finding(NamedTuple):
    """A result of the check.

    Parameters
    ----------
    passed : bool
        Whether the codec is as expected.
    message : str
        What was measured; if the check failed, what to do.
    """

    passed: bool
    message: str


def check(codec: object, image: Image) -> Iterator[Finding]:
    """Check a codec on an image.

    Parameters
    ----------
    codec : Codec
    image : array of uint8, of shape (height, width, 3)

    Yields
    ------
    Finding

    Raises
    ------
    InputError
        If the image is too small.
    """
    if min(image.shape[:2]) < SMALLEST:
        height, width = image.shape[:2]
        raise InputError(
            f"the image has {width} x {height} pixels; expected at least {SMALLEST} on each side"
        )
    try:
        if not isinstance(codec, Codec):
            missing = [name for name in REQUIRED if not callable(getattr(codec, name, None))]
            yield Finding(
                False,
                f"{type(codec).__name__} is not a Codec: it has no method"
                f" {' and no '.join(missing)} (rdpipe/core/protocols.py)",
            )
            return
        yield from _check_capabilities(codec)
        odd_size = np.ascontiguousarray(image[: image.shape[0] - 1, : image.shape[1] - 3])
        for pixels in (image, odd_size):
            height, width = pixels.shape[:2]
            for finding in _check_image(codec, pixels):
                yield Finding(finding.passed, f"{width} x {height}: {finding.message}")
    except Exception as error:  # a user's codec may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        yield Finding(False, f"it raised {type(error).__name__}: {error} ({where})")


def _check_capabilities(codec: Codec) -> Iterator[Finding]:
    """Check which optional methods the codec has."""
    for pair in PAIRS:
        has = [callable(getattr(codec, name, None)) for name in pair]
        if any(has) and not all(has):
            present, absent = pair[has.index(True)], pair[has.index(False)]
            yield Finding(False, f"it has {present} without {absent}; expected both or none")
    for protocol, name, consequence in CAPABILITIES:
        if not isinstance(codec, protocol):
            yield Finding(True, f"it has no {name.removeprefix('a ')}: {consequence}")


def _check_image(codec: Codec, image: Image) -> Iterator[Finding]:
    """Check the latents, the decoded image and the bits of one image."""
    analysis = codec.analyse(NAME, image)
    if not isinstance(analysis, Analysis):
        kind = type(analysis).__name__
        yield Finding(False, f"analyse returned a {kind}; expected rdpipe.core.protocols.Analysis")
        return
    problems = list(_latent_problems(analysis.latents))
    yield from (Finding(False, problem) for problem in problems)
    if problems:
        return
    for part in (
        _check_repetition,
        _check_decoding,
        _check_bits,
        _check_scale,
        _check_gain,
        _check_side_information,
        _check_context,
        _check_stride,
    ):
        yield from part(codec, image, analysis)


def _latent_problems(latents: Latents) -> Iterator[str]:
    """Yield what is wrong with the fields of some latents."""
    if latents.name != NAME:
        yield f"the latents are named {latents.name!r}; expected {NAME!r}, the name of the image"
    if latents.gain is not None:
        yield "gain is set by analyse; expected None, as the gain is returned by decoder_gain"
    fields = vars(latents).items()
    tensors = {k: v for k, v in fields if k not in ("name", "gain") and v is not None}
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            yield f"{name} is a {type(value).__name__}; expected a torch.Tensor"
            return
        if len(latents.y.shape) != 3 or value.shape != latents.y.shape:
            yield (
                f"{name} has shape {tuple(value.shape)}; expected (channel, row, column) for y, and"
                " the shape of y for mean, scale, hyper and own_bits"
            )
        if not value.is_floating_point():
            yield f"{name} is of {value.dtype}; expected a floating-point type"
        elif not value.isfinite().all():
            yield f"{name} has values that are not finite"
    if not (latents.scale > 0).all():
        yield f"scale must be positive; its least value is {latents.scale.min().item():g}"


def _check_repetition(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that the same image gives the same latents again."""
    again, latents = codec.analyse(NAME, image).latents, analysis.latents
    if not (torch.equal(again.y, latents.y) and torch.equal(again.mean, latents.mean)):
        yield Finding(
            False, "analyse returns different latents the second time; is the model in eval mode?"
        )


def _image_problem(decoded: object, image: Image) -> str | None:
    """Return what a decoded image is, if it does not have the type and the shape of the image."""
    if not isinstance(decoded, np.ndarray):
        return f"a {type(decoded).__name__}"
    if decoded.dtype != np.uint8 or decoded.shape != image.shape:
        return f"{decoded.dtype} of shape {decoded.shape}"
    return None


def _check_decoding(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that rounded latents decode to the image."""
    decoded = codec.synthesise(decoded_latents(codec, analysis.latents), *image.shape[:2])
    if problem := _image_problem(decoded, image):
        yield Finding(False, f"synthesise returns {problem}; expected uint8 of shape {image.shape}")
        return
    quality = psnr(mean_squared_error(image, decoded)).item()
    hint = "" if quality > 10 else "; are the latents in units of the quantization step?"
    yield Finding(quality > 10, f"rounded latents decode to {quality:.2f} dB{hint}")
    if isinstance(codec, SupportsBitstream):
        yield from _check_bitstream(codec, image, analysis, decoded)


def _check_bitstream(
    codec: SupportsBitstream, image: Image, analysis: Analysis, rounded: Image
) -> Iterator[Finding]:
    """Check that the bitstream decodes to the rounded latents, and has the stated length."""
    stream = codec.compress(image)
    decoded = codec.decompress(stream)
    if not np.array_equal(decoded, rounded):
        quality = psnr(mean_squared_error(image, decoded)).item()
        yield Finding(
            False,
            f"the bitstream decodes to another image ({quality:.2f} dB) than the rounded latents;"
            " expected y and mean in units of the step, and a decoder that uses round(y - mean) +"
            " mean, or what reconstruct returns",
        )
    pixels, real = image.shape[0] * image.shape[1], 8 * len(stream)
    stated = analysis.latent_bits + analysis.side_bits
    passed = abs(real - stated) < 0.02 * stated + 1000
    hint = "" if passed else "; they must be the same except for the overhead of the coder"
    yield Finding(
        passed,
        f"{real / pixels:.4f} bit/pixel in real bytes, {stated / pixels:.4f} according to"
        f" latent_bits + side_bits{hint}",
    )


def _check_bits(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that all statements about the bits agree."""
    pixels, latents = image.shape[0] * image.shape[1], analysis.latents
    if latents.own_bits is not None:
        total = latents.own_bits.double().sum().item()
        yield Finding(
            bool(np.isclose(total, analysis.latent_bits, rtol=1e-3)),
            f"the sum of own_bits is {total / pixels:.4f} bit/pixel, latent_bits are"
            f" {analysis.latent_bits / pixels:.4f}",
        )
    yield Finding(
        analysis.side_bits >= 0,
        f"side information has {analysis.side_bits / pixels:.4f} bit/pixel",
    )


def _check_scale(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that the scale is the standard deviation of the residuals."""
    latents, pixels = analysis.latents, image.shape[0] * image.shape[1]
    residual, variance = (latents.y - latents.mean).double(), latents.scale.double().square()
    bits = Rounding().code(residual, variance, 1.0).bits.sum().item() / pixels
    ratio = (residual.square().mean() / variance.mean()).sqrt().item()
    passed = 1 / 3 < ratio < 3
    hint = "" if passed else "; is scale a standard deviation, in steps?"
    yield Finding(
        passed,
        f"latents cost {bits:.4f} bit/pixel under N(mean, scale^2),"
        f" {analysis.latent_bits / pixels:.4f} under the codec's own prior; the root mean square of"
        f" y - mean is {ratio:.2f} times that of scale{hint}",
    )


def _check_gain(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that the gain of one channel predicts the effect of noise on it."""
    if not isinstance(codec, SupportsGain):
        return
    latents = analysis.latents
    try:
        gain = measured_gain(codec, latents, *image.shape[:2])
    except InputError as error:
        yield Finding(False, str(error))
        return
    channel = int(gain.argmax())
    y_hat = decoded_latents(codec, latents)
    noisy = y_hat.clone()
    noisy[channel] += 2 * (torch.rand(y_hat[channel].shape, generator=generator("check")) < 0.5) - 1
    before, after = (codec.synthesise(y, *image.shape[:2]) / 255 for y in (y_hat, noisy))
    change = np.square(after - before).sum() / y_hat[channel].numel()
    passed = 0.1 < change / gain[channel].item() < 10
    hint = "; it is the sum over pixels and colors, in [0, 1], of the squared change"
    yield Finding(
        passed,
        f"the gain of channel {channel} is {gain[channel].item():.3g}, and the image changes by"
        f" {change:.3g}{'' if passed else hint}",
    )


def _check_side_information(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that a decoder predicts the mean of the latents."""
    if not isinstance(codec, SupportsSideInformation):
        return
    latents = analysis.latents
    mean, _ = codec.predict(codec.side(image), *image.shape[:2])
    expected = latents.mean if latents.hyper is None else latents.hyper
    passed = mean.shape == expected.shape and torch.allclose(mean, expected, atol=1e-3)
    if passed:
        yield Finding(True, "predict returns the mean of the latents")
    else:
        yield Finding(
            False, "predict does not return the mean of the latents; expected what analyse returns"
        )


def _check_context(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that the context model reproduces the codec's own latents."""
    if not isinstance(codec, SupportsContext):
        return
    latents = analysis.latents
    if not latents.with_context:
        yield Finding(
            False,
            "it has recode, that is, a context model; expected latents with hyper, the mean without"
            " it",
        )
        return
    y_hat = codec.recode(image, own_code_step(codec, latents.y))
    if torch.allclose(y_hat.float(), decoded_latents(codec, latents).float(), atol=1e-3):
        yield Finding(True, "recode with the codec's own rounding returns its own latents")
    else:
        yield Finding(
            False,
            "recode with the codec's own rounding does not return its own latents; expected calls"
            " of code in decoding order, and predictions from what code returned",
        )


def _check_stride(codec: Codec, image: Image, analysis: Analysis) -> Iterator[Finding]:
    """Check that the distance of the latents in the image is known."""
    sizes = zip(image.shape[:2], analysis.latents.y.shape[1:], strict=True)
    strides = sorted({-(-side // count) for side, count in sizes})
    if not isinstance(codec, HasStride) and len(strides) > 1:
        yield Finding(
            False,
            f"latents are {' or '.join(map(str, strides))} pixels apart; expected an attribute"
            " stride",
        )
