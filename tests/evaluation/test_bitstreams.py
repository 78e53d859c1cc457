"""Real bytes of cells: they decode exactly and have the length that the cell states."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.codecs.compressai import adapt_model
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.core.axes import CellId, axis_named
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry
from rdpipe.estimators.base import Mean, Variance
from rdpipe.estimators.means import ZeroMean
from rdpipe.estimators.user_estimators import adapt_variance
from rdpipe.estimators.variances import CalibratedVariance, CodecVariance
from rdpipe.evaluation.bitstreams import HEADER, codable_cells, decode, encode
from rdpipe.evaluation.cell import Cell, build_part
from rdpipe.quantizers.base import CodableQuantizer
from rdpipe.quantizers.scalar import Rounding

IMAGE = np.random.default_rng(0).integers(0, 256, (150, 130, 3), dtype=np.uint8)
MEANS = {
    "zero": {},
    "codec": {},
    "linear-causal": {"args": {"groups": 2}},
    "network": {"args": {"steps": 2}},
}
VARIANCES = {"codec": {}, "calibrated": {}, "causal-window": {}, "block-2": {}, "channel": {}}
QUANTIZERS = ("rounding", "dithered", "dithered-wiener", "deadzone", "lattice-e8", "trellis")
TOLERANCE = {"rel": 0.002, "abs": 8 * 64}
"""Of the length of a stream, bit."""


def make_codec(architecture):
    """Return a small codec with random weights, whose latents have a useful scale."""
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture][0](8, 16)
    with torch.no_grad():
        model.g_a[6].weight /= model.g_a(torch.rand(1, 3, 128, 128)).std() / 3
        last = model.entropy_parameters if hasattr(model, "entropy_parameters") else model.h_s
        [layer for layer in last if hasattr(layer, "bias")][-1].bias[:16] += 2
    model.update(force=True, update_quantiles=True)
    return adapt_model(model.eval(), device="cpu")


@pytest.fixture(scope="module")
def codec():
    """Return a codec without a context model."""
    return make_codec("mbt2018-mean")


@pytest.fixture(scope="module")
def latents(codec):
    """Return the latents of the image."""
    return codec.analyse("image", IMAGE).latents


@pytest.fixture(scope="module")
def fits(latents):
    """Return the states of the fitted estimators."""
    states = {}
    for name in ("linear-causal", "network"):
        estimator = build_entry("mean", name, MEANS[name], axis_named("mean").registry)
        states["mean", name] = estimator.fit([latents]).state()
    means = {name: build_part("mean", name, entry, states) for name, entry in MEANS.items()}
    states["variance", "calibrated"] = CalibratedVariance().fit([latents], means).state()
    return states


def cell_of(fits, mean, variance, quantizer):
    """Return a cell of the estimators of this module."""
    entries = {
        "means": MEANS,
        "variances": VARIANCES,
        "quantizers": {name: {} for name in QUANTIZERS},
    }
    return Cell.from_entries(CellId(mean, variance, quantizer), entries, fits)


@pytest.mark.parametrize("mean, variance", itertools.product(MEANS, VARIANCES))
def test_every_mean_and_variance_decodes_exactly(codec, latents, fits, mean, variance):
    cell = cell_of(fits, mean, variance, "rounding")
    stream, y_hat = encode(codec, cell, latents, IMAGE, 1)
    assert torch.equal(decode(codec, cell, stream), y_hat)
    bits = cell.code(cell.prepare(latents, 1), 1.0).bits
    side = len(codec.side(IMAGE)) if cell.includes_side else 0
    assert 8 * (len(stream) - side) == pytest.approx(bits, **TOLERANCE)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("mean, variance", [("codec", "codec"), ("linear-causal", "causal-window")])
def test_every_quantizer_decodes_exactly(codec, latents, fits, mean, variance, quantizer):
    cell = cell_of(fits, mean, variance, quantizer)
    stream, y_hat = encode(codec, cell, latents, IMAGE, 2**64 - 1)
    assert torch.equal(decode(codec, cell, stream), y_hat)
    output = cell.code(cell.prepare(latents, 2**64 - 1), cell.quantizer.level)
    assert torch.equal(output.y_hat, y_hat)
    side = len(codec.side(IMAGE))
    assert 8 * (len(stream) - side) == pytest.approx(output.bits, **TOLERANCE)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_outliers_have_the_stated_length(codec, latents, fits, quantizer):
    far = latents.y.clone()
    some = far.view(-1)[::97]
    some *= 2.0 ** torch.arange(len(some)).clamp(max=25)
    image, cell = replace(latents, y=far), cell_of(fits, "codec", "codec", quantizer)
    stream, y_hat = encode(codec, cell, image, IMAGE, 3)
    assert torch.equal(decode(codec, cell, stream), y_hat)
    output = cell.code(cell.prepare(image, 3), cell.quantizer.level)
    usual = cell.code(cell.prepare(latents, 3), cell.quantizer.level)
    side = len(codec.side(IMAGE))
    assert 8 * (len(stream) - side) == pytest.approx(output.bits, **TOLERANCE)
    assert output.bits - usual.bits < 90 * (far != latents.y).sum()


@pytest.mark.parametrize("architecture", ["mbt2018-mean", "bmshj2018-hyperprior"])
def test_decoder_predicts_what_the_encoder_did(architecture):
    codec = make_codec(architecture)
    latents = codec.analyse("image", IMAGE).latents
    mean, scale = codec.predict(codec.side(IMAGE), *IMAGE.shape[:2])
    assert torch.equal(mean, latents.mean) and torch.equal(scale, latents.scale)


def test_codec_with_a_context_model_has_cells_that_do_not_use_it():
    codec = make_codec("mbt2018-checkerboard")
    latents = codec.analyse("image", IMAGE).latents
    mean, _ = codec.predict(codec.side(IMAGE), *IMAGE.shape[:2])
    assert torch.equal(mean, latents.hyper) and not torch.equal(mean, latents.mean)
    entries = {
        "means": {"codec": {}, "hyper": {}, "zero": {}},
        "variances": {"codec": {}, "channel": {}, "window-3": {}},
        "quantizers": {"rounding": {}, "test-channel": {}},
    }
    cells = codable_cells(entries, {}, context=True)
    assert set(map(str, cells)) == {"hyper/channel/rounding", "zero/channel/rounding"}
    for cell in cells.values():
        stream, y_hat = encode(codec, cell, latents, IMAGE, 0)
        assert torch.equal(decode(codec, cell, stream), y_hat)
        torch.testing.assert_close(y_hat, cell.code(cell.prepare(latents), 1.0).y_hat)
    cell = codable_cells(entries, {})[CellId("codec", "channel", "rounding")]
    with pytest.raises(InputError, match="only the codec's own bitstream codes it"):
        encode(codec, cell, latents, IMAGE, 0)


def test_no_side_information_is_sent_if_none_is_used(codec, latents, fits):
    stream, _ = encode(codec, cell_of(fits, "zero", "channel", "rounding"), latents, IMAGE, 0)
    assert HEADER.unpack_from(stream)[5] == 0


@pytest.mark.parametrize(
    "variance, quantizer", [("element", "rounding"), ("codec", "test-channel")]
)
def test_only_achievable_cells_have_bitstreams(codec, latents, variance, quantizer):
    entries = {
        "means": {"codec": {}},
        "variances": {"element": {}, "codec": {}},
        "quantizers": {"rounding": {}, "test-channel": {}},
    }
    cell = Cell.from_entries(CellId("codec", variance, quantizer), entries, {})
    with pytest.raises(InputError, match="has no bitstream; expected 'achievable'"):
        encode(codec, cell, latents, IMAGE, 0)


class Spy(Mean):
    """The mean 0, which records the latents that it is given."""

    information = "decodable"

    def __init__(self):
        self.latents = []

    def __call__(self, latents):
        self.latents.append(latents.y)
        return 0 * latents.mean


def test_decoder_has_no_latents(codec, latents):
    """An estimator that uses the latents gets NaN in the decoder."""
    spy = Spy()
    cell = make_cell(spy, CodecVariance(), Rounding())
    stream, _ = encode(codec, cell, latents, IMAGE, 0)
    decode(codec, cell, stream)
    assert any(not y.isnan().any() for y in spy.latents) and spy.latents[-1].isnan().all()


class CheatingMean(Mean):
    """A mean that uses the latents but claims to be decodable."""

    information = "decodable"

    def __call__(self, latents):
        return 0.9 * latents.y


class CheatingVariance(Variance):
    """A variance that uses the residuals but claims to be decodable."""

    information = "decodable"

    def __init__(self, bits=0.0):
        self.bits = bits

    def __call__(self, latents, residual):
        return residual.square(), self.bits


@pytest.mark.parametrize(
    "mean, variance, message",
    [
        (
            CheatingMean(),
            CodecVariance(),
            "mean 'mean' depends on the latents that are being coded",
        ),
        (
            ZeroMean(),
            CheatingVariance(),
            "variance 'variance' depends on the latents that are being",
        ),
    ],
)
def test_genie_that_claims_to_be_decodable_is_not_encoded(codec, latents, mean, variance, message):
    with pytest.raises(InputError, match=message):
        encode(codec, make_cell(mean, variance, Rounding()), latents, IMAGE, 0)


class ChangingMean(Mean):
    """A mean that a test changes between the encoder and the decoder."""

    information = "decodable"

    def __init__(self):
        self.value = 1.0

    def __call__(self, latents):
        return torch.full_like(latents.y, self.value)


def test_estimate_that_is_not_finite_is_refused_in_the_decoder(codec, latents):
    cell = make_cell(ChangingMean(), CodecVariance(), Rounding())
    stream, _ = encode(codec, cell, latents, IMAGE, 0)
    cell.mean.value = torch.nan
    message = r"mean 'mean' \(in the decoder\) returned numbers that are not finite"
    with pytest.raises(InputError, match=message):
        decode(codec, cell, stream)


def test_variance_that_sends_bits_needs_a_transmitter(codec, latents):
    variance = adapt_variance("v", CheatingVariance(bits=8.0))
    with pytest.raises(InputError, match="8 bits.* transmitter"):
        encode(codec, make_cell(ZeroMean(), variance, Rounding()), latents, IMAGE, 0)


class SolvedRounding(CodableQuantizer):
    """A realizable quantizer whose level is solved for each image."""

    information = "decodable"
    level = None
    step = 1.0

    def code(self, r, v, level, noise=None):
        return Rounding().code(r, v, float(torch.as_tensor(level).flatten()[0]))

    def write(self, encoder, r, v, step, noise=None): ...

    def read(self, decoder, v, step, noise=None): ...


def test_level_that_is_solved_for_has_no_place_in_the_bitstream(codec, latents):
    cell = make_cell(ZeroMean(), CodecVariance(), SolvedRounding())
    with pytest.raises(InputError, match="is solved for each image; expected a level of its own"):
        encode(codec, cell, latents, IMAGE, 0)
    quantizer = {"use": f"{__name__}:SolvedRounding"}
    entries = {
        "means": {"zero": {}},
        "variances": {"channel": {}},
        "quantizers": {"rounding": {}, "solved": quantizer},
    }
    assert list(map(str, codable_cells(entries, {}))) == ["zero/channel/rounding"]


def test_codec_without_side_information_is_named():
    y = normal((2, 3, 4))
    cell = make_cell(ZeroMean(), CodecVariance(), Rounding())
    with pytest.raises(InputError, match="the codec has no methods side and predict"):
        encode(object(), cell, make_latents(y), IMAGE, 0)
