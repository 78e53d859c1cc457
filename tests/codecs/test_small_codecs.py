"""Each way to use ``send``, from the bits of the walk to real bytes in another process."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from rdpipe.codecs.bitstream import decode, encode, in_float64
from rdpipe.codecs.extraction import Extractor
from rdpipe.codecs.gain import decoder_gain
from rdpipe.codecs.structure import Structure, find_structure
from rdpipe.core.assembly import assemble, own_bits, place
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.rng import generator
from rdpipe.core.running import decode_image, run
from rdpipe.core.walk import Replay, Walk
from rdpipe.entropy.coder import DecodingError, Encoder
from rdpipe.entropy.coding_walk import CodingWalk
from rdpipe.entropy.priors import Gaussian, Laplace, Logistic, Mixture

EXAMPLES = Path(__file__).parents[2] / "examples"
STRUCTURES = {
    "Corrected": Structure(True, False, False),
    "Hierarchical": Structure(True, True, False),
    "MixtureRaster": Structure(True, False, False),
    "FourPart": Structure(True, False, True),  # side information says which elements are coded
    "Stepped": Structure(False, False, True),
    "Overfitted": Structure(False, False, True),
}
LATENTS = {
    "Corrected": {"z": True, "y": False},
    "Hierarchical": {"y0": False, "y1": False, "y2": False},
    "MixtureRaster": {"y": False},
    "FourPart": {"z": True, "y": False},
    "Stepped": {"z": True, "y": False},
    "Overfitted": {"parameters": True, "y": False},
}
"""Latents of each codec, and whether they are side information."""
DISTRIBUTIONS = {
    Gaussian: lambda mean, scale: stats.norm(mean, scale),
    Laplace: lambda mean, scale: stats.laplace(mean, scale / math.sqrt(2)),
    Logistic: lambda mean, scale: stats.logistic(mean, scale * math.sqrt(3) / math.pi),
}
DECODER = """
import sys
import numpy as np
import small_codecs
from rdpipe.codecs.bitstream import decode
for name in sys.argv[1:]:
    np.save(name, decode(getattr(small_codecs, name)(3), open(name, "rb").read()))
"""


def photo_like(height, width):
    """Return an image with a smooth background, edges and fine texture."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:height, :width] / 64
    shape = (np.hypot(row - 0.6, column - 0.5) < 0.35) + 0.5 * (column > 0.9 + 0.3 * row)
    gray = 90 + 40 * np.sin(3 * row) * np.cos(2 * column) + 55 * shape
    gray = gray + rng.normal(0, 2 + 5 * (column < 0.4))
    tint = np.stack([1 + 0.1 * shape, np.ones_like(row), 0.8 + 0.2 * np.cos(row)], 2)
    return (gray[..., None] * tint).clip(0, 255).astype(np.uint8)


IMAGE = photo_like(70, 90)


@pytest.fixture(params=STRUCTURES)
def codec(request, small_codecs):
    return getattr(small_codecs, request.param)(3)


@pytest.fixture(scope="module")
def decoded_elsewhere(small_codecs, tmp_path_factory):
    """Return the streams, and the images to which another process decodes them."""
    folder = tmp_path_factory.mktemp("streams")
    streams = {name: encode(getattr(small_codecs, name)(3), IMAGE) for name in STRUCTURES}
    for name, stream in streams.items():
        (folder / name).write_bytes(stream)
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(EXAMPLES)!r})\n{DECODER}"]
    subprocess.run([*command, *streams], check=True, cwd=folder)
    return streams, {name: np.load(folder / f"{name}.npy") for name in streams}


def likelihood(prior, low, high):
    """Return the probability of intervals according to scipy."""
    if isinstance(prior, Mixture):
        weights = prior.weights.numpy().astype(float)
        pairs = zip(weights, prior.components, strict=True)
        return sum(weight * likelihood(part, low, high) for weight, part in pairs)
    mean, scale = (np.float64(x.numpy()) for x in (prior.mean, prior.scale))
    density = DISTRIBUTIONS[type(prior)](mean, scale)
    above = (low + high) / 2 > mean
    return np.where(above, density.sf(low) - density.sf(high), density.cdf(high) - density.cdf(low))


def bits_by_hand(part):
    """Return the code length of the rounded elements of a part, bit."""
    y, offset = part.y.numpy().astype(float), part.offset.numpy()
    step = part.step if isinstance(part.step, float) else part.step.numpy()
    points = offset + step * np.rint((y - offset) / step)
    bits = -np.log2(likelihood(part.prior, points - step / 2, points + step / 2))
    return bits if part.coded is None else np.where(part.coded.numpy(), bits, 0)


def decoded_latents(record):
    """Return the decoded latents of a walk by name, side information apart."""
    latents = {}
    for name in dict.fromkeys(coded.part.name for coded in record if not coded.part.side):
        parts = [coded for coded in record if coded.part.name == name]
        values = [coded.part.fill(coded.part.point(coded.index)) for coded in parts]
        latents[name] = place(name, values, [coded.part.at for coded in parts])
    return latents


def test_a_codec_has_the_latents_of_its_description(codec):
    walk = Walk()
    decoded = decode_image(codec, walk, IMAGE)
    wholes = assemble(walk.record)
    assert {name: whole.side for name, whole in wholes.items()} == LATENTS[type(codec).__name__]
    assert psnr(mean_squared_error(IMAGE, decoded)) > 24
    for whole in wholes.values():  # the densities fit
        if not whole.side:
            ratio = (whole.y - whole.mean).square().mean() / whole.scale.square().mean()
            assert 1 / 9 < ratio < 9


def test_a_better_quality_costs_more_bits_and_has_less_error(codec):
    points = []
    for quality in (1, 5):
        walk = Walk()
        decoded = decode_image(type(codec)(quality), walk, IMAGE)
        bits = sum(whole.bits.sum().item() for whole in assemble(walk.record).values())
        points.append((bits, -mean_squared_error(IMAGE, decoded)))
    assert points[0][0] < points[1][0] and points[0][1] < points[1][1]


def test_bits_are_those_of_the_likelihood(codec):
    walk = Walk()
    run(codec, walk, IMAGE)
    by_name = {}
    for coded in walk.record:
        expected = bits_by_hand(coded.part)
        np.testing.assert_allclose(own_bits([coded])[0], expected, rtol=1e-6, atol=1e-8)
        by_name[coded.part.name] = by_name.get(coded.part.name, 0) + expected.sum()
    for name, whole in assemble(walk.record).items():
        assert whole.bits.sum().item() == pytest.approx(by_name[name], rel=1e-9)


def test_bytes_decode_in_another_process(codec, decoded_elsewhere):
    streams, images = decoded_elsewhere
    stream = streams[type(codec).__name__]
    with in_float64(codec) as precise:
        of_encoder = decode_image(precise, CodingWalk(Encoder()), IMAGE)
    np.testing.assert_array_equal(decode(codec, stream), of_encoder)
    np.testing.assert_array_equal(images[type(codec).__name__], of_encoder)
    # the codec in float32 rounds pixels differently only where they lie between two levels
    difference = np.abs(of_encoder.astype(int) - decode_image(codec, Walk(), IMAGE))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_bytes_are_as_many_as_the_bits(codec):
    walk = Walk()
    run(codec, walk, IMAGE)
    bits = sum(whole.bits.sum().item() for whole in assemble(walk.record).values())
    assert abs(len(encode(codec, IMAGE)) - bits / 8) < 0.01 * bits / 8 + 20


def test_damaged_bytes_are_an_error(small_codecs):
    codec, image = small_codecs.Stepped(1), np.ascontiguousarray(IMAGE[:20, :30])
    stream = encode(codec, image)
    header = [bytes([*stream[:3], byte, *stream[4:]]) for byte in (19, 21, 22, 32)]  # the height
    header.append(bytes([*stream[:7], 31, *stream[8:]]))  # the same size when extended
    damaged = [stream[:-4], stream[:20], stream[:10], stream[:3], b"", *header]
    damaged += [bytes([*stream[:i], stream[i] ^ 64, *stream[i + 1 :]]) for i in range(8, 40)]
    for content in damaged:
        with pytest.raises(DecodingError):
            decode(codec, content)


@pytest.mark.parametrize("name", sorted(STRUCTURES.keys() - {"Overfitted"}))
def test_bytes_of_another_quality_are_an_error(name, small_codecs):
    """Not those of a codec whose densities are all in the bytes."""
    make = getattr(small_codecs, name)
    stream = encode(make(3), np.ascontiguousarray(IMAGE[:40, :40]))
    with pytest.raises(DecodingError, match="the codec predicts other probabilities here"):
        decode(make(4), stream)


def test_structure(codec):
    assert find_structure(codec) == STRUCTURES[type(codec).__name__]


def test_steps_from_side_information_need_it(small_codecs):
    """Cells code in units of the step, so that a decoder must know it."""
    assert find_structure(small_codecs.Stepped(3)).image_needs_side


def test_gain_is_that_of_the_explicit_jacobian(codec):
    """Element by element: the change of the image for a step, by central differences."""
    image = IMAGE[20:36, 24:40]
    gains = decoder_gain(codec, "image", image)
    walk, change, rng = Walk(), 1e-3, np.random.default_rng(0)
    with in_float64(codec) as precise:
        run(precise, walk, image)
        latents, wholes = decoded_latents(walk.record), assemble(walk.record)
        noise = torch.randn((1, 3, 16, 16), generator=generator(0, "image"), dtype=torch.float32)
        assert gains.keys() == latents.keys()
        for name, y_hat in latents.items():
            coded = wholes[name].coded
            coded = torch.ones_like(y_hat, dtype=torch.bool) if coded is None else coded
            for channel in rng.choice(len(y_hat), min(len(y_hat), 9), replace=False):
                estimates = []
                for place_ in coded[channel].nonzero().tolist():
                    images = []
                    for sign in (1, -1):
                        moved = y_hat.clone()
                        moved[channel, *place_] += sign * change
                        images.append(run(precise, Replay(latents | {name: moved}), image))
                    step = wholes[name].step[channel, *place_]
                    column = (images[0] - images[1]) / (2 * change) * step
                    estimates.append((column * noise).sum().square())
                expected = torch.stack(estimates).mean() if estimates else torch.tensor(0.0)
                assert gains[name][channel].item() == pytest.approx(expected.item(), rel=1e-3)


def test_extraction(codec):
    row, arrays = Extractor(codec).extract("image", IMAGE)
    walk = Walk()
    decoded, stream = decode_image(codec, walk, IMAGE), encode(codec, IMAGE)
    wholes, structure = assemble(walk.record), STRUCTURES[type(codec).__name__]
    assert row["bytes"] == len(stream) and row["real"]
    assert row["psnr"] == pytest.approx(psnr(mean_squared_error(IMAGE, decoded)), abs=1e-3)
    for column, side in (("latent_bits", False), ("side_bits", True)):
        bits = sum(bits_by_hand(c.part).sum() for c in walk.record if c.part.side is side)
        assert row[column] == pytest.approx(bits, rel=1e-6)
    assert list(arrays) == [
        name for name, side in LATENTS[type(codec).__name__].items() if not side
    ]
    for name, array in arrays.items():
        latents, whole = as_latents("image", array), wholes[name]
        np.testing.assert_allclose(latents.y, whole.y / whole.step, rtol=1e-6)
        assert latents.structure == structure
        assert (latents.own_bits is None) is whole.gaussian
        assert (latents.offset is not None) is (type(codec).__name__ == "MixtureRaster")
        assert (latents.coded is not None) is (type(codec).__name__ == "FourPart")
        assert (latents.step is not None) is (type(codec).__name__ == "Stepped")
        assert latents.stride == 96 // whole.y.shape[2]
