"""Cells of codecs of any shape, against direct computations."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from all_cells import all_cells
from extracting import extract
from scipy import stats

from rdpipe.core.axes import CellId
from rdpipe.core.kinds import BoundKind
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.latents import Latents, Structure
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.rng import standard_normal
from rdpipe.core.running import decode_image, padded_size, to_image, to_tensor
from rdpipe.core.walk import Walk
from rdpipe.entropy.priors import Gaussian
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.array import LEVEL_BITS, latent_noise_key, latent_weights
from rdpipe.evaluation.bitstreams import codable_cells, decode, encode
from rdpipe.evaluation.simulation import CodedImage, Simulation, build
from rdpipe.quantizers.scalar import dead_zones
from rdpipe.theory import reverse_waterfill

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("Corrected", "Hierarchical", "MixtureRaster", "FourPart", "Stepped", "Overfitted")
FOLLOWS = {
    "Corrected": (True, False),
    "Hierarchical": (True, True),
    "MixtureRaster": (True, False),
    "FourPart": (True, False),
    "Stepped": (False, False),
    "Overfitted": (False, False),
}
"""Whether priors, and latents, depend on decoded latents."""
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}, "channel": {}},
    "quantizers": {"rounding": {}, "codec": {}, "deadzone": {}, "test-channel": {}},
}
SEED = 3


@pytest.fixture(scope="module")
def image():
    """Return a photograph whose sides are not multiples of 16."""
    return np.ascontiguousarray(skimage.data.chelsea()[100:144, 120:180])


@pytest.fixture(scope="module", params=NAMES)
def codec(request):
    """Return a small codec of each shape."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import small_codecs
    finally:
        sys.path.remove(str(EXAMPLES))
    return getattr(small_codecs, request.param)(2)


def latents_of(codec, image):
    """Return the row and the latents of an image."""
    row, arrays = extract(codec, "a", image)
    return row, [as_latents("a", of_latent) for of_latent in arrays.values()]


class DirectSend:
    """Quantizes every latent by the formulas, element by element, and sums the bits.

    Parameters
    ----------
    quantize : callable
        ``quantize(r, v, noise, level)`` returns bits and residual, arrays in steps.
    latents : sequence of Latents
        They give the shapes, for the noise.
    level : float
    """

    def __init__(self, quantize, latents, level):
        self.quantize, self.bits, self.channel = quantize, 0.0, {}
        weights = latent_weights(latents)
        self.level = {x.latent: level / w for x, w in zip(latents, weights, strict=True)}
        self.noise = {
            x.latent: standard_normal(latent_noise_key(SEED, latents, x), x.y.shape)[None]
            for x in latents
        }

    def __call__(self, name, prior, y, *, at=None, offset=None, step=1.0, skip=None, side=False):
        mean = prior.mean.double()
        grid = mean if offset is None else offset + 0 * mean
        if side:
            return (grid + step * ((y - grid) / step).round()).to(prior.mean.dtype)
        noise = self.noise[name]
        if isinstance(at, tuple):
            noise = noise[:, at[0], at[1], at[2]]
        elif at is None:
            first = self.channel.get(name, 0)
            self.channel[name] = first + mean.shape[1]
            noise = noise[:, first : first + mean.shape[1]]
        r = ((y - mean) / step).numpy()
        v = ((prior.scale / step).double() ** 2 + 0 * mean).numpy()
        v, escape_bits = escape(r, v)
        bits, residual = self.quantize(r, v, noise.numpy(), self.level[name])
        bits = bits + escape_bits
        y_hat = mean + step * torch.from_numpy(residual)
        coded = torch.ones_like(mean, dtype=torch.bool)
        if isinstance(at, torch.Tensor):
            coded = coded & at
        if skip is not None:
            y_hat, coded = torch.where(skip, grid, y_hat), coded & ~skip
        if isinstance(at, torch.Tensor):
            y_hat = torch.where(at, y_hat, 0.0)
        self.bits += bits[coded.numpy()].sum()
        return y_hat.to(prior.mean.dtype)


def escape(r, v):
    """Return the variance of elements beyond 10 standard deviations, and the bits of its order."""
    edge = (np.abs(r).round() - 0.5) / np.sqrt(v)
    order = np.where(edge > 10, np.round(np.log2(np.maximum(edge, 1)) / 2), 0)
    return v * 16.0**order, np.where(order > 0, 20 + order, -np.log2(1 - 2.0**-20))


def channel(r, v, noise, theta):
    """Return divergence and output of the test channel, science.md section 2.3."""
    a = np.maximum(0, 1 - theta / v)
    sent = v > theta
    kl = np.where(sent, 0.5 * (np.log(v / theta) + (theta + a * r**2) / v - 1), 0)
    return kl / math.log(2), a * r + np.sqrt(theta * a) * noise


def dead_zone(r, v, noise, step):
    """Return code length and centroid of the cell of each residual, by scipy."""
    sigma = np.sqrt(v)
    delta = np.interp(np.log2(sigma), *dead_zones())
    k = np.maximum(np.floor(np.abs(r) + 0.5 - delta), 0)
    low, high = np.where(k == 0, -0.5 - delta, k - 0.5 + delta), k + 0.5 + delta
    mass = stats.norm.sf(low / sigma) - stats.norm.sf(high / sigma)
    density = stats.norm.pdf(low / sigma) - stats.norm.pdf(high / sigma)
    return -np.log2(mass), np.where(k == 0, 0, np.sign(r) * sigma * density / mass)


@pytest.mark.parametrize(
    "quantizer, quantize, level", [("test-channel", channel, 0.3), ("deadzone", dead_zone, 1.0)]
)
def test_another_quantizer_in_the_codec_is_the_direct_computation(
    codec, image, quantizer, quantize, level
):
    _, latents = latents_of(codec, image)
    cell = CellId("codec", "codec", quantizer)
    simulation = Simulation(codec, {"a": cell}, ENTRIES, {}, latents, SEED, level=level)
    simulated = simulation.run([CodedImage(latents, image)])
    direct = DirectSend(quantize, latents, level)
    size = image.shape[:2]
    with torch.no_grad():
        decoded = codec.code(to_tensor(codec, image), padded_size(codec, *size), direct)
    assert simulated["bits"].item() == pytest.approx(direct.bits, rel=1e-4)
    expected = mean_squared_error(image, to_image(decoded, *size))
    assert simulated["mse"].item() == pytest.approx(expected, rel=1e-3)
    assert simulation.label([simulated], ["a"], RUN)["kind"].item() == (
        BoundKind.UPPER_BOUND if quantizer == "test-channel" else BoundKind.ACHIEVABLE
    )


class Run:
    """A run without coordinates."""

    def coordinates(self):
        return {}


RUN = Run()


def test_cell_of_the_codec_is_the_codec(codec, image):
    row, latents = latents_of(codec, image)
    cells = {"own": CellId("codec", "codec", "codec")}
    simulation = Simulation(codec, cells, ENTRIES, {}, latents, SEED)
    simulated = simulation.run([CodedImage(latents, image)])
    assert simulated["bits"].item() == pytest.approx(row["latent_bits"], rel=1e-4)
    assert simulated["mse"].item() == pytest.approx(row["mse"], rel=1e-3)
    assert simulated["syntheses"].item() == 0


@pytest.mark.parametrize("quantizer", ["test-channel", "deadzone"])
def test_cell_has_the_quality_of_the_codec(codec, image, quantizer):
    """At its level, the cell decodes to the PSNR of the codec's picture."""
    _, latents = latents_of(codec, image)
    cells = {"a": CellId("codec", "codec", quantizer)}
    simulated = Simulation(codec, cells, ENTRIES, {}, latents, SEED).run(
        [CodedImage(latents, image)]
    )
    codec_mse = mean_squared_error(image, decode_image(codec, Walk(), image))
    assert psnr(simulated["mse"].item()) == pytest.approx(psnr(codec_mse), abs=0.05)
    level = simulated["level"].item()
    again = Simulation(codec, cells, ENTRIES, {}, latents, SEED, level=level)
    if quantizer == "test-channel":
        bits = again.run([CodedImage(latents, image)])["bits"].item()
        assert simulated["bits"].item() == pytest.approx(bits + LEVEL_BITS)
    assert simulated["syntheses"].item() <= 12 and simulated["reason"].item() == ""


def test_stored_statistics_of_a_dependent_codec_are_a_genies(codec, image):
    _, latents = latents_of(codec, image)
    names = (ENTRIES[section] for section in ("means", "variances", "quantizers"))
    kind = evaluate([latents], *names)["kind"]
    priors, all_latents = FOLLOWS[type(codec).__name__]
    codec_kind = kind.sel(mean="codec", variance="codec", quantizer="rounding").item()
    assert codec_kind == BoundKind.ACHIEVABLE
    follows = priors or all_latents
    channel_kind = kind.sel(mean="codec", variance="codec", quantizer="test-channel").item()
    assert (channel_kind == BoundKind.GENIE_AIDED) == follows


def test_a_cell_without_context_of_a_hierarchical_codec_is_a_genie(codec, image):
    _, latents = latents_of(codec, image)
    kind = evaluate([latents], ["zero"], ["channel"], ["rounding"])["kind"].item()
    _, follow = FOLLOWS[type(codec).__name__]
    assert kind == (BoundKind.GENIE_AIDED if follow else BoundKind.ACHIEVABLE)


def test_every_codable_cell_decodes_to_the_identical_image(codec, image):
    row, latents = latents_of(codec, image)
    cells = codable_cells(all_cells(ENTRIES), ENTRIES, {}, latents)
    expected = {f"codec/codec/{name}" for name in ("rounding", "codec", "deadzone")}
    if not any(FOLLOWS[type(codec).__name__]):
        expected |= {"codec/channel/rounding", "codec/channel/deadzone"}
    assert set(map(str, cells)) == expected
    for cell_id, of_cell in cells.items():
        stream, written = encode(codec, of_cell, latents, image, 5)
        decoded = decode(codec, of_cell, stream)
        assert all(map(torch.equal, decoded.y_hat, written.y_hat)), cell_id
        assert np.array_equal(decoded.image, written.image), cell_id
        if cell_id.variance == "codec":
            simulated = Simulation(codec, {"a": cell_id}, ENTRIES, {}, latents, 5, level=1.0).run(
                [CodedImage(latents, image)]
            )
            total = simulated["bits"].item() + row["side_bits"]
            assert 8 * len(stream) == pytest.approx(total, rel=0.01, abs=500), cell_id
            assert mean_squared_error(image, decoded.image) == pytest.approx(
                simulated["mse"].item(), rel=0.01
            )


class Subbands:
    """Two orthonormal subbands of pairs of pixels, each with a scale of its own.

    Parameters
    ----------
    deviations : tuple of float
        Standard deviations of the subbands, gray levels.
    gains : tuple of float
        By how much the decoder amplifies each latent.
    """

    multiple = 2

    def __init__(self, deviations, gains):
        self.deviations, self.gains = deviations, gains

    def code(self, image, size, send):
        bands = [None, None]
        if image is not None:
            left, right = image[..., ::2].double(), image[..., 1::2].double()
            bands = [(left + right) / math.sqrt(2), (left - right) / math.sqrt(2)]
        decoded = []
        for name, band, sigma, gain in zip("lh", bands, self.deviations, self.gains, strict=True):
            scale = torch.full((1, 1, size[0], size[1] // 2), sigma / gain, dtype=torch.float64)
            y = None if band is None else band / gain
            decoded.append(gain * send(name, Gaussian(0 * scale, scale), y))
        low, high = decoded
        pixels = torch.stack([low + high, low - high], -1) / math.sqrt(2)
        return pixels.reshape(1, 1, *size)


class Integers(Subbands):
    """The same, rounded to integers about a mean that lies between them."""

    def code(self, image, size, send):
        def send_integers(name, prior, y):
            shifted = Gaussian(prior.mean + 0.3, prior.scale)
            return send(name, shifted, y, offset=0.0)

        return super().code(image, size, send_integers)


def test_grid_off_the_mean_is_that_of_the_codec():
    """In the array, in its levels and in real bytes: y_hat are integers, whatever the variance."""
    generator = torch.Generator().manual_seed(0)
    field = (8 * torch.randn((32, 64, 1), generator=generator)).numpy()
    codec = Integers((6.0, 6.0), (4.0, 2.0))
    _, latents = latents_of(codec, field)
    cells = codable_cells(all_cells(ENTRIES), ENTRIES, {}, latents)
    for variance in ("codec", "channel"):
        of_cell = cells[CellId("codec", variance, "rounding")]
        stream, written = encode(codec, of_cell, latents, field, 0)
        decoded = decode(codec, of_cell, stream)
        assert all(map(torch.equal, decoded.y_hat, written.y_hat))
        bits = 0.0
        for latent, y_hat in zip(latents, decoded.y_hat, strict=True):
            cell = of_cell[latent.latent]
            output = cell.code(cell.prepare(latent), 1.0)
            integers = latent.y.double().round()
            torch.testing.assert_close(output.y_hat, integers, atol=1e-9, rtol=0)
            torch.testing.assert_close(
                y_hat.view(output.y_hat.shape), output.y_hat, atol=1e-5, rtol=0
            )
            bits += output.bits
        assert 8 * len(stream) == pytest.approx(bits, rel=0.01, abs=450)
        residual = latents[0].y.double() - latents[0].y.double().round()
        cell = of_cell[latents[0].latent]
        prepared = cell.prepare(latents[0])
        assert cell.distortion_of_rounding(prepared) == pytest.approx(
            residual.square().sum().item()
        )


class SecondBand(Subbands):
    """The grid of the second subband depends on what is decoded of the first.

    Parameters
    ----------
    options : callable
        Options of ``send`` for the second subband, from the first.
    """

    def __init__(self, options):
        super().__init__((6.0, 6.0), (4.0, 4.0))
        self.options = options

    def code(self, image, size, send):
        decoded = {}

        def send_second(name, prior, y):
            options = self.options(decoded["l"]) if decoded else {}
            decoded[name] = send(name, prior, y, **options)
            return decoded[name]

        return super().code(image, size, send_second)


@pytest.mark.parametrize(
    "options",
    [lambda low: {"skip": low.abs() < 1.5}, lambda low: {"step": 1 + low.abs() / 4}],
    ids=["skip", "step"],
)
def test_stored_grid_that_follows_the_past_is_a_genies(options):
    """A decoder of zero/channel has no y_hat of the codec, so it has neither mask nor step."""
    field = (8 * torch.randn((32, 64, 1), generator=torch.Generator().manual_seed(0))).numpy()
    codec = SecondBand(options)
    _, latents = latents_of(codec, field)
    array = evaluate([latents], ["zero", "codec"], ["channel"], ["rounding", "test-channel"])
    kinds = array["kind"].sel(variance="channel")
    assert (kinds.sel(mean="zero") == str(BoundKind.GENIE_AIDED)).all()
    assert kinds.sel(mean="codec", quantizer="rounding") == str(BoundKind.ACHIEVABLE)
    entries = {**ENTRIES, "means": {"zero": {}, "codec": {}}}
    cells = codable_cells(all_cells(entries), entries, {}, latents)
    assert CellId("zero", "channel", "rounding") not in cells
    assert CellId("codec", "codec", "rounding") in cells


def test_distortion_of_skipped_elements_is_none():
    """Also if the grid is off the mean: what is not coded has no rounding error."""
    y = torch.randn((1, 16, 16), generator=torch.Generator().manual_seed(0)).double() * 3
    coded = torch.arange(256).view(1, 16, 16) % 2 == 0
    latents = Latents("a", y, 0 * y + 0.4, 0 * y + 3, offset=0 * y, coded=coded)
    cell = build(CellId("codec", "codec", "test-channel"), ENTRIES, {}, [latents], Structure())["y"]
    expected = (y - y.round()).square()[coded].sum().item()
    assert cell.distortion_of_rounding(cell.prepare(latents)) == pytest.approx(expected)
    rounding = build(CellId("codec", "codec", "rounding"), ENTRIES, {}, [latents], Structure())["y"]
    output = rounding.code(rounding.prepare(latents), 1.0)
    assert output.distortion == pytest.approx(expected)


@pytest.mark.parametrize("gains", [(4.0, 4.0), (1.0, 8.0), (30.0, 2.0)])
def test_levels_of_several_latents_land_on_reverse_water_filling(gains):
    """One water level over the decoder's gain: the same in the image for every latent."""
    deviations = (40.0, 6.0)
    bands = [
        sigma * torch.randn((256, 128), generator=torch.Generator().manual_seed(i)).double()
        for i, sigma in enumerate(deviations)
    ]
    pixels = torch.stack([bands[0] + bands[1], bands[0] - bands[1]], -1) / math.sqrt(2)
    field = pixels.reshape(256, 256, 1).float().numpy()
    codec = Subbands(deviations, gains)
    _, latents = latents_of(codec, field)
    largest = max(gains) ** 2
    assert [x.weight for x in latents] == pytest.approx([g * g / largest for g in gains], rel=0.05)
    array = evaluate([latents], ["codec"], ["codec"], ["rounding", "test-channel"])
    cell = array.sel(quantizer="test-channel").isel(image=0, mean=0, variance=0)
    mse = cell["distortion"].item() * largest / field.size  # weights are relative to the largest
    variances = np.array(deviations) ** 2
    optimum = reverse_waterfill(variances, 2 * mse)
    theta, rate = optimum.theta, optimum.rate / 2
    level = cell["level"].item() * largest
    assert level == pytest.approx(theta, rel=0.02)
    assert (cell["bits"].item() - 32) / field.size == pytest.approx(rate, rel=0.02, abs=2e-3)
    simulated = Simulation(
        codec,
        {"a": CellId("codec", "codec", "test-channel")},
        ENTRIES,
        {},
        latents,
        level=cell["level"].item(),
    ).run([CodedImage(latents, field)])
    assert simulated["mse"].item() == pytest.approx(mse, rel=0.03)
