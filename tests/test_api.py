"""The decomposition on images in memory."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import yaml

import rdpipe
from rdpipe.api import LIMITS
from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.extraction import Extractor
from rdpipe.codecs.linear import klt
from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.metrics import psnr
from rdpipe.entropy.priors import Gaussian
from rdpipe.evaluation.simulation import CodedImage, Simulation

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
LIMIT = {"decodable": "codec/channel/rounding"}
"""Without noise, whose seed is the name of an image."""
CHANNEL = {"decodable": "codec/codec/test-channel"}


SCHEMA = Path(__file__).parents[1] / "workflow" / "schema.yaml"


@pytest.fixture(scope="module")
def codec():
    return mini_mean_scale(1, "cpu")


@pytest.fixture(scope="module")
def expected(codec):
    return rdpipe.decompose(codec, {"a": IMAGE}, LIMIT)["bits"].values


WRONG = {
    "float": IMAGE / 255,
    "bool": IMAGE > 0,
    "uint16": IMAGE.astype(np.uint16),
    "two dimensions": IMAGE[:, :, 0],
    "one channel": IMAGE[..., :1],
    "channels first": IMAGE.transpose(2, 0, 1),
    "alpha": np.dstack([IMAGE, IMAGE[..., :1]]),
    "no rows": IMAGE[:0],
    "float tensor": torch.from_numpy(IMAGE) / 255,
}


@pytest.mark.parametrize("image", WRONG.values(), ids=WRONG)
def test_an_array_that_is_not_an_image_is_refused(codec, image):
    message = r"'a' is an array of .*; expected uint8 of shape \(height, width, 3\)"
    with pytest.raises(InputError, match=message):
        rdpipe.decompose(codec, {"a": image})


def test_an_object_that_is_not_an_image_is_refused(codec):
    with pytest.raises(InputError, match="'a' is a NoneType; expected uint8 of shape"):
        rdpipe.decompose(codec, {"a": None})
    with pytest.raises(InputError, match="1 is not the name of an image; expected a text"):
        rdpipe.decompose(codec, {1: IMAGE})
    with pytest.raises(InputError, match="there is no image; expected at least one"):
        rdpipe.decompose(codec, {})


def read_only(image):
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)


def differentiable_codec(codec):
    """Return a codec whose latents require gradients."""

    class Differentiable:
        compress, decompress = codec.compress, codec.decompress

        def code(self, image, size, send):
            def send_leaves(name, prior, y=None, **arguments):
                if isinstance(prior, Gaussian):
                    leaves = (x.clone().requires_grad_() for x in (prior.mean, prior.scale))
                    prior = Gaussian(*leaves, prior.least)
                y = None if y is None else y.clone().requires_grad_()
                return send(name, prior, y, **arguments)

            return codec.code(image, size, send_leaves)

    return Differentiable()


def test_a_codec_whose_latents_require_gradients_has_the_same_bits(codec, expected):
    terms = rdpipe.decompose(differentiable_codec(codec), {"a": IMAGE}, LIMIT)
    np.testing.assert_array_equal(terms["bits"].values, expected)


FORMS = {
    "array": lambda image: image,
    "list": lambda image: [image],
    "tuple": lambda image: (image,),
    "negative strides": lambda image: {"a": image[::-1, ::-1][::-1, ::-1]},
    "another memory order": lambda image: {"a": np.asfortranarray(image)},
    "read-only": lambda image: {"a": read_only(image)},
    "tensor": lambda image: torch.from_numpy(image),
    "PIL": lambda image: PIL.Image.fromarray(image),
    "list of tensors": lambda image: [torch.from_numpy(image)],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_an_image_gives_the_same_bits(codec, expected, form):
    terms = rdpipe.decompose(codec, form(IMAGE), LIMIT)
    np.testing.assert_array_equal(terms["bits"].values, expected)


def test_images_come_from_a_folder_or_a_file(codec, expected, tmp_path):
    PIL.Image.fromarray(IMAGE).save(tmp_path / "a.png")
    for source in (tmp_path, str(tmp_path), tmp_path / "a.png", [tmp_path / "a.png"]):
        bits = rdpipe.decompose(codec, source, LIMIT)["bits"].values
        np.testing.assert_array_equal(bits, expected)


def test_a_flipped_image_is_another_image(codec, expected):
    bits = rdpipe.decompose(codec, IMAGE[::-1], LIMIT)["bits"].values
    known = np.isfinite(expected)
    assert np.array_equal(np.isfinite(bits), known) and (bits != expected)[known].any()


@pytest.mark.parametrize(
    "limit",
    [
        "codec/channel/rounding",
        {"mean": "codec", "variance": "channel", "quantizer": "rounding"},
        rdpipe.CellId("codec", "channel", "rounding"),
    ],
)
def test_a_limit_is_a_cell_in_any_form(codec, expected, limit):
    terms = rdpipe.decompose(codec, {"a": IMAGE}, {"l": limit})
    np.testing.assert_array_equal(terms["bits"].values, expected)
    assert terms["kind"].item() == "achievable"


@pytest.mark.parametrize("limit", [{"mean": "codec"}, {}, "codec/codec"])
def test_an_incomplete_limit_is_refused(codec, limit):
    with pytest.raises(InputError, match="limit 'l': .*; expected"):
        rdpipe.decompose(codec, {"a": IMAGE}, limits={"l": limit})


def test_an_object_that_is_not_a_codec_is_refused():
    message = "NoneType is not a codec; expected an object with a method code"
    with pytest.raises(InputError, match=message):
        rdpipe.decompose(None, {"a": IMAGE})


def test_variables_have_units(codec):
    terms = rdpipe.decompose(codec, IMAGE, LIMIT)
    units = {name: terms[name].attrs["units"] for name in ("bits", "total", "mse", "psnr", "bytes")}
    assert units == {
        "bits": "bit", "total": "bit", "mse": "squared 8-bit levels", "psnr": "dB", "bytes": "byte",
    }  # fmt: skip


@pytest.mark.parametrize("limits", [{}, "codec/codec/rounding", ["codec/codec/rounding"], None])
def test_limits_are_a_mapping(codec, limits):
    with pytest.raises(InputError, match="limits are .*; expected a mapping of names"):
        rdpipe.decompose(codec, IMAGE, limits)


def test_a_gaussian_field_is_an_image():
    field = 40 * np.random.default_rng(0).standard_normal((32, 32, 1)).astype(np.float32)
    terms = rdpipe.decompose(klt(1, steps=[20.0], rho=0.9), field, LIMIT)
    assert np.isfinite(terms["total"].values).all()


def test_default_limits_are_those_of_the_workflow():
    """Without a calibration dataset, whose reconstructions are plain."""
    limits = yaml.safe_load(SCHEMA.read_text())["properties"]["limits"]["default"]
    plain = {name: {**cell, "reconstruction": "plain"} for name, cell in limits.items()}
    assert LIMITS == {name: CellId.from_mapping(cell) for name, cell in plain.items()}


def test_terms_hold_at_the_psnr_of_the_codec(codec):
    """The bits of the limit are those at the level at which its picture has this PSNR."""
    terms = rdpipe.decompose(codec, IMAGE, CHANNEL)
    assert terms["matched_at"].values.tolist() == ["psnr"]
    assert terms["kind"].values.tolist() == ["upper bound on R(D)"]
    (latents,) = Extractor(codec).latents("image", IMAGE)
    cell = CellId.parse(CHANNEL["decodable"])
    entries = {"means": {"codec": {}}, "variances": {"codec": {}}}
    entries["quantizers"] = {"test-channel": {}}
    simulation = Simulation(codec, {"a": cell}, entries, {}, [latents])
    simulated = simulation.run([CodedImage([latents], IMAGE)])
    assert psnr(simulated["mse"].item()) == pytest.approx(terms["psnr"].item(), abs=0.01)
    end = simulated["bits"].item() + terms["side_bits"].item()
    assert terms["total"].item() == pytest.approx(8 * terms["bytes"].item() - end)
    assert terms["bits"].sel(term="variance").isnull().all()  # not measured
