"""Real bytes of cells: they decode exactly and have the length that the cell states."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from all_cells import all_cells
from extracting import extract
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.codecs.compressai import adapt_model
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.codecs.extraction import Extractor
from rdpipe.core.axes import CellId, axis_named
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.plugins import build_entry
from rdpipe.entropy.coder import DecodingError
from rdpipe.entropy.priors import Gaussian
from rdpipe.estimators.base import Mean, Variance
from rdpipe.estimators.means import ZeroMean
from rdpipe.estimators.transmitted import ChannelVariance
from rdpipe.estimators.user_estimators import adapt_variance
from rdpipe.estimators.variances import CalibratedVariance, CodecVariance
from rdpipe.evaluation.bitstreams import codable_cells, decode, encode
from rdpipe.evaluation.cell import Cell, build_part
from rdpipe.evaluation.simulation import CodedImage, Simulation
from rdpipe.quantizers.base import CodableQuantizer
from rdpipe.quantizers.reconstruction import KNOTS
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


def small_codec(architecture):
    """Return a small codec of any architecture with random weights."""
    torch.manual_seed(0)
    family, _ = ARCHITECTURES[architecture]
    model = family(8, 12, groups=[2, 4, 6]) if architecture.startswith("elic") else family(8, 12)
    model.update(force=True, update_quantiles=True)
    return adapt_model(model.eval(), device="cpu")


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
    return extracted(codec)[1]


def extracted(codec):
    """Return the code length of the side information of the image, bit, and its latents."""
    row, arrays = extract(codec, "image", IMAGE)
    return row["side_bits"], as_latents("image", arrays["y"])


@pytest.fixture(scope="module")
def side_bits(codec):
    """Return the code length of the side information of the image, bit."""
    return extracted(codec)[0]


@pytest.fixture(scope="module")
def fits(latents):
    """Return the states of the fitted estimators."""
    states = {}
    for name in ("linear-causal", "network"):
        estimator = build_entry("mean", name, MEANS[name], axis_named("mean").registry)
        states["mean", name] = {"y": estimator.fit([latents]).state()}
    means = {name: build_part("mean", name, entry, states) for name, entry in MEANS.items()}
    state = CalibratedVariance().fit([latents], means).state()
    return states | {("variance", "calibrated"): {"y": state}}


def cell_of(fits, mean, variance, quantizer):
    """Return a cell of the estimators of this module."""
    entries = {
        "means": MEANS,
        "variances": VARIANCES,
        "quantizers": {name: {} for name in QUANTIZERS},
    }
    return Cell.from_entries(CellId(mean, variance, quantizer), entries, fits)


def round_trip(codec, cell, latents, key=0):
    """Write and read the image in a cell; return the bits of the stream and the decoded latents."""
    stream, written = encode(codec, {"y": cell}, [latents], IMAGE, key)
    decoded = decode(codec, {"y": cell}, stream)
    assert len(decoded.y_hat) == len(written.y_hat)
    assert all(map(torch.equal, decoded.y_hat, written.y_hat))
    assert np.array_equal(decoded.image, written.image)
    return 8 * len(stream), written.y_hat[0].view(latents.y.shape)


@pytest.mark.parametrize("mean, variance", itertools.product(MEANS, VARIANCES))
def test_every_mean_and_variance_decodes_exactly(codec, latents, fits, side_bits, mean, variance):
    cell = cell_of(fits, mean, variance, "rounding")
    length, _ = round_trip(codec, cell, latents, 1)
    bits = cell.code(cell.prepare(latents, 1), 1.0).bits
    assert length == pytest.approx(bits + cell.includes_side * side_bits, **TOLERANCE)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("mean, variance", [("codec", "codec"), ("linear-causal", "causal-window")])
def test_every_quantizer_decodes_exactly(
    codec, latents, fits, side_bits, mean, variance, quantizer
):
    cell = cell_of(fits, mean, variance, quantizer)
    length, y_hat = round_trip(codec, cell, latents, 2**64 - 1)
    output = cell.code(cell.prepare(latents, 2**64 - 1), cell.quantizer.level)
    if quantizer == "lattice-e8":  # rounded variances make other blocks of eight
        distortion = (y_hat - latents.y).square().sum().item()
        assert distortion == pytest.approx(output.distortion, rel=0.02)
    else:
        torch.testing.assert_close(output.y_hat, y_hat, rtol=0, atol=1e-4)
    assert length == pytest.approx(output.bits + side_bits, **TOLERANCE)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_outliers_have_the_stated_length(codec, latents, fits, side_bits, quantizer):
    far = latents.y.clone()
    some = far.view(-1)[::97]
    some *= 2.0 ** torch.arange(len(some)).clamp(max=25)
    image, cell = replace(latents, y=far), cell_of(fits, "codec", "calibrated", quantizer)
    length, _ = round_trip(codec, cell, image, 3)
    output = cell.code(cell.prepare(image, 3), cell.quantizer.level)
    usual = cell.code(cell.prepare(latents, 3), cell.quantizer.level)
    assert length == pytest.approx(output.bits + side_bits, **TOLERANCE)
    assert output.bits - usual.bits < 90 * (far != latents.y).sum()


@pytest.mark.parametrize("architecture", ["mbt2018-checkerboard", "mbt2018", "elic2022-chandelier"])
def test_codec_with_a_context_model_is_coded_with_its_own_past(architecture):
    """Cells with the codec's mean and variance are walks; other cells do without its context."""
    codec = small_codec(architecture)
    side, latents = extracted(codec)
    entries = {
        "means": {"codec": {}, "hyper": {}, "zero": {}},
        "variances": {"codec": {}, "hyper": {}, "channel": {}, "window-3": {}},
        "quantizers": {"rounding": {}, "codec": {}, "deadzone": {}, "test-channel": {}},
    }
    cells = codable_cells(all_cells(entries), entries, {}, [latents])
    walks = {f"codec/codec/{name}" for name in ("rounding", "codec", "deadzone")}
    parts = itertools.product(("hyper", "zero"), ("channel", "hyper"), ("rounding", "deadzone"))
    without = set(map("/".join, parts))
    assert set(map(str, cells)) == walks | without
    for cell_id, of_cell in cells.items():
        stream, written = encode(codec, of_cell, [latents], IMAGE, 0)
        decoded = decode(codec, of_cell, stream)
        assert all(map(torch.equal, decoded.y_hat, written.y_hat)), cell_id
        assert np.array_equal(decoded.image, written.image)
        if cell_id.mean == "codec":
            simulation = Simulation(codec, {"a": cell_id}, entries, {}, [latents], level=1.0)
            simulated = simulation.run([CodedImage([latents], IMAGE)])
            assert 8 * len(stream) == pytest.approx(simulated["bits"].item() + side, **TOLERANCE)
            mse = mean_squared_error(IMAGE, decoded.image)
            assert mse == pytest.approx(simulated["mse"].item(), rel=1e-3)
        else:
            cell = of_cell[latents.latent]
            bits = cell.code(cell.prepare(latents), cell.step).bits + side * cell.includes_side
            assert 8 * len(stream) == pytest.approx(bits, **TOLERANCE)


def test_no_side_information_is_sent_if_none_is_used(codec, latents, fits, side_bits):
    lengths = [
        round_trip(codec, cell_of(fits, mean, "channel", "rounding"), latents)[0]
        for mean in ("zero", "codec")
    ]
    cell = cell_of(fits, "zero", "channel", "rounding")
    bits = cell.code(cell.prepare(latents), 1.0).bits
    assert side_bits > 200 and lengths[0] == pytest.approx(bits, rel=0.002, abs=300)


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
        encode(codec, {"y": cell}, [latents], IMAGE, 0)


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
    stream, _ = encode(codec, {"y": cell}, [latents], IMAGE, 0)
    decode(codec, {"y": cell}, stream)
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
        encode(codec, {"y": make_cell(mean, variance, Rounding())}, [latents], IMAGE, 0)


class ChangingMean(Mean):
    """A mean that a test changes between the encoder and the decoder."""

    information = "decodable"

    def __init__(self):
        self.value = 1.0

    def __call__(self, latents):
        return torch.full_like(latents.y, self.value)


def test_estimate_that_is_not_finite_is_refused_in_the_decoder(codec, latents):
    cell = make_cell(ChangingMean(), CodecVariance(), Rounding())
    stream, _ = encode(codec, {"y": cell}, [latents], IMAGE, 0)
    cell.mean.value = torch.nan
    message = r"mean 'mean' \(in the decoder\) returned numbers that are not finite"
    with pytest.raises(InputError, match=message):
        decode(codec, {"y": cell}, stream)


def test_variance_that_sends_bits_needs_a_transmitter(codec, latents):
    variance = adapt_variance("v", CheatingVariance(bits=8.0))
    with pytest.raises(InputError, match="8 bits.* transmitter"):
        encode(codec, {"y": make_cell(ZeroMean(), variance, Rounding())}, [latents], IMAGE, 0)


class SolvedRounding(CodableQuantizer):
    """A realizable quantizer without a level of its own."""

    information = "decodable"
    level = None
    step = 1.0

    def code(self, r, v, level, noise=None):
        return Rounding().code(r, v, float(torch.as_tensor(level).flatten()[0]))

    def write(self, encoder, r, v, step, noise=None): ...

    def read(self, decoder, v, step, noise=None): ...


def test_quantizer_without_a_level_has_no_bitstream():
    quantizer = {"use": f"{__name__}:SolvedRounding"}
    entries = {
        "means": {"zero": {}},
        "variances": {"channel": {}},
        "quantizers": {"rounding": {}, "solved": quantizer},
    }
    cells = codable_cells(all_cells(entries), entries, {}, [make_latents(normal((1, 2, 2)))])
    assert list(map(str, cells)) == ["zero/channel/rounding"]


GAIN = np.linspace(1.8, 1.0, len(KNOTS))


@pytest.mark.parametrize("level", [0.75, 1.0])
@pytest.mark.parametrize("quantizer", ["lattice-e8", "trellis", "deadzone", "rounding"])
@pytest.mark.parametrize("mean", ["codec", "zero"])
def test_calibrated_cell_is_coded_at_any_step(codec, latents, mean, quantizer, level):
    """Bytes decode to the latents of the cell at this step; the gain is the decoder's affair."""
    variance = "codec" if mean == "codec" else "channel"
    cell_id = CellId(mean, variance, quantizer, Reconstruction.CALIBRATED)
    entries = {
        "means": {mean: {}},
        "variances": {variance: {}},
        "quantizers": {quantizer: {}},
    }
    fits = {("reconstruction", quantizer): {"y": {"gain": GAIN}}}
    cell = Cell.from_entries(cell_id, entries, fits)
    stream, written = encode(codec, {"y": cell}, [latents], IMAGE, 0, level)
    decoded = decode(codec, {"y": cell}, stream)
    assert all(map(torch.equal, decoded.y_hat, written.y_hat))
    assert np.array_equal(decoded.image, written.image)
    at_level = cell.at_level(level)
    expected = at_level.code(at_level.prepare(latents), level)
    y_hat = decoded.y_hat[0].view(latents.y.shape)
    if quantizer == "lattice-e8":  # blocks are sorted by variance: few digits change them
        errors = [(x - latents.y).square().mean().item() for x in (y_hat, expected.y_hat)]
        assert errors[0] == pytest.approx(errors[1], rel=0.1)
    else:  # a decision may differ between float32 and float64
        assert ((y_hat - expected.y_hat).abs() < 1e-3).double().mean() > 0.999
    with pytest.raises(DecodingError):
        decode(codec, {"y": cell}, stream[:17] + bytes(4) + stream[21:])


class Masked:
    """Integers off the mean, half of which are not coded; no side information."""

    multiple = 2

    def code(self, image, size, send):
        y = None if image is None else image.double()
        mean = torch.full((1, 3, *size), 0.3, dtype=torch.float64)
        skip = (torch.arange(size[1]) % 2 == 0).expand(1, 3, *size)
        return send("y", Gaussian(mean, 0 * mean + 0.5), y, offset=0.25, step=1 / 8, skip=skip)


def test_elements_that_are_not_coded_have_their_offset_in_the_decoder():
    codec, image = Masked(), np.ascontiguousarray(IMAGE[:16, :24])
    (latents,) = Extractor(codec).latents("a", image)
    cell = make_cell(ZeroMean(), ChannelVariance(), Rounding())
    stream, _ = encode(codec, {"y": cell}, [latents], image, 0)
    y_hat = decode(codec, {"y": cell}, stream).y_hat[0].view(latents.y.shape)
    assert y_hat.isfinite().all()
    assert (y_hat[..., ::2] == 0.25).all()
    rounded = latents.y.double().round() / 8  # y is in steps, y_hat in units of the codec
    torch.testing.assert_close(y_hat[..., 1::2], rounded[..., 1::2], rtol=0, atol=1e-6)


class ByName(Mean):
    """A mean that depends on the name of the latent."""

    information = "decodable"

    def __call__(self, latents):
        return torch.full_like(latents.y, 2.0 if latents.latent == "y" else -1.0)


def test_estimators_know_the_name_of_the_latent_in_the_decoder(codec, latents):
    cell = make_cell(ByName(), ChannelVariance(), Rounding())
    stream, written = encode(codec, {"y": cell}, [latents], IMAGE, 0)
    assert torch.equal(decode(codec, {"y": cell}, stream).y_hat[0], written.y_hat[0])


def test_latents_that_are_too_large_are_refused(codec, latents):
    cell = make_cell(ZeroMean(), ChannelVariance(), Rounding())
    large = replace(latents, y=torch.zeros(1, 1, 70_000))
    with pytest.raises(InputError, match="expected at most 65535 a side"):
        encode(codec, {"y": cell}, [large], IMAGE, 0)
