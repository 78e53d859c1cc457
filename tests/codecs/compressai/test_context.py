"""Decoding order: what the context model predicts is what the entropy coder uses."""

import pytest
import torch
from small_models import CONTEXT, IMAGE, RASTER_SCAN, adapt

from rdpipe.codecs.compressai import context
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import SupportsContext, SupportsReconstruction
from rdpipe.evaluation.cell import Cell


@pytest.mark.parametrize(
    "architecture", sorted(RASTER_SCAN - {"mbt2018-vbr"}), indirect=True
)  # that one does not round in a method that can be observed
def test_raster_scan_uses_the_means_of_the_entropy_coder(model, monkeypatch):
    codec, used = adapt(model), []
    latents = codec.analyse("a", IMAGE).latents
    quantize = codec.model.gaussian_conditional.quantize

    def record(inputs, mode, means):
        used.append(means[0].clone())
        return quantize(inputs, mode, means)

    monkeypatch.setattr(codec.model.gaussian_conditional, "quantize", record)
    codec.compress(IMAGE)
    assert torch.equal(latents.mean.flatten(1), torch.stack(used, 1))


@pytest.mark.parametrize("architecture", sorted(RASTER_SCAN), indirect=True)
def test_bits_of_forward_are_reported_beside_those_of_the_coder(model):
    analysis = adapt(model).analyse("a", IMAGE)
    coded = analysis.latent_bits + analysis.side_bits
    assert 0 < abs(analysis.forward_bits / coded - 1) < 0.1


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - CONTEXT), indirect=True)
def test_codec_without_context_model_does_not_support_recoding(model):
    assert not isinstance(adapt(model), SupportsContext)


@pytest.mark.parametrize("architecture", sorted(CONTEXT), indirect=True)
def test_recoding_with_rounding_returns_the_codecs_own_latents(model):
    codec = adapt(model)
    latents = codec.analyse("a", IMAGE).latents
    y = latents.y.flatten(1)

    def code(channels, positions, mean, scale):
        y_hat = (y[channels][:, positions] - mean).round() + mean
        if isinstance(codec, SupportsReconstruction):
            y_hat = codec.reconstruct(y_hat, mean, scale)
        return y_hat

    rounded = code(slice(None), slice(None), latents.mean.flatten(1), latents.scale.flatten(1))
    torch.testing.assert_close(codec.recode(IMAGE, code).flatten(1), rounded.detach())


@pytest.mark.parametrize("architecture", sorted(CONTEXT), indirect=True)
def test_recoding_predicts_from_the_output_of_the_test_channel(model):
    """The means of a coded cell are predicted again from its own y_hat."""
    codec = adapt(model)
    latents = codec.analyse("a", IMAGE).latents
    entries = {
        "means": {"codec": {}},
        "variances": {"codec": {}},
        "quantizers": {"test-channel": {}},
    }
    cell = Cell.from_entries(CellId("codec", "codec", "test-channel"), entries, {})
    used = {}

    def walk(code):
        def record(channels, positions, mean, scale):
            for position, column in zip(positions.tolist(), mean.T, strict=True):
                used[channels.start, position] = column
            return code(channels, positions, mean, scale)

        return codec.recode(IMAGE, record)

    output = cell.code(cell.prepare(latents), 0.5, walk)
    without_walk = cell.code(cell.prepare(latents), 0.5)
    assert output.bits != without_walk.bits
    assert output.bits == pytest.approx(without_walk.bits, rel=0.2)
    again = {}

    def from_y_hat(channels, positions, mean, scale):
        for position, column in zip(positions.tolist(), mean.T, strict=True):
            again[channels.start, position] = column
        return output.y_hat.flatten(1)[channels][:, positions]

    codec.recode(IMAGE, from_y_hat)
    assert used.keys() == again.keys()
    assert all(torch.allclose(used[key], again[key]) for key in used)


def test_unknown_latent_codec_is_refused():
    with pytest.raises(InputError, match="latent codec of type Identity is not supported"):
        context._decode_latent_codec(torch.nn.Identity(), torch.zeros(1), None)
