"""A user's part that claims to know less than it uses is refused; a genie never becomes a bound."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from gaussian_latents import make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.estimators.base import Variance
from rdpipe.estimators.means import CodecMean
from rdpipe.estimators.variances import CausalWindowVariance, CodecVariance, ElementVariance
from rdpipe.evaluation import evaluate
from rdpipe.quantizers.base import QuantizerOutput
from rdpipe.quantizers.scalar import Dithered, Rounding
from rdpipe.quantizers.test_channel import TestChannel

LATENTS = make_latents(3 * normal((2, 6, 5)), scale=3.0)


class StatedBits(Variance):
    """States a few bits for what it sees, but has no code for it."""

    information = Information.DECODABLE

    def __call__(self, latents, residual):
        return residual.square() + 1e-6, 1e-9


class FreeTransmission(CausalWindowVariance):
    """Inherits a transmitter, but does not use it."""

    def __call__(self, latents, residual):
        return residual.square() + 1e-6, 0.0


class HiddenGenie(CodecVariance):
    """Turns into a genie when the mean is known."""

    def for_mean(self, mean_name):
        return ElementVariance()


class Remembering(CodecMean):
    """Remembers the latents of an image by its name."""

    memory: ClassVar = {}

    def __call__(self, latents):
        return self.memory.setdefault(latents.name, latents.y)


class UnchargedScale(Variance):
    """Uses the codec's scale, but claims to need no side information."""

    information = Information.DECODABLE
    uses_side = uses_context = False

    def __call__(self, latents, residual):
        return latents.scale.square(), 0.0


class UnchargedHyperScale(UnchargedScale):
    """Uses the scale without context, but claims to need no side information."""

    def __call__(self, latents, residual):
        return latents.hyper_scale.square(), 0.0


class HyperScale(UnchargedHyperScale):
    """Says that it needs side information, but no context."""

    uses_side = True


class UnclearFlag(CodecVariance):
    """Has a flag that is not a bool."""

    uses_side = "no"


class ClaimedCodec(CodecMean):
    """Claims to be the codec's own mean."""

    is_codec = True

    def __call__(self, latents):
        return 0.9 * latents.mean


class NegativeChannel(TestChannel):
    """Has negative rates."""

    def code(self, r, v, level, noise=None):
        return replace(super().code(r, v, level, noise), bits=torch.full_like(r, -1))


class NegativeRate(Rounding):
    """Has negative code lengths."""

    def rate(self, k, v, step, noise):
        return torch.full_like(k, -3)


class WrongDistortion(Rounding):
    """States a distortion that its residual does not have."""

    def code(self, r, v, level, noise=None):
        output = super().code(r, v, level, noise)
        return QuantizerOutput(output.bits, torch.zeros_like(r), output.residual)


class ErasedNoise(Dithered):
    """Changes the noise that cells share."""

    def code(self, r, v, level, noise=None):
        output = super().code(r, v, level, noise)
        noise.zero_()
        return output


class ErasedResidual(CodecVariance):
    """Changes the residuals behind PyTorch's back."""

    def __call__(self, latents, residual):
        residual.data.mul_(0)
        return super().__call__(latents, residual)


@pytest.mark.parametrize(
    "axis, part, message",
    [
        ("variance", StatedBits, "states 1e-09 bits, but transmits 0"),
        ("variance", FreeTransmission, "states 0 bits, but transmits 16"),
        ("variance", HiddenGenie, "is decodable, but its for_mean returns a genie"),
        ("mean", Remembering, "returned numbers that are not finite|depends on the latents"),
        ("variance", UnchargedScale, "on a prediction of the codec that it claims not to use"),
        ("variance", UnclearFlag, "uses_side 'no'; expected True or False"),
        ("mean", ClaimedCodec, "overrides is_codec"),
        ("quantizer", NegativeChannel, "returned negative bits"),
        ("quantizer", NegativeRate, "returned negative bits"),
        ("quantizer", WrongDistortion, "not the squared error of its residual"),
    ],
)
def test_false_claims_are_refused(axis, part, message):
    axes = {"mean": ["codec"], "variance": ["codec"], "quantizer": ["rounding"]}
    axes[axis] = {"mine": {"use": f"{__name__}:{part.__name__}"}}
    with pytest.raises(InputError, match=message):
        evaluate(LATENTS, *axes.values())


@pytest.mark.parametrize("axis, part", [("variance", ErasedResidual), ("quantizer", ErasedNoise)])
def test_a_user_defined_part_cannot_change_other_cells(axis, part):
    mine = {"mine": {"use": f"{__name__}:{part.__name__}"}}
    variances = {**(mine if axis == "variance" else {}), "codec": {}}
    quantizers = {**(mine if axis == "quantizer" else {}), "dithered": {}, "test-channel": {}}
    bits = evaluate(LATENTS, ["codec"], variances, quantizers)["bits"].sel(variance="codec")
    alone = evaluate(LATENTS, ["codec"], ["codec"], ["dithered", "test-channel"])["bits"]
    for name in ("dithered", "test-channel"):
        expected = alone.sel(quantizer=name).values.ravel()
        assert (bits.sel(quantizer=name).values.ravel() == expected).all()


@pytest.mark.parametrize("value", [np.array(["decodable"]), 1, None, "Genie"])
def test_information_is_a_text_or_a_member(value):
    with pytest.raises(InputError, match="is not a valid information; expected one of"):
        Information.parse(value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scale": -LATENTS.scale}, "the scale of image .* is negative"),
        ({"own_bits": -torch.ones_like(LATENTS.y)}, "own_bits of image .* are negative or NaN"),
        ({"own_bits": LATENTS.y.new_ones(1)}, r"own_bits of image .* has shape \(1,\)"),
    ],
)
def test_invalid_latents_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        evaluate(replace(LATENTS, **changes), ["codec"], ["codec"], ["codec"])


def test_images_of_a_codec_all_have_a_context_model_or_none():
    context = replace(LATENTS, name="b", hyper=LATENTS.mean)
    with pytest.raises(InputError, match="only one of them has hyper"):
        evaluate([LATENTS, context], ["codec"], ["codec"], ["rounding"])


def test_the_codecs_own_prior_has_the_codecs_step():
    entry = {"codec": {"args": {"step": 0.1}}}
    with pytest.raises(InputError, match="step is 0.1; expected 1"):
        evaluate(LATENTS, ["codec"], ["codec"], entry)


def test_scale_without_context_is_side_information_and_needs_no_context_model():
    context = replace(LATENTS, hyper=LATENTS.mean, hyper_scale=LATENTS.scale)
    entry = {"mine": {"use": f"{__name__}:UnchargedHyperScale"}}
    message = "on a prediction of the codec that it claims not to use"
    with pytest.raises(InputError, match=message):
        evaluate(context, ["codec"], entry, ["rounding"])
    variances = {"mine": {"use": f"{__name__}:HyperScale"}, "hyper": {}}
    array = evaluate(context, ["hyper"], variances, ["rounding"])
    assert set(array["kind"].values.flat) == {"achievable"} and array["includes_side"].all()
    first, second = array["bits"].squeeze().values
    assert first == second
