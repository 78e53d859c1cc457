"""The check of a codec passes working codecs, and names every mistake of others."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from rdpipe.codecs.compressai import mini_context, mini_mean_scale
from rdpipe.codecs.conformance import check
from rdpipe.codecs.linear import BlockTransform
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import Analysis

IMAGE = np.kron(
    np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
)
METHODS = (
    "analyse",
    "synthesise",
    "compress",
    "decompress",
    "side",
    "predict",
    "stride",
    "decoder_gain",
)


class ChangedCodec:
    """A working codec, of which a test changes methods."""

    def __init__(self, make=mini_mean_scale, methods=METHODS):
        self.codec = make(1, "cpu")
        for name in methods:
            setattr(self, name, getattr(self.codec, name))

    def change_latents(self, **changes):
        def analyse(name, image):
            analysis = self.codec.analyse(name, image)
            fields = {k: change(getattr(analysis.latents, k)) for k, change in changes.items()}
            return replace(analysis, latents=replace(analysis.latents, **fields))

        self.analyse = analyse

    def change_analysis(self, **fields):
        self.analyse = lambda *args: replace(self.codec.analyse(*args), **fields)


def set_method(name, method):
    """Return a change that replaces a method by ``method(codec, *args)``."""
    return lambda codec: setattr(codec, name, lambda *args: method(codec.codec, *args))


def use_wrong_own_bits(codec):
    def analyse(name, image):
        analysis = codec.codec.analyse(name, image)
        own_bits = torch.ones_like(analysis.latents.y)
        return replace(analysis, latents=replace(analysis.latents, own_bits=own_bits))

    codec.analyse = analyse


def fail(codec, name, image):
    raise RuntimeError("boom")


MISTAKES = {
    "ChangedCodec is not a Codec: it has no method synthesise": lambda c: delattr(c, "synthesise"),
    "it has compress without decompress; expected both": lambda c: delattr(c, "decompress"),
    "it has predict without side; expected both or none": lambda c: delattr(c, "side"),
    "analyse returned a str; expected .*Analysis": set_method("analyse", lambda *args: "latents"),
    "different latents the second time": lambda c: c.change_latents(
        y=lambda y: y + 0.1 * torch.randn_like(y)
    ),
    r"mean has shape \(1, ": lambda c: c.change_latents(mean=lambda mean: mean[:1]),
    "scale must be positive": lambda c: c.change_latents(scale=lambda scale: 0 * scale),
    "scale has values that are not finite": lambda c: c.change_latents(scale=lambda s: s / 0),
    "is scale a standard deviation": lambda c: c.change_latents(scale=lambda scale: 9 * scale),
    "gain is set by analyse": lambda c: c.change_latents(gain=lambda gain: torch.ones(3)),
    "mean is a ndarray; expected": lambda c: c.change_latents(mean=lambda mean: mean.numpy()),
    "y is of torch.int64": lambda c: c.change_latents(y=lambda y: y.long()),
    "the latents are named 'other'": lambda c: c.change_latents(name=lambda name: "other"),
    "the sum of own_bits is": use_wrong_own_bits,
    "side information has -": lambda c: c.change_analysis(side_bits=-1e5),
    "it is the sum over pixels": set_method(
        "decoder_gain", lambda codec, *args: 255**2 * codec.decoder_gain(*args)
    ),
    r"104 x 72: decoder_gain returned shape \(1, ": set_method(
        "decoder_gain", lambda codec, *args: codec.decoder_gain(*args)[None]
    ),
    "decodes to another image": lambda c: c.change_latents(y=lambda y: 2 * y, mean=lambda m: 2 * m),
    "latents in units of the quantization step": set_method(
        "synthesise", lambda codec, *args: np.uint8(255 - 255 * (codec.synthesise(*args) > 127))
    ),
    "synthesise returns float64": set_method(
        "synthesise", lambda codec, *args: codec.synthesise(*args) / 255
    ),
    "they must be the same": set_method(
        "compress", lambda codec, x: codec.compress(x) + bytes(9999)
    ),
    "predict does not return the mean": set_method(
        "predict", lambda codec, *args: (codec.predict(*args)[0] + 1, None)
    ),
    r"it raised RuntimeError: boom \(test_conformance.py, line": set_method("analyse", fail),
}
CONTEXT_MISTAKES = {
    "expected latents with hyper": lambda c: c.change_latents(hyper=lambda hyper: None),
    "recode with the codec's own rounding does not return": set_method(
        "recode", lambda codec, *args: codec.recode(*args) + 1
    ),
}


def failed(codec):
    """Return the messages of the failed findings."""
    return [message for passed, message in check(codec, IMAGE) if not passed]


@pytest.mark.parametrize("make", [mini_mean_scale, mini_context])
def test_working_codec_passes(make):
    codec = make(1, "cpu")
    findings = list(check(codec, IMAGE))
    assert all(finding.passed for finding in findings) and len(findings) > 8
    assert failed(ChangedCodec()) == []


@pytest.mark.parametrize("message", MISTAKES)
def test_mistake_is_named(message):
    codec = ChangedCodec()
    MISTAKES[message](codec)
    problems = failed(codec)
    assert any(re.search(message, problem) for problem in problems), problems


@pytest.mark.parametrize("message", CONTEXT_MISTAKES)
def test_mistake_of_a_context_model_is_named(message):
    codec = ChangedCodec(mini_context, (*METHODS, "recode"))
    assert failed(codec) == []
    CONTEXT_MISTAKES[message](codec)
    problems = failed(codec)
    assert any(re.search(message, problem) for problem in problems), problems


def test_missing_stride_is_reported_if_it_cannot_be_derived():
    codec = ChangedCodec()
    delattr(codec, "stride")
    problems = failed(codec)
    assert problems and all("apart; expected an attribute stride" in p for p in problems)


@pytest.mark.parametrize(
    "methods, message",
    [
        (("compress", "decompress"), "it has no bitstream: its curve is called achievable"),
        (("side", "predict"), "it has no side and predict: cells that use its side information"),
        (("decoder_gain",), "it has no decoder_gain: weighted-test-channel cannot be fitted"),
    ],
)
def test_missing_capability_is_reported_and_is_not_a_problem(methods, message):
    codec = ChangedCodec()
    assert not any(message in finding.message for finding in check(codec, IMAGE))
    for method in methods:
        delattr(codec, method)
    findings = list(check(codec, IMAGE))
    assert all(finding.passed for finding in findings)
    assert any(message in finding.message for finding in findings)


def test_codec_of_gray_images_is_reported_as_raising():
    """The check is of color images."""
    codec = BlockTransform(np.eye(64), np.ones(64), np.ones(4), 1.0)
    assert any("it raised InputError" in problem for problem in failed(codec))


def test_minimal_codec_passes():
    class Identity:
        """Latents are pixels divided by a step of 8."""

        def analyse(self, name, image):
            y = torch.from_numpy(image.transpose(2, 0, 1) / 8.0 - 16)
            mean, scale = torch.zeros_like(y), torch.full_like(y, 9.0)
            return Analysis(Latents(name, y, mean, scale), 6.0 * y.numel(), 0.0)

        def synthesise(self, y_hat, height, width):
            pixels = (8 * (y_hat + 16)).clamp(0, 255).round()
            return pixels.byte().numpy().transpose(1, 2, 0)

    assert failed(Identity()) == []


def test_small_image_is_refused():
    with pytest.raises(InputError, match="the image has 1 x 3 pixels; expected at least 64"):
        list(check(ChangedCodec(), IMAGE[:3, :1]))
