"""Factories: every codec of the registry, and codecs of files."""

import numpy as np
import pytest
import safetensors.torch
import torch
from small_models import IMAGE, QUALITY

from rdpipe.codecs import CODECS, EMBEDDED, bitstream
from rdpipe.codecs.compressai import from_checkpoint, from_training, mini_mean_scale
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import load_attribute


def test_another_codec_of_the_same_file_decodes_the_same_image(model, architecture, tmp_path):
    file = tmp_path / "m.safetensors"
    safetensors.torch.save_file(dict(model.named_parameters()), file)
    codec, other = (from_checkpoint(QUALITY, architecture, str(file), "cpu") for _ in range(2))
    stream = codec.compress(IMAGE)
    np.testing.assert_array_equal(other.decompress(stream), codec.decompress(stream))
    stream = bitstream.encode(codec, IMAGE)
    np.testing.assert_array_equal(bitstream.decode(other, stream), bitstream.decode(codec, stream))


@pytest.mark.parametrize("name", sorted(file.stem for file in EMBEDDED.glob("*.safetensors")))
def test_embedded_codec_has_more_bits_and_better_images_at_each_quality(name):
    image = np.kron(IMAGE[::10, ::10], np.ones((10, 10, 1), np.uint8))  # something to compress
    sizes, errors = [], []
    for quality in (1, 2, 3, 4):
        codec = load_attribute(CODECS[name])(quality, "cpu")
        stream = codec.compress(image)
        sizes.append(len(stream))
        errors.append(np.square(image.astype(float) - codec.decompress(stream)).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("name", sorted(CODECS))
def test_every_name_of_the_registry_can_be_loaded(name):
    assert callable(load_attribute(CODECS[name]))


def test_unknown_quality_of_an_embedded_codec_is_refused():
    with pytest.raises(InputError, match="quality 9 does not exist; expected 1 to 4"):
        mini_mean_scale(9)


@pytest.mark.parametrize("quality", [2.5, "2", None])
def test_quality_that_is_not_an_integer_is_refused(quality):
    with pytest.raises(InputError, match="is not an integer; expected 1 to 4"):
        mini_mean_scale(quality)


def test_quality_may_be_an_integer_of_numpy():
    assert mini_mean_scale(np.int64(2), "cpu").compress(IMAGE) == mini_mean_scale(2).compress(IMAGE)


def test_random_numbers_of_the_caller_do_not_depend_on_the_codec():
    before = torch.get_rng_state()
    mini_mean_scale(2, "cpu").compress(IMAGE)
    assert torch.equal(torch.get_rng_state(), before)


def test_plain_weights_are_not_a_training(model, tmp_path):
    safetensors.torch.save_file(model.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="quality 1 does not exist"):
        from_training(1, str(tmp_path / "m.safetensors"))
