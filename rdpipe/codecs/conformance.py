"""Check that a codec fulfills the protocols in :mod:`rdpipe.core.protocols`."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rdpipe.codecs import bitstream
from rdpipe.codecs.extraction import forward_bits
from rdpipe.codecs.gain import NotDifferentiableError, decoder_gain
from rdpipe.codecs.sent_latents import (
    FEW,
    IntegerWalk,
    RepeatingWalk,
    ValidatingWalk,
    find_difference,
    find_rounding,
)
from rdpipe.codecs.structure import find_structure
from rdpipe.core.assembly import Whole, assemble
from rdpipe.core.device import raise_lack_of_memory
from rdpipe.core.errors import InputError, describe
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.protocols import Codec, Image, SupportsCoder, SupportsForward
from rdpipe.core.running import decode_image, decodes, run, to_image, to_tensor
from rdpipe.core.walk import Coded, Walk
from rdpipe.entropy.coder import Encoder
from rdpipe.entropy.coding_walk import CodingWalk
from rdpipe.entropy.precision import in_float64
from rdpipe.entropy.priors import Gaussian

SMALLEST = 64
"""Least side of the image, pixels: codecs may refuse smaller images."""
TRACE = 1e-3
"""Share of the values of an image that may differ by one level, because of rounding errors."""
BITS_TOLERANCE = 0.02
"""Relative difference of the bits of the priors from the model's own, because of rounding errors of
likelihoods in float32 and of what they add to each probability."""
GENIE = " are a genie's in every cell but the codec's own"
INTEGERS = "; it rounds to integers, without the feedback of the context model"


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
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise InputError(
            f"the image has {width} x {height} pixels; expected at least {SMALLEST} on each side"
        )
    if not isinstance(codec, Codec):
        yield Finding(False, f"{type(codec).__name__} is not a Codec: {_missing(codec)}")
        return
    if problem := _signature_problem(codec):
        yield Finding(False, problem)
        return
    try:
        unused = copy.deepcopy(codec)  # a second instance, which has not seen any image
        yield from _check_capabilities(codec)
        odd_size = np.ascontiguousarray(image[: height - 1, : width - 3])
        for pixels in (image, odd_size):
            for passed, message in _check_image(codec, copy.deepcopy(unused), pixels):
                yield Finding(passed, f"{pixels.shape[1]} x {pixels.shape[0]}: {message}")
        yield from _describe_structure(codec)
        yield from _check_gradient(codec, image)
    except InputError as error:
        yield Finding(False, str(error))
    except Exception as error:  # a user's codec may raise anything
        raise_lack_of_memory(error)
        yield Finding(False, f"it raised {describe(error)}")


def _missing(codec: object) -> str:
    """Return what an object without the method ``code`` lacks."""
    if all(callable(getattr(codec, name, None)) for name in ("analyse", "synthesise")):
        return (
            "it has analyse and synthesise but no method code; wrap it in"
            " rdpipe.codecs.two_methods.TwoMethods"
        )
    return "it has no method code(image, size, send) (rdpipe/core/protocols.py)"


def _signature_problem(codec: Codec) -> str | None:
    """Return what is wrong with the parameters of ``code``."""
    signature = inspect.signature(codec.code)
    try:
        signature.bind(None, (0, 0), None)
    except TypeError:
        return f"its method is code{signature}; expected code(self, image, size, send)"
    return None


def _check_capabilities(codec: Codec) -> Iterator[Finding]:
    """Check which optional capabilities the codec has."""
    has = {name: callable(getattr(codec, name, None)) for name in ("compress", "decompress")}
    if len(set(has.values())) > 1:
        present, absent = sorted(has, key=lambda name: not has[name])
        yield Finding(False, f"it has {present} without {absent}; expected both or none")
    if not decodes(codec) and not isinstance(codec, SupportsCoder):
        yield Finding(True, "it has no bitstream: its curve is called achievable, not achieved")


def _check_image(codec: Codec, unused: Codec, image: Image) -> Iterator[Finding]:
    """Check the latents, the decoded image and the bits of one image."""
    walk = ValidatingWalk()
    decoded = run(codec, walk, image)
    if problem := _image_problem(decoded, to_tensor(codec, image)):
        yield Finding(False, f"code returned {problem}")
        return
    pixels = to_image(decoded, *image.shape[:2])
    wholes = assemble(walk.record)
    main = [whole for whole in wholes.values() if not whole.side]
    if not main:
        yield Finding(False, "code sends no latent that is not side information; expected one")
        return
    quality = psnr(mean_squared_error(image, pixels)).item()
    hint = "" if quality > 10 else "; expected pixels in [0, 1], and latents in units of their step"
    yield Finding(quality > 10, f"rounded latents decode to {quality:.2f} dB{hint}")
    for whole in main:
        if problem := find_rounding(whole):
            yield Finding(False, f"{problem}; expected y before quantization")
        yield _check_scale(whole, image)
    yield from _check_repetition(codec, image, walk.record)
    bits = _sum_bits(wholes)
    yield from _check_forward(codec, image, pixels, bits)
    yield from _check_decoder(codec, unused, image, pixels, walk.record, bits)


def _image_problem(decoded: Tensor, image: Tensor) -> str | None:
    """Return what is wrong with a decoded image."""
    if decoded.shape != image.shape:
        return f"shape {tuple(decoded.shape)}; expected that of the image, {tuple(image.shape)}"
    if not decoded.is_floating_point():
        return f"{decoded.dtype}; expected floating-point values in [0, 1]"
    return None if decoded.isfinite().all() else "pixels that are not finite"


def _check_scale(whole: Whole, image: Image) -> Finding:
    """Check that the scale is the standard deviation of the residuals."""
    fields = (whole.y, whole.mean, whole.scale, whole.step)
    y, mean, scale, step = (x.double()[whole.bits > 0] for x in fields)
    point = mean + step * ((y - mean) / step).round()
    bits = Gaussian(mean, scale).bits(point, step).sum(), whole.bits.sum()
    gaussian_rate, codec_rate = (x.item() / (image.shape[0] * image.shape[1]) for x in bits)
    ratio = ((y - mean).square().mean() / scale.square().mean()).sqrt().item()
    passed = 1 / 3 < ratio < 3 or len(y) < FEW
    hint = "" if passed else "; is prior.scale a standard deviation, in the units of y?"
    return Finding(
        passed,
        f"latent {whole.name!r} costs {gaussian_rate:.4f} bit/pixel under N(mean, scale^2),"
        f" {codec_rate:.4f} under the codec's own prior; the root mean square of y - mean is"
        f" {ratio:.2f} times that of scale{hint}",
    )


def _check_repetition(codec: Codec, image: Image, record: list[Coded]) -> Iterator[Finding]:
    """Check that the same image gives the same latents, also after another image."""
    hints = {
        "the second time": "is the model in eval mode?",
        "after another image was coded": "expected nothing of an image to stay in the codec",
    }
    for when, hint in hints.items():
        again = Walk()
        run(codec, again, image)
        if problem := find_difference(record, again.record, ("y", "offset", "step")):
            yield Finding(False, f"code sends different latents {when} ({problem}); {hint}")
            return
        run(codec, Walk(), np.ascontiguousarray(255 - image[::-1, ::-1]))


def _check_forward(codec: Codec, image: Image, pixels: Image, bits: float) -> Iterator[Finding]:
    """Check that the model's own forward pass has the same image and the same bits.

    A training graph may round to integers without the feedback of its context model, and has
    another image and other bits then. It is told apart by two facts: priors depend on decoded
    latents, and code gives the image of the forward pass if it decodes integers. Its bits are
    compared with those of that run. Without a method ``forward``, they are the second fact.
    """
    if isinstance(codec, SupportsForward):
        with torch.no_grad():
            decoded = to_image(codec.forward(to_tensor(codec, image)), *image.shape[:2])
        same, difference = _compare(decoded, pixels)
        hint = "" if same else "; expected code to do what the model's forward pass does"
        integers = None if same else _code_integers(codec, image)
        if integers is not None and _compare(decoded, integers[0])[0]:
            same, bits = True, integers[1]
            hint = f"{INTEGERS}. If the model's coder rounds to integers, too, pass offset=0.0"
        yield Finding(same, f"forward and code: {difference}{hint}")
    expected = forward_bits(codec, image)
    if math.isnan(expected):
        return
    hint = ""
    if not (isinstance(codec, SupportsForward) or _same_bits(bits, expected)):
        integers = _code_integers(codec, image)
        if integers is not None and _same_bits(integers[1], expected):
            bits, hint = integers[1], INTEGERS
    if not (passed := _same_bits(bits, expected)):
        hint = (
            f"; expected a difference of {BITS_TOLERANCE:.0%} at most: is prior the density of the"
            " model's likelihoods, in the units of y, with their least value?"
        )
    ratio = bits / expected if expected else math.inf
    yield Finding(
        passed,
        f"{bits:.0f} bit according to the priors, {expected:.0f} according to forward_bits"
        f" ({ratio:.3f} times){hint}",
    )


def _code_integers(codec: Codec, image: Image) -> tuple[Image, float] | None:
    """Return image and bits if code decodes integers; None if its priors have no context."""
    if not find_structure(codec).priors_follow_past:
        return None
    walk = IntegerWalk()
    return decode_image(codec, walk, image), _sum_bits(assemble(walk.record))


def _same_bits(bits: float, expected: float) -> bool:
    return expected > 0 and abs(bits / expected - 1) <= BITS_TOLERANCE


def _sum_bits(wholes: Mapping[str, Whole]) -> float:
    return sum(whole.bits.sum().item() for whole in wholes.values())


def _compare(decoded: Image, expected: Image) -> tuple[bool, str]:
    """Return whether images are the same up to rounding errors, and how they differ."""
    difference = np.abs(decoded.astype(int) - expected)
    share, largest = (difference > 0).mean(), difference.max()
    return bool(largest <= 1 and share <= TRACE), (
        f"{share:.2%} of the values differ, by up to {largest} levels" if largest else "same image"
    )


def _check_decoder(
    codec: Codec, unused: Codec, image: Image, pixels: Image, record: list[Coded], bits: float
) -> Iterator[Finding]:
    """Check that another instance decodes the image without it, and the length of real bytes."""
    if isinstance(codec, SupportsCoder) and isinstance(unused, SupportsCoder):
        stream = codec.compress(image)
        same, difference = _compare(unused.decompress(stream), pixels)
        hint = "" if same else "; expected a coder that rounds the latents that code sends"
        yield Finding(same, f"decompress and code: {difference}{hint}")
        yield _check_length(stream, bits, pixels, True)
    if not decodes(codec):
        return
    problem = _decoder_problem(unused, image, pixels, record)
    if problem:
        hint = "a decoder has no image: expected all that it needs of it from send"
        yield Finding(False, f"code(None, ...) {problem}; {hint}")
        return
    try:
        stream = bitstream.encode(codec, image)
        with in_float64(codec) as precise:
            expected = decode_image(precise, CodingWalk(Encoder()), image)
    except (RuntimeError, TypeError, ValueError) as error:
        raise_lack_of_memory(error)
        hint = "expected no float32 in code, or a method to_float64"
        yield Finding(False, f"code in float64, for bitstreams, raised {describe(error)}; {hint}")
        return
    same = np.array_equal(bitstream.decode(unused, stream), expected)
    hint = "the image" if same else "another image; expected the same computations in both"
    yield Finding(same, f"code(None, ...) decodes real bytes to {hint}")
    yield _check_length(stream, bits, pixels, False)


def _decoder_problem(unused: Codec, image: Image, pixels: Image, record: list[Coded]) -> str | None:
    """Return what an instance that has seen no image does otherwise, given the same latents."""
    walk = RepeatingWalk(record)
    try:
        decoded = decode_image(unused, walk, size=(image.shape[0], image.shape[1]))
    except Exception as error:  # a user's codec may raise anything
        raise_lack_of_memory(error)
        return f"raised {describe(error)}"
    if problem := find_difference(record, walk.record, ("offset", "step")):
        return f"sends something else than the encoder ({problem})"
    same, difference = _compare(decoded, pixels)
    return None if same else f"returns another image ({difference})"


def _check_length(stream: bytes, bits: float, pixels: Image, has_own_coder: bool) -> Finding:
    """Check that real bytes are as many as the priors say.

    Those of rdpipe may be fewer: its coder spends less on elements that the prior does not expect.
    """
    count, real = pixels.shape[0] * pixels.shape[1], 8 * len(stream)
    hint = ""
    if has_own_coder and real < 0.99 * bits:
        hint = "; bytes cannot be shorter: expected the likelihood with which the coder codes"
    elif real > 1.02 * bits + 1000:
        hint = "; they must be the same except for the overhead of the coder"
    return Finding(
        not hint,
        f"{real / count:.4f} bit/pixel in real bytes, {bits / count:.4f} according to the priors"
        f"{hint}",
    )


def _describe_structure(codec: Codec) -> Iterator[Finding]:
    """Yield a finding on what of the codec depends on decoded latents."""
    structure = find_structure(codec)
    message = "its latents and priors do not depend on decoded latents: they hold in every cell"
    if structure.latents_follow_past:
        message = "its latents depend on decoded latents: stored latents and statistics" + GENIE
    elif structure.grid_follows_past:
        message = (
            "its steps, or which elements it codes, depend on decoded latents: stored latents and"
            " statistics" + GENIE
        )
    elif structure.priors_follow_past:
        message = "its priors depend on decoded latents: stored statistics" + GENIE
    yield Finding(True, message)
    if structure.image_needs_side:
        yield Finding(True, "its image depends on side information: every cell transmits it")


def _check_gradient(codec: Codec, image: Image) -> Iterator[Finding]:
    """Yield a finding on the gradient of the image with respect to the latents."""
    consequence = "refinement of latents and weighted-test-channel cannot be used"
    try:
        gains = decoder_gain(codec, "check", image)
    except NotDifferentiableError as error:
        yield Finding(True, f"{error}: {consequence}")
    except InputError as error:
        yield Finding(False, str(error))
    else:
        unused = [name for name, gain in gains.items() if not gain.any()]
        hint = f", but not to {', '.join(unused)}" if unused else ""
        yield Finding(True, f"its image has a gradient with respect to the latents{hint}")
