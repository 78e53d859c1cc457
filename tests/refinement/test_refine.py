"""Refined latents against closed forms, and what they must never do."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from rdpipe.codecs.bitstream import decode, encode
from rdpipe.codecs.compressai import mini_context, mini_mean_scale
from rdpipe.codecs.extraction import Extractor
from rdpipe.codecs.linear import klt
from rdpipe.core.axes import BASELINE_CELL
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.rng import generator
from rdpipe.core.running import decode_image, to_tensor
from rdpipe.core.walk import Walk
from rdpipe.datasets import gaussian_field
from rdpipe.datasets.image import read_image
from rdpipe.entropy.priors import Gaussian
from rdpipe.evaluation.bitstreams import decode as read_cell
from rdpipe.evaluation.bitstreams import encode as write_cell
from rdpipe.evaluation.cell import RECONSTRUCTION
from rdpipe.evaluation.simulation import CodedImage, Simulation
from rdpipe.quantizers.reconstruction import KNOTS
from rdpipe.refinement.codec import fingerprint, refined_codec
from rdpipe.refinement.refine import Refiner, Settings
from rdpipe.refinement.slope import slope_of_step
from rdpipe.refinement.spec import RefinedFor
from rdpipe.refinement.walk import RefiningWalk

THETA = 1 / 12
ODD_IMAGES = {
    "flat": np.full((64, 64, 3), 128, np.uint8),
    "black": np.zeros((64, 64, 3), np.uint8),
    "tiny": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "noise": np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8),
    "row": np.full((1, 70, 3), 200, np.uint8),
}


class Oblique:
    """A codec of fields: blocks of 2 x 2 pixels, and a decoder whose columns are not orthogonal.

    Parameters
    ----------
    angle : float
        0 for an orthonormal decoder.
    """

    multiple = 2

    def __init__(self, angle: float):
        basis = torch.linalg.qr(torch.randn(4, 4, generator=generator("basis")).double())[0]
        self.decoder = 8 * (basis + angle * torch.roll(basis, 1, 1))
        self.scale = torch.tensor([2.0, 1.0, 0.6, 0.1]).double()

    def code(self, image, size, send):
        rows, columns = size[0] // 2, size[1] // 2
        y = None
        if image is not None:
            blocks = image.double().view(rows, 2, columns, 2).permute(1, 3, 0, 2).reshape(4, -1)
            y = torch.linalg.solve(self.decoder, blocks).view(1, 4, rows, columns)
        scale = self.scale.view(1, 4, 1, 1).expand(1, 4, rows, columns)
        y_hat = send("y", Gaussian(torch.zeros_like(scale), scale), y)
        blocks = (self.decoder @ y_hat[0].flatten(1)).view(2, 2, rows, columns)
        return blocks.permute(2, 0, 3, 1).reshape(1, 1, *size)


def field(codec, side=64):
    """Return a field whose latents have the variances that the codec expects."""
    latents = (
        codec.scale[:, None] * torch.randn(4, side**2 // 4, generator=generator("field")).double()
    )
    blocks = (codec.decoder @ latents).view(2, 2, side // 2, side // 2)
    return blocks.permute(2, 0, 3, 1).reshape(side, side, 1).float().numpy()


def photograph(side=128):
    """Return a smooth image with an edge."""
    row, column = np.mgrid[:side, :side] / side
    shade = 90 + 80 * np.sin(5 * row + 3 * column**2) + 60 * (row + column > 1)
    texture = np.random.default_rng(3).normal(0, 6, (side, side))
    pixels = np.stack([shade + texture, shade, 200 - shade + texture], 2)
    return pixels.clip(0, 255).astype(np.uint8)


def channel_solution(codec, image, slope):
    """Return the latents that minimize KL + slope * MSE of a linear decoder: a ridge regression.

    With y_hat = A y + noise the objective is quadratic in y, and the noise does not depend on it.
    """
    v = codec.scale.square()
    a = torch.diag((1 - THETA / v).clamp(min=0))
    rate = torch.diag(torch.where(v > THETA, a.diagonal() / v, 1.0)) / math.log(2)
    weight = 2 * slope  # an element's bits/pixel against squared error / pixels
    blocks = torch.tensor(image[..., 0]).double()
    rows = image.shape[0] // 2
    blocks = blocks.view(rows, 2, rows, 2).permute(1, 3, 0, 2).reshape(4, -1)
    system = rate + weight * a @ codec.decoder.T @ codec.decoder @ a
    return torch.linalg.solve(system, weight * a @ codec.decoder.T @ blocks)


def loss_gradient(codec, image, slope):
    """Return the gradient of the objective at the codec's own latents, and the noise."""
    settings = Settings(slope, quantizer=RefinedFor.TEST_CHANNEL, theta=THETA)
    refiner = Refiner(codec, "field", image, settings)
    leaf = refiner.initial["y"].double().requires_grad_()
    walk = RefiningWalk({"y": leaf}, generator("noise"), 0.5, THETA)
    loss = refiner._loss(walk, to_tensor(codec, image))
    noise = torch.randn(leaf.shape, generator=generator("noise"), dtype=torch.float64)
    return torch.autograd.grad(loss, leaf)[0], noise


def test_own_latents_are_stationary_for_an_orthonormal_decoder():
    """With lambda = 1 / (2 theta ln 2) the expected gradient at y is 0, so the gap is 0."""
    codec = Oblique(0.0)
    image = field(codec)
    slope = 1 / (2 * THETA * math.log(2)) / 64  # a latent's squared error is 64 in the field
    gradient, noise = loss_gradient(codec, image, slope)
    v = codec.scale.square().view(1, 4, 1, 1)
    a = (1 - THETA / v).clamp(min=0)
    # the distortion is slope * 64 * (a y + s n - y)^2 / pixels, linear in the noise n
    of_noise = 2 * slope * 64 * a * (THETA * a).sqrt() * noise / image.size
    assert (gradient - of_noise)[:, :3].abs().max() < 1e-6 * of_noise.abs().max()
    assert (gradient[:, 3] == 0).all()  # its variance is below theta


def test_oblique_decoder_has_the_ridge_solution():
    codec = Oblique(0.6)
    image = field(codec, side=16)
    slope = 1 / (2 * THETA * math.log(2)) / 64
    settings = Settings(
        slope, steps=600, quantizer=RefinedFor.TEST_CHANNEL, theta=THETA, learning_rate=0.004
    )
    refiner = Refiner(codec, "field", image, settings)
    refined = refiner.refine()
    sent = codec.scale.square() > THETA
    solution = channel_solution(codec, image, slope)[sent]
    initial, final = (
        latents["y"][0].flatten(1)[sent] for latents in (refiner.initial, refined.latents)
    )
    distance = (initial - solution).square().mean()
    # the gradient has the noise of one draw per step
    assert (final - solution).square().mean() < 0.1 * distance
    assert refined.after.value < refined.before.value


def test_bound_of_refined_latents_stays_above_the_rate_distortion_function():
    source = {"rho": 0.9, "sigma": 40.0, "size": 128}
    codec = klt(1, steps=[20.0], **source)
    settings = Settings(
        1 / (2 * THETA * math.log(2)) / codec.step**2,
        steps=60,
        quantizer=RefinedFor.TEST_CHANNEL,
        theta=THETA,
    )
    points = []
    for item in gaussian_field.find(count=4, **source):
        image = read_image(item.file)[0]
        refined = Refiner(codec, item.name, image, settings).refine()
        points.append((refined.after.bits / image.size, refined.after.mse))
    bpp, mse = np.mean(points, 0)
    errors, rates = codec.references()["R(D) of the coefficients"]
    least = np.interp(mse, errors, rates)
    assert least * 0.98 < bpp < 1.1 * least  # 4 fields differ from their source by about 1 %


@pytest.mark.parametrize("name", ODD_IMAGES)
@pytest.mark.parametrize("quantizer", RefinedFor)
def test_never_worse_than_the_codecs_own_latents(name, quantizer):
    codec = mini_mean_scale(2)
    refiner = Refiner(codec, name, ODD_IMAGES[name], Settings(0.005, steps=6, quantizer=quantizer))
    refined = refiner.refine()
    assert refined.after.value <= refined.before.value
    assert refiner.evaluate(refined.latents) == refined.after
    assert math.isnan(refined.graph_bits)


@pytest.mark.parametrize("make", [mini_mean_scale, mini_context])
def test_refined_bytes_decode_with_the_unmodified_decoder(make):
    """In the codec's own bitstream, and in that of rdpipe."""
    codec, image, slope = make(2), photograph(), 0.005
    refined = Refiner(codec, "photograph", image, Settings(slope, steps=30)).refine()
    assert refined.after.value < refined.before.value
    encoder = refined_codec(codec, {fingerprint(to_tensor(codec, image)): refined.latents})
    unmodified = make(2)
    own_format, stream = encoder.compress(image), encode(encoder, image)
    decoders = (own_format, unmodified.decompress), (stream, partial(decode, unmodified))
    for data, decoder in decoders:
        error = mean_squared_error(image, decoder(data))
        assert error == pytest.approx(refined.after.mse, rel=2e-3)
        assert 8 * len(data) == pytest.approx(refined.after.bits, rel=0.05, abs=500)


def test_objective_for_the_lattice_is_what_its_cell_measures():
    """The relaxed walk, without relaxation, has the bits and the picture of the simulated cell."""
    codec, image = mini_mean_scale(2), photograph()
    gains = np.linspace(1.4, 1.0, len(KNOTS))
    settings = Settings(
        0.005, steps=12, quantizer=RefinedFor.LATTICE, step=0.9, gains={"y": gains.tolist()}
    )
    refined = Refiner(codec, "photograph", image, settings).refine()
    assert refined.after.value < refined.before.value
    encoder = refined_codec(codec, {fingerprint(to_tensor(codec, image)): refined.latents})
    cell = BASELINE_CELL.replace(quantizer="lattice-e8")._replace(
        reconstruction=Reconstruction.CALIBRATED
    )
    entries = {"means": {"codec": {}}, "variances": {"codec": {}}, "quantizers": {"lattice-e8": {}}}
    fits = {(RECONSTRUCTION, "lattice-e8"): {"y": {"gain": gains}}}
    for sender, objective in ((codec, refined.before), (encoder, refined.after)):
        extractor = Extractor(sender, described=codec)
        row, _ = extractor.extract("photograph", image)
        latents = extractor.latents("photograph", image)
        simulation = Simulation(sender, {"e8": cell}, entries, fits, latents, level=0.9)
        results = simulation.run([CodedImage(latents, image)])
        bits = results["bits"].item() + row["side_bits"]
        assert objective.bits == pytest.approx(bits, rel=1e-5)
        assert objective.mse == pytest.approx(results["mse"].item(), rel=1e-3)
        cells = simulation.cells["e8"]
        stream, _ = write_cell(sender, cells, latents, image, key=0, level=0.9)
        assert 8 * len(stream) == pytest.approx(bits, rel=0.02, abs=400)
        decoded = read_cell(mini_mean_scale(2), cells, stream).image
        assert mean_squared_error(image, decoded) == pytest.approx(objective.mse, rel=2e-3)


def test_side_information_stays_if_latents_are_refined_for_the_lattice():
    refiner = Refiner(
        mini_mean_scale(2),
        "photograph",
        photograph(),
        Settings(0.005, steps=12, quantizer=RefinedFor.LATTICE),
    )
    refined = refiner.refine()
    assert torch.equal(refined.latents["z"], refiner.initial["z"])
    assert not torch.equal(refined.latents["y"], refiner.initial["y"])


def test_codec_that_needs_the_image_to_decode_is_refused():
    class Describing(Oblique):
        can_decode = False

    codec = Describing(0.0)
    with pytest.raises(InputError, match="Describing does not decode without the image"):
        Refiner(codec, "field", field(codec), Settings(0.01))


def test_images_of_other_shapes_have_other_fingerprints():
    shapes = (1, 3, 64, 128), (1, 3, 128, 64), (1, 3, 64, 64)
    assert len({fingerprint(torch.zeros(shape)) for shape in shapes}) == 3


def test_refinement_is_reproducible():
    codec, image = mini_mean_scale(1), photograph(64)
    first, second = (Refiner(codec, "a", image, Settings(0.002, steps=5)).refine() for _ in "ab")
    assert first[1:] == second[1:]
    assert all(torch.equal(first.latents[name], second.latents[name]) for name in "yz")
    other = Refiner(codec, "b", image, Settings(0.002, steps=5)).refine()
    assert not torch.equal(first.latents["y"], other.latents["y"])


@pytest.mark.parametrize("name", ["Corrected", "Hierarchical", "FourPart", "Stepped"])
def test_codecs_of_other_shapes_are_refined(name, small_codecs):
    make = getattr(small_codecs, name)
    codec, image = make(3), photograph(64)
    slope = slope_of_step(codec, [image])
    refined = Refiner(codec, "photograph", image, Settings(slope, steps=10)).refine()
    assert refined.after.value <= refined.before.value
    latents = {fingerprint(to_tensor(codec, image)): refined.latents}
    encoder = refined_codec(codec, latents)
    decoded = decode(make(3), encode(encoder, image))
    np.testing.assert_array_equal(decoded, decode_image(encoder, Walk(), image))


def test_raster_scan_is_refused(small_codecs):
    with pytest.raises(InputError, match="parts in sequence; expected at most 64"):
        Refiner(small_codecs.MixtureRaster(3), "photograph", photograph(), Settings(0.01))


def test_raster_scan_is_refused_for_the_lattice_even_if_it_can_be_evaluated_at_once(small_codecs):
    class AtOnce(small_codecs.MixtureRaster):
        def code_parallel(self, size, send):
            raise NotImplementedError

    settings = Settings(0.01, quantizer=RefinedFor.LATTICE)
    with pytest.raises(InputError, match="at most 64 for refinement for a lattice"):
        Refiner(AtOnce(3), "photograph", photograph(), settings)


def test_codec_without_gradients_is_refused():
    class Detached(Oblique):
        def code(self, image, size, send):
            return super().code(image, size, send).detach()

    codec = Detached(0.0)
    with pytest.raises(InputError, match="Detached has no gradient"):
        Refiner(codec, "field", field(codec), Settings(0.01, steps=1)).refine()


def test_image_that_was_not_refined_is_refused():
    codec = refined_codec(mini_mean_scale(1), {})
    with pytest.raises(InputError, match="not among the 0 images"):
        decode_image(codec, Walk(), photograph(64))
