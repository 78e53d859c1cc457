"""Codecs on a pretended CUDA device have the numbers of the CPU, up to rounding."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from community_modules import STYLES
from pretended_cuda import counting
from safetensors.torch import save_file
from small_models import IMAGE, QUALITY, REPRESENTATIVE, coding_model

from rdpipe.codecs import bitstream
from rdpipe.codecs.automatic import AutomaticCodec
from rdpipe.codecs.building import build_codec, retuned
from rdpipe.codecs.compressai import adapt_model, mini_mean_scale
from rdpipe.codecs.extraction import Extractor
from rdpipe.core.assembly import to_host
from rdpipe.core.running import decodes, to_image, to_tensor
from rdpipe.evaluation.simulation import CodedImage, Pictures
from rdpipe.refinement.codec import fingerprint, refined_codec
from rdpipe.refinement.refine import Refiner, Settings

PIXELS = IMAGE[:64, :64]
FIELD = 40 * np.random.default_rng(0).standard_normal((64, 64, 1), dtype=np.float32)


def measured(architecture, device):
    """Return what is measured of a codec: rows, latents, refined latents, decoded pictures."""
    codec = adapt_model(coding_model(architecture), QUALITY, device, copy=False)
    extractor = Extractor(codec, gain=True)
    row, arrays = extractor.extract("a", PIXELS)
    latents = extractor.latents("a", PIXELS)
    pictures = Pictures(codec, CodedImage(latents, PIXELS))
    y_hats = [latent.mean + (latent.y - latent.mean).round() for latent in latents]
    refined = Refiner(codec, "a", PIXELS, Settings(0.01, steps=2)).refine()
    stream = codec.compress_latents(PIXELS, refined.latents)
    decoded = to_image(pictures.synthesize(y_hats), *PIXELS.shape[:2])
    return row, arrays["y"], refined.latents, decoded, codec.decompress(stream)


@pytest.mark.parametrize("architecture", REPRESENTATIVE)
def test_numbers_are_those_of_the_cpu(architecture, pretend_cuda):
    on_cpu, on_cuda = (measured(architecture, device) for device in ("cpu", "cuda"))
    for name, value in on_cpu[0].items():
        assert on_cuda[0][name] == pytest.approx(value, rel=1e-3, nan_ok=True), name
    for field, values in on_cpu[1].data_vars.items():
        assert np.allclose(values, on_cuda[1][field], rtol=1e-3, atol=1e-3), field
    for name, values in on_cpu[2].items():
        assert torch.allclose(values, on_cuda[2][name], atol=1e-2)
    for pixels, others in zip(on_cpu[3:], on_cuda[3:], strict=True):
        assert np.abs(pixels.astype(int) - others).mean() < 0.5


def by_hand(style):
    """Return a function that makes the codec of a user, which has no decoder."""

    def build(device):
        codec = STYLES[style](style())
        codec.m.to(device)
        codec.device, codec.can_decode = torch.device(device), False
        return codec

    return build


def refined(device):
    """Return the encoder of refined latents."""
    codec = mini_mean_scale(2, device)
    latents = Refiner(mini_mean_scale(2, "cpu"), "a", PIXELS, Settings(0.01, steps=2)).refine()
    return refined_codec(codec, {fingerprint(to_tensor(codec, PIXELS)): latents.latents})


def retuned_on(device):
    """Return a codec with other weights than its own."""
    state = mini_mean_scale(1, "cpu").checkpoint()
    weights = {name: weight.contiguous() for name, weight in state.items()}
    with TemporaryDirectory() as folder:
        save_file(weights, file := Path(folder, "weights.safetensors"))
        return retuned(2, {"use": "mini-mean-scale"}, str(file), device)


def block_transform(device):
    """Return a transform of a Gaussian field, which has no device."""
    args = {"steps": [8.0], "size": 64, "rho": 0.9}
    return build_codec("klt", 1, {"args": args}, device)


OTHERS = {
    **{
        f"automatic-{style.__name__}": lambda d, s=style: AutomaticCodec(s(), d) for style in STYLES
    },
    **{f"hand-{style.__name__}": by_hand(style) for style in STYLES},
    "refined": refined,
    "retuned": retuned_on,
    "klt": block_transform,
}
"""Codecs that are not models of CompressAI, by name."""


@pytest.mark.parametrize("name", OTHERS)
def test_other_codecs_have_the_numbers_of_the_cpu(name, pretend_cuda):
    image = FIELD if name == "klt" else PIXELS
    on_cpu, on_cuda = (OTHERS[name](device) for device in ("cpu", "cuda"))
    expected, measured = (
        Extractor(codec, gain=True, described=getattr(codec, "codec", None)).extract("a", image)
        for codec in (on_cpu, on_cuda)
    )
    for column, value in expected[0].items():
        assert measured[0][column] == pytest.approx(value, rel=1e-3, nan_ok=True), column
    assert measured[1].keys() == expected[1].keys()
    for latent, arrays in expected[1].items():
        for field, values in arrays.data_vars.items():
            assert np.allclose(values, measured[1][latent][field], rtol=1e-3, atol=1e-3), field
    if decodes(on_cpu):
        decoded = [
            bitstream.decode(on_cpu, bitstream.encode(on_cuda, image)),
            bitstream.decode(on_cuda, bitstream.encode(on_cpu, image)),
        ]
        assert np.array_equal(*decoded)


def test_latents_of_a_codec_on_a_card_are_on_the_host(pretend_cuda):
    codec = adapt_model(coding_model("mbt2018-mean"), QUALITY, "cuda")
    (latents,) = Extractor(codec).latents("a", PIXELS)
    assert latents.y.device.type == latents.scale.device.type == "cpu"


WAITS = {
    "bmshj2018-factorized": 5,
    "mbt2018-mean": 9,
    "mbt2018-mean-vbr": 13,
    "mbt2018-checkerboard": 16,
    "elic2022-chandelier": 20,
    "mbt2018": 16,
    "mbt2018-vbr": 16,
}
"""How often the host waits for an image."""


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("architecture", WAITS)
def test_host_hardly_waits_for_the_extraction_of_an_image(architecture, gain, pretend_cuda):
    """The host waits for the tables of each part that a decoder reads, six in this ELIC."""
    codec = adapt_model(coding_model(architecture), QUALITY, "cuda", copy=False)
    extractor = Extractor(codec, gain)
    extractor.extract("a", PIXELS)
    with counting() as counts:
        extractor.extract("b", IMAGE[:64, 64:128])
    assert counts.syncs == WAITS[architecture], counts.where


def test_one_copy_to_the_host_has_all_types(pretend_cuda):
    tensors = [
        torch.rand(3) > 0.5,
        torch.rand(2, 3),
        torch.arange(4),
        torch.rand(()),
        torch.rand(3, 2).t(),
        torch.rand(3, 1).expand(3, 2),
        torch.rand(6)[::2],
        torch.rand(0, 2),
        torch.rand(2).double(),
    ]
    with counting() as counts:
        copied = to_host([x.to("cuda") for x in tensors] + tensors[:1])
    assert counts.syncs == len(tensors) + 1
    assert all(map(torch.equal, copied, [*tensors, tensors[0]]))
    assert {x.device.type for x in copied} == {"cpu"}


@pytest.mark.parametrize("architecture", ["bmshj2018-hyperprior", "bmshj2018-hyperprior-vbr"])
def test_tables_on_the_host_decode_without_means(architecture, pretend_cuda):
    """CompressAI leaves decoded elements where the tables are if there are no means."""
    on_cpu, on_cuda = (
        adapt_model(coding_model(architecture), QUALITY, device) for device in ("cpu", "cuda")
    )
    stream = on_cpu.compress(PIXELS)
    assert on_cuda.compress(PIXELS) == stream
    assert np.array_equal(on_cuda.decompress(stream), on_cpu.decompress(stream))
