"""Real bytes of the array's cells: they decode exactly, and are as long as the cell says."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rdpipe.core.axes import TABLES
from rdpipe.evaluation.cell import Cell, build
from rdpipe.estimators.variances import Calibrated
from rdpipe.evaluation.bitstreams import HEADER, codes, decode, encode
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.codecs.compressai.adapter import CompressAI
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry

IMAGE = np.random.default_rng(0).integers(0, 256, (150, 130, 3), dtype=np.uint8)
MEANS = {
    "zero": {},
    "codec": {},
    "linear-causal": {"args": {"groups": 2}},
    "network": {"args": {"steps": 2}},
}
VARIANCES = {"codec": {}, "calibrated": {}, "causal-window": {}, "block-2": {}, "channel": {}}
QUANTIZERS = ("rounding", "dithered", "dithered-wiener", "deadzone", "lattice-e8", "trellis")


def make_codec(architecture):
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture][0](8, 16)
    with torch.no_grad():
        model.g_a[6].weight /= model.g_a(torch.rand(1, 3, 128, 128)).std() / 3
        last = model.entropy_parameters if hasattr(model, "entropy_parameters") else model.h_s
        [layer for layer in last if hasattr(layer, "bias")][-1].bias[:16] += 2
    model.update(force=True, update_quantiles=True)
    return CompressAI(model.eval(), "cpu")


@pytest.fixture(scope="module")
def codec():
    return make_codec("mbt2018-mean")


@pytest.fixture(scope="module")
def latents(codec):
    return codec.analyse("image", IMAGE).latents


@pytest.fixture(scope="module")
def fits(latents):
    found = {}
    for name in ("linear-causal", "network"):
        found["mean", name] = build_entry("mean", name, MEANS[name], TABLES["mean"]).fit([latents])
    means = {name: build("mean", name, entry, found) for name, entry in MEANS.items()}
    found["variance", "calibrated"] = Calibrated().fit([latents], means)
    return found


def make_cell(fits, mean, variance, quantizer):
    spec = {"means": MEANS, "variances": VARIANCES, "quantizers": dict.fromkeys(QUANTIZERS, {})}
    corner = {"mean": mean, "variance": variance, "quantizer": quantizer}
    return Cell.from_spec(spec, fits, corner)


@pytest.mark.parametrize("mean, variance", itertools.product(MEANS, VARIANCES))
def test_every_mean_and_variance_decodes_exactly(codec, latents, fits, mean, variance):
    cell = make_cell(fits, mean, variance, "rounding")
    stream, y_hat = encode(codec, cell, latents, IMAGE, 1)
    assert torch.equal(decode(codec, cell, stream), y_hat)
    bits = cell.send(cell.prepare(latents, 1), 1.0).bits
    side = len(codec.side(IMAGE)) if cell.side_counted else 0
    assert 8 * (len(stream) - side) == pytest.approx(bits, rel=0.002, abs=8 * 64)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("mean, variance", [("codec", "codec"), ("linear-causal", "causal-window")])
def test_every_quantizer_decodes_exactly(codec, latents, fits, mean, variance, quantizer):
    cell = make_cell(fits, mean, variance, quantizer)
    stream, y_hat = encode(codec, cell, latents, IMAGE, 2**64 - 1)
    assert torch.equal(decode(codec, cell, stream), y_hat)
    sent = cell.send(cell.prepare(latents, 2**64 - 1), cell.quantizer.level)
    assert torch.equal(sent.y_hat, y_hat)
    side = len(codec.side(IMAGE))
    assert 8 * (len(stream) - side) == pytest.approx(sent.bits, rel=0.002, abs=8 * 64)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_outliers_are_coded_as_stated(codec, latents, fits, quantizer):
    far = latents.y.clone()
    some = far.view(-1)[::97]
    some *= 2.0 ** torch.arange(len(some)).clamp(max=25)
    one, cell = replace(latents, y=far), make_cell(fits, "codec", "codec", quantizer)
    stream, y_hat = encode(codec, cell, one, IMAGE, 3)
    assert torch.equal(decode(codec, cell, stream), y_hat)
    sent = cell.send(cell.prepare(one, 3), cell.quantizer.level)
    usual = cell.send(cell.prepare(latents, 3), cell.quantizer.level)
    side = len(codec.side(IMAGE))
    assert 8 * (len(stream) - side) == pytest.approx(sent.bits, rel=0.002, abs=8 * 64)
    assert sent.bits - usual.bits < 90 * (far != latents.y).sum()


@pytest.mark.parametrize("architecture", ["mbt2018-mean", "bmshj2018-hyperprior"])
def test_a_decoder_predicts_what_the_encoder_did(architecture):
    codec = make_codec(architecture)
    one = codec.analyse("image", IMAGE).latents
    mean, scale = codec.predict(codec.side(IMAGE), *IMAGE.shape[:2])
    assert torch.equal(mean, one.mean) and torch.equal(scale, one.scale)


def test_a_codec_with_a_context_model_has_codes_that_do_without_it():
    codec = make_codec("mbt2018-checkerboard")
    one = codec.analyse("image", IMAGE).latents
    mean, _ = codec.predict(codec.side(IMAGE), *IMAGE.shape[:2])
    assert torch.equal(mean, one.hyper) and not torch.equal(mean, one.mean)
    spec = {
        "means": {"codec": {}, "hyper": {}, "zero": {}},
        "variances": {"codec": {}, "channel": {}, "window-3": {}},
        "quantizers": {"rounding": {}, "test-channel": {}},
    }
    cells = codes(spec, {}, context=True)
    assert set(cells) == {"hyper/channel/rounding", "zero/channel/rounding"}
    for cell in cells.values():
        stream, y_hat = encode(codec, cell, one, IMAGE, 0)
        assert torch.equal(decode(codec, cell, stream), y_hat)
        torch.testing.assert_close(y_hat, cell.send(cell.prepare(one), 1.0).y_hat)
    with pytest.raises(InputError, match="coded by the codec alone"):
        encode(codec, codes(spec, {})["codec/channel/rounding"], one, IMAGE, 0)


def test_no_side_information_is_sent_where_none_is_used(codec, latents, fits):
    stream, _ = encode(codec, make_cell(fits, "zero", "channel", "rounding"), latents, IMAGE, 0)
    assert HEADER.unpack_from(stream)[5] == 0


def test_only_real_codes_have_bitstreams(codec, latents):
    spec = {"means": {"codec": {}}, "variances": {"element": {}, "codec": {}},
            "quantizers": {"rounding": {}, "test-channel": {}}}  # fmt: skip
    for variance, quantizer in (("element", "rounding"), ("codec", "test-channel")):
        corner = {"mean": "codec", "variance": variance, "quantizer": quantizer}
        cell = Cell.from_spec(spec, {}, corner)
        with pytest.raises(InputError, match="has no bitstream; allowed is 'achievable'"):
            encode(codec, cell, latents, IMAGE, 0)


def test_a_decoder_never_sees_the_latents(codec, fits):
    """An estimator that looks at the latents finds NaN in the decoder."""
    cell = make_cell(fits, "zero", "codec", "rounding")
    seen = []
    cell.mean = type(
        "Spy", (type(cell.mean),), {"__call__": lambda self, l: seen.append(l.y) or 0 * l.mean}
    )()
    one = codec.analyse("image", IMAGE).latents
    stream, _ = encode(codec, cell, one, IMAGE, 0)
    decode(codec, cell, stream)
    assert not seen[0].isnan().any() and seen[-1].isnan().all()
