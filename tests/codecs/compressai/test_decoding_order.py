"""Decoding order: what the context model predicts is what the entropy coder uses."""

import pytest
import torch
from small_models import (
    CONTEXT,
    IMAGE,
    RASTER_SCAN,
    adapt,
    bits_of,
    latents_of,
    record_of,
    wholes_of,
    y_of,
)

from rdpipe.codecs.compressai import decoding_order
from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.running import to_tensor, visit
from rdpipe.evaluation.cell import Cell
from rdpipe.evaluation.cell_walk import CellOfLatent, CellWalk


@pytest.mark.parametrize(
    "architecture", sorted(RASTER_SCAN - {"mbt2018-vbr"}), indirect=True
)  # that one does not round in a method that can be observed
def test_raster_scan_uses_the_means_of_the_entropy_coder(model, monkeypatch):
    codec, used = adapt(model), []
    mean = y_of(codec).mean
    quantize = codec.model.gaussian_conditional.quantize

    def record(inputs, mode, means):
        used.append(means[0].clone())
        return quantize(inputs, mode, means)

    monkeypatch.setattr(codec.model.gaussian_conditional, "quantize", record)
    codec.compress(IMAGE)
    # products of matrices sum in another order than convolutions
    torch.testing.assert_close(mean.flatten(1), torch.stack(used, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", sorted(RASTER_SCAN), indirect=True)
def test_bits_of_forward_are_reported_beside_those_of_the_coder(model):
    codec = adapt(model)
    coded = sum(bits_of(wholes_of(codec)).values())
    with torch.no_grad():
        forward_bits = codec.forward_bits(to_tensor(codec, IMAGE))
    assert 0 < abs(forward_bits / coded - 1) < 0.1


def test_every_element_is_coded_once(model):
    """Parts are masks, positions, or the whole latent."""
    parts = [coded.part for coded in record_of(adapt(model)) if coded.part.name == "y"]
    counts = torch.zeros(y_shape := y_of(adapt(model)).y.shape)
    for part in parts:
        if part.at is None:
            counts += 1
        elif isinstance(part.at, tuple):
            counts[part.at] += 1
        else:
            counts += part.at[0]
    assert torch.equal(counts, torch.ones(y_shape))


class Recording(CellWalk):
    """Records the parts of y, and what was decoded of them."""

    def __init__(self, cells):
        super().__init__(cells)
        self.coded = []

    def decode(self, part):
        y_hat = super().decode(part)
        if not part.side:
            self.coded.append((part, y_hat))
        return y_hat


class Given(Recording):
    """Decodes given parts of y, one after the other."""

    def __init__(self, y_hats):
        super().__init__({})
        self.y_hats = iter(y_hats)

    def decode(self, part):
        if part.side:
            return super().decode(part)
        self.coded.append((part, next(self.y_hats)))
        return self.coded[-1][1]


@pytest.mark.parametrize("architecture", sorted(CONTEXT), indirect=True)
def test_prediction_is_from_the_output_of_the_test_channel(model):
    """The means of a coded cell are those of its own y_hat, and of no later one."""
    codec, latents = adapt(model), latents_of(adapt(model))
    entries = {
        "means": {"codec": {}},
        "variances": {"codec": {}},
        "quantizers": {"test-channel": {}},
    }
    cell = Cell.from_entries(CellId("codec", "codec", "test-channel"), entries, {})
    walk = Recording({"y": CellOfLatent(cell, 0.5, 0, latents.y.shape)})
    visit(codec, walk, IMAGE)
    without_walk = cell.code(cell.prepare(latents), 0.5)
    assert walk.bits != without_walk.bits
    assert walk.bits == pytest.approx(without_walk.bits, rel=0.2)
    rounded = [coded.part for coded in record_of(codec) if not coded.part.side]
    half = (len(walk.coded) - 1) // 2
    y_hats = [y_hat + (k >= half) for k, (_, y_hat) in enumerate(walk.coded)]
    again = Given(y_hats)
    visit(codec, again, IMAGE)
    assert len(walk.coded) == len(again.coded) == len(rounded) > 1
    same = [
        torch.equal(part.prior.mean, other.prior.mean)
        for (part, _), (other, _) in zip(walk.coded, again.coded, strict=True)
    ]
    assert all(same[: half + 1]) and not all(same)
    assert not torch.equal(walk.coded[-1][0].prior.mean, rounded[-1].prior.mean)


def test_unknown_latent_codec_is_refused():
    model = torch.nn.Module()
    model.latent_codec = torch.nn.ModuleDict({"y": torch.nn.Identity()})
    with pytest.raises(InputError, match="latent codec of type Identity is not supported"):
        decoding_order.decoder(model)
