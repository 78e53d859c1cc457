"""Variable-rate models: one codec per stage."""

import pytest
import torch
from small_models import (
    IMAGE,
    QUALITY,
    VARIABLE_RATE,
    adapt,
    coding_model,
    record_of,
    wholes_of,
    y_of,
)

from rdpipe.codecs.compressai import VariableRateCodec, adapt_model
from rdpipe.core.errors import InputError


@pytest.mark.parametrize("architecture", sorted(VARIABLE_RATE))
def test_class_of_the_codec_is_that_of_variable_rates(architecture):
    assert type(adapt(coding_model(architecture))) is VariableRateCodec


def test_latents_are_in_steps_of_the_stage():
    model = coding_model("mbt2018-mean-vbr")
    first, second = (adapt_model(model, quality, "cpu") for quality in (1, QUALITY))
    ratio = model.Gain[QUALITY - 1].abs() / model.Gain[0].abs()
    whole, other = y_of(first), y_of(second)
    torch.testing.assert_close(other.y, whole.y * ratio.detach())
    assert (whole.step == 1).all() and (other.step == 1).all()
    assert first.compress(IMAGE) != second.compress(IMAGE)


@pytest.mark.parametrize("architecture", sorted(VARIABLE_RATE - {"mbt2018-vbr"}))
def test_hyper_latents_have_the_step_of_the_stage(architecture):
    model = coding_model(architecture)
    codecs = [adapt_model(model, quality, "cpu") for quality in range(1, model.levels + 1)]
    steps = []
    for codec in codecs:
        z = wholes_of(codec)["z"]
        assert z.side and (z.y - z.offset - z.step * z.index).abs().max() <= z.step.max() / 2 + 1e-6
        steps.append(z.step.unique().item())
    with torch.no_grad():
        inverse_gains = [1 / model.Gain[stage].abs().view(1) for stage in range(model.levels)]
        expected = [model.gayn2zqstep(gain).item() for gain in inverse_gains]
    least = model.lower_bound_zqstep.bound.item()
    assert steps == pytest.approx([max(step, least) for step in expected])


@pytest.mark.parametrize("architecture", sorted(VARIABLE_RATE))
def test_reconstruction_moves_only_latents_that_are_not_rounded_to_zero(architecture):
    model = coding_model(architecture)
    codec, gain = adapt(model), model.Gain[QUALITY - 1].abs().detach()
    parts = [coded for coded in record_of(codec) if coded.part.name == "y"]
    offsets, indices = [], []
    for coded in parts:
        prior = coded.part.prior
        y_hat = coded.part.point(coded.index).float()
        y_of_model = codec._correct(y_hat, prior)
        offsets.append((gain * y_of_model - prior.mean - coded.index).flatten())
        indices.append(coded.index.flatten())
    offset, index = torch.cat(offsets), torch.cat(indices)
    moved = -offset * index.sign()  # towards zero
    assert (offset[index == 0].abs() < 1e-6).all() and (moved[index != 0] != 0).any()
    assert moved.abs().max() < 0.5


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
