"""Variable-rate models: one codec per stage."""

import pytest
import torch
from small_models import IMAGE, QUALITY, VARIABLE_RATE, adapt, coding_model

from rdpipe.codecs.compressai import VariableRateCodec, VariableRateContextCodec, adapt_model
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import SupportsContext


@pytest.mark.parametrize("architecture", sorted(VARIABLE_RATE))
def test_class_of_the_codec_depends_on_the_context_model(architecture):
    codec = adapt(coding_model(architecture))
    assert isinstance(codec, VariableRateCodec)
    assert isinstance(codec, VariableRateContextCodec) == isinstance(codec, SupportsContext)
    assert isinstance(codec, SupportsContext) == (architecture == "mbt2018-vbr")


def test_latents_are_in_steps_of_the_stage():
    model = coding_model("mbt2018-mean-vbr")
    first, second = (adapt_model(model, quality, "cpu") for quality in (1, QUALITY))
    ratio = model.Gain[QUALITY - 1].abs() / model.Gain[0].abs()
    latents, other = (codec.analyse("a", IMAGE).latents.y for codec in (first, second))
    torch.testing.assert_close(other, latents * ratio.detach())
    assert first.compress(IMAGE) != second.compress(IMAGE)


def test_reconstruction_moves_only_latents_that_are_not_rounded_to_zero():
    codec = adapt(coding_model("mbt2018-mean-vbr"))
    latents = codec.analyse("a", IMAGE).latents
    index = (latents.y - latents.mean).round()
    y_hat = codec.reconstruct(index + latents.mean, latents.mean, latents.scale)
    offset = y_hat - latents.mean - index
    assert (offset[index == 0].abs() < 1e-6).all() and (offset[index != 0] != 0).any()


def test_quality_that_is_not_an_integer_is_refused():
    model = coding_model("mbt2018-mean-vbr")
    with pytest.raises(InputError, match="quality 2.5 is not an integer; expected 1 to"):
        adapt_model(model, 2.5, "cpu")


def test_model_without_variable_rate_is_refused():
    with pytest.raises(InputError, match="MeanScaleHyperprior is not a variable-rate model"):
        VariableRateCodec(coding_model("mbt2018-mean"), 1, "cpu")


@pytest.mark.parametrize("quality", [0, 9])
def test_unknown_quality_is_refused(quality):
    model = coding_model("mbt2018-mean-vbr")
    with pytest.raises(InputError, match=f"quality {quality} does not exist; expected 1 to"):
        adapt_model(model, quality, "cpu")
