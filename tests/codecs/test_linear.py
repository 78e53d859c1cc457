"""Gaussian fields and block transforms against their models; the whole pipeline lands on R(D)."""

import numpy as np
import pytest

from rdpipe import theory
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.cell import Cell
from rdpipe.estimators.means import Codec as CodecMean
from rdpipe.quantizers.test_channel import TestChannel as Channel
from rdpipe.estimators.variances import Codec as CodecVariance
from rdpipe.estimators.variances import Element
from rdpipe.codecs.linear import covariance, dct, klt
from rdpipe.datasets import gaussian_field
from rdpipe.datasets.image import load, read
from rdpipe.core.errors import InputError

STEPS = [100.0, 20.0, 2.0, 0.5]
SOURCE = {"rho": 0.9, "sigma": 40.0}
POWER_LAW = {"exponent": 2.5, "sigma": 40.0}


@pytest.fixture(scope="module")
def fields():
    return [read(s.file)[0] for s in gaussian_field.find(size=512, count=4, **SOURCE)]


def test_the_field_has_the_covariance_of_its_model(fields):
    stack = np.stack(fields)[..., 0].astype(np.float64)
    for rows, columns in ((0, 0), (0, 1), (1, 0), (3, 2)):
        product = stack[:, rows:, columns:] * stack[:, : 512 - rows, : 512 - columns]
        assert product.mean() / 1600 == pytest.approx(0.9 ** (rows + columns), abs=0.06)
    first = np.stack(
        [read(s.file)[0][:, 0, 0] for s in gaussian_field.find(size=64, count=100, rho=0.9)]
    )
    assert first.std() == pytest.approx(40, rel=0.06)  # stationary from the first column on


def test_the_power_law_field_has_its_spectrum():
    fields = [
        read(s.file)[0][..., 0] for s in gaussian_field.find(size=64, count=200, exponent=2.0)
    ]
    power = np.mean([np.abs(np.fft.fft2(f)) ** 2 for f in fields], axis=0) / 64**2 / 1600
    expected = gaussian_field.spectrum(64, exponent=2.0)
    ratio = (power / np.where(expected > 0, expected, 1))[expected > 0]
    assert ratio.mean() == pytest.approx(1, abs=0.01) and ratio.std() < 0.15
    assert expected.mean() == pytest.approx(1)


def test_a_field_is_the_same_every_time_and_known_by_its_digest():
    one, other = gaussian_field.find(size=16, count=2, rho=0.5)
    pixels, digest, _ = read(one.file)
    assert np.array_equal(load(one.file, digest), pixels) and pixels.shape == (16, 16, 1)
    assert not np.array_equal(read(other.file)[0], pixels)


@pytest.mark.parametrize(
    "args, message",
    [({}, "either rho"), ({"rho": 0.5, "exponent": 1.0}, "either rho"), ({"rho": 1.0}, "rho 1.0: allowed are"),
     ({"rho": 0.1, "size": 0}, "size 0")],
)  # fmt: skip
def test_fields_that_do_not_exist_are_refused(args, message):
    with pytest.raises(InputError, match=message):
        gaussian_field.find(**args)


@pytest.fixture(scope="module")
def power_law_fields():
    return [read(s.file)[0] for s in gaussian_field.find(size=512, count=4, **POWER_LAW)]


def test_the_covariance_of_an_ar1_block_is_a_power_of_rho():
    index = np.arange(8)
    line = 0.9 ** np.abs(index[:, None] - index)
    found = covariance(1600 * gaussian_field.spectrum(512, rho=0.9), 8)
    np.testing.assert_allclose(found, 1600 * np.kron(line, line), rtol=1e-9)


@pytest.mark.parametrize("make", [klt, dct])
@pytest.mark.parametrize("source", [SOURCE, POWER_LAW], ids=["ar1", "power-law"])
def test_variances_are_those_of_the_coefficients(make, source, request):
    fields = request.getfixturevalue("fields" if source is SOURCE else "power_law_fields")
    codec = make(3, steps=STEPS, **source)
    samples = np.stack([codec.analyse("f", f).latents.y.numpy() for f in fields])
    measured = codec.step**2 * np.square(samples).mean((0, 2, 3))
    # the slowest coefficients have few independent samples
    np.testing.assert_allclose(measured, codec.variances, rtol=0.12 if source is SOURCE else 0.2)
    transform = codec.transform
    np.testing.assert_allclose(transform @ transform.T, np.eye(64), atol=1e-12)
    block = covariance(codec.spectrum, 8)
    assert codec.variances.sum() == pytest.approx(np.trace(block), rel=1e-12)
    if make is klt:
        diagonal = transform @ block @ transform.T
        assert np.abs(diagonal - np.diag(codec.variances)).max() < 1e-9
        assert codec.variances.prod() <= dct(3, steps=STEPS, **source).variances.prod()


@pytest.mark.parametrize("make", [klt, dct])
@pytest.mark.parametrize("quality", [1, 2, 3])
def test_real_bytes_decode_to_what_they_stand_for(make, quality):
    image = gaussian_field.make(gaussian_field.find(size=250, count=1, **SOURCE)[0].file)[:, :203]
    codec = make(quality, steps=STEPS, **SOURCE)
    analysis, data = codec.analyse("f", image), codec.compress(image)
    decoded = codec.decompress(data)
    assert np.array_equal(decoded, codec.synthesise(analysis.latents.y.round(), 250, 203))
    assert 8 * len(data) == pytest.approx(analysis.latent_bits, rel=0.002, abs=8 * 64)
    error = (codec.synthesise(analysis.latents.y, 250, 203) - image) / 40
    assert np.abs(error).max() < 1e-5  # orthonormal


@pytest.mark.parametrize("make", [klt, dct])
@pytest.mark.parametrize("quality", [1, 2, 3])
@pytest.mark.parametrize("source", [SOURCE, POWER_LAW], ids=["ar1", "power-law"])
def test_the_test_channel_lands_on_the_rate_distortion_function(make, quality, source, request):
    """SCIENCE.md, section 6, case 2: within 0.01 bit/pixel, through analysis, channel and synthesis."""
    fields = request.getfixturevalue("fields" if source is SOURCE else "power_law_fields")
    codec = make(quality, steps=STEPS, **source)
    cell, genie = (
        Cell(CodecMean(), CodecVariance(), Channel()),
        Cell(CodecMean(), Element(), Channel()),
    )
    results = {}
    for name, one in (("decodable", cell), ("genie", genie)):
        rate = mse = 0.0
        for i, field in enumerate(fields):
            prepared = one.prepare(codec.analyse(f"f{i}", field).latents, i)
            sent = one.send(prepared, 0.08)
            rate += sent.bits / field.size / len(fields)
            mse += np.square(codec.synthesise(sent.y_hat, 512, 512) - field).mean() / len(fields)
        results[name] = rate - known_rate(codec, mse)
    assert abs(results["decodable"]) < 0.01
    assert results["genie"] < -0.05  # below R(D): an estimate, not a bound


def test_rounding_lies_a_quarter_of_a_bit_above_at_high_rate(fields):
    codec = klt(4, steps=STEPS, **SOURCE)
    images = [codec.analyse(f"f{i}", f).latents for i, f in enumerate(fields)]
    cube = evaluate(images, ["codec"], ["codec"], ["rounding"])
    rate, distortion = (cube[k].sum().item() / 4 / 512**2 for k in ("bits", "distortion"))
    assert codec.variances.min() > 4 * codec.step**2  # every coefficient is significant
    assert rate - known_rate(codec, distortion * codec.step**2) == pytest.approx(0.2546, abs=0.01)


def known_rate(codec, mse):
    variances = codec.variances.ravel()
    return theory.reverse_waterfill(variances, mse * len(variances)).rate / len(variances)


def test_references_are_reverse_water_filling():
    codec = klt(1, steps=STEPS, **SOURCE)
    mse, bpp = codec.references()["R(D) of the coefficients"]
    assert bpp == pytest.approx([known_rate(codec, d) for d in mse])
    low = mse < codec.variances.min()
    closed = np.mean(0.5 * np.log2(codec.variances[:, None] / mse[low]), 0)
    assert bpp[low] == pytest.approx(closed)
    field = codec.references()["R(D) of the field"][1]
    assert (field < bpp).all()  # correlation between blocks is worth bits
    # Kolmogorov: at low distortion 1/2 log2 of the entropy power over D, sigma^2 (1 - rho^2)^2
    power = 1600 * (1 - 0.9**2) ** 2
    floor = codec.spectrum.min()
    assert field[mse < floor] == pytest.approx(0.5 * np.log2(power / mse[mse < floor]), abs=1e-9)


def test_a_quality_without_a_step_is_refused():
    with pytest.raises(InputError, match="no quality 5: steps has 1 to 4"):
        dct(5, steps=STEPS, **SOURCE)
