"""Anchors: real streams of their format, which another library's decoder opens."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from skimage import data

from rdpipe.codecs import ANCHORS
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry

IMAGE = data.chelsea()
CLASSICAL = sorted(ANCHORS.keys() - {"external"})
MAGIC = {
    "jpeg": (b"\xff\xd8\xff", imagecodecs.jpeg8_decode),
    "jpeg2000": (b"\xff\x4f\xff\x51", imagecodecs.jpeg2k_decode),
    "webp": (b"RIFF", imagecodecs.webp_decode),
    "avif": (b"\x00\x00\x00\x20ftypavif", imagecodecs.avif_decode),
    "jpegxl": (b"\xff\x0a", imagecodecs.jpegxl_decode),
}


def anchor(name: str, **args):
    return build_entry("anchor", name, {"args": args}, ANCHORS)


def squared_error(a, b) -> float:
    return np.square(a.astype(float) - b).mean()


@pytest.mark.parametrize("name", CLASSICAL)
def test_another_decoder_finds_the_same_image_in_the_bytes(name):
    stream, decoded = anchor(name)(IMAGE, 50)
    magic, decode = MAGIC[name]
    assert stream.startswith(magic)
    assert decoded.shape == IMAGE.shape and decoded.dtype == np.uint8
    assert squared_error(decode(stream)[..., :3], decoded) < 0.5  # chroma may be interpolated otherwise


@pytest.mark.parametrize("name", CLASSICAL)
def test_quality_buys_fidelity_with_bytes(name):
    sizes, errors = [], []
    for quality in (10, 35, 60, 90):
        stream, decoded = anchor(name)(IMAGE, quality)
        sizes.append(len(stream))
        errors.append(squared_error(IMAGE, decoded))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 1), (33, 64)])
def test_odd_sizes_and_grey_come_back_in_their_size_and_grey(name, shape):
    grey = np.linspace(40, 200, shape[0] * shape[1]).astype(np.uint8).reshape(*shape, 1)
    _, decoded = anchor(name)(np.repeat(grey, 3, axis=2), 60)
    assert decoded.shape == (*shape, 3)
    assert np.ptp(decoded.astype(int), axis=2).max() <= 4
    assert abs(decoded.astype(int) - grey).mean() < 6


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_same_image_gives_the_same_bytes(name):
    assert anchor(name)(IMAGE, 40)[0] == anchor(name)(IMAGE, 40)[0]


@pytest.mark.parametrize("target", [25, 30, 40])
def test_jpeg_2000_meets_the_psnr_that_is_its_quality(target):
    _, decoded = anchor("jpeg2000")(IMAGE, target)
    assert 10 * np.log10(255**2 / squared_error(IMAGE, decoded)) == pytest.approx(target, abs=1)


@pytest.mark.parametrize("quality", [30, 68, 90])
def test_jpeg_xl_takes_quality_as_cjxl_does(quality):
    distance = 0.1 + 0.09 * (100 - quality)
    options = {"effort": 7, "usecontainer": False, "numthreads": 1}
    expected = imagecodecs.jpegxl_encode(IMAGE, distance=distance, **options)
    assert anchor("jpegxl")(IMAGE, quality)[0] == expected


@pytest.mark.parametrize("name", ["jpeg", "avif"])
def test_full_chroma_is_closer_at_the_same_quality(name):
    half, full = (anchor(name, subsampling=s)(IMAGE, 90)[1] for s in ("4:2:0", "4:4:4"))
    assert squared_error(IMAGE, full) < squared_error(IMAGE, half)


def test_avif_is_tuned_for_what_is_measured():
    """Pillow leaves the choice to libavif, which tunes for what is seen."""
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "AVIF", quality=30, speed=4, codec="aom", max_threads=1)
    as_it_comes = np.asarray(Image.open(buffer).convert("RGB"))
    stream, decoded = anchor("avif")(IMAGE, 30)
    assert len(stream) < 0.97 * len(buffer.getvalue())
    assert squared_error(IMAGE, decoded) < 1.01 * squared_error(IMAGE, as_it_comes)


@pytest.mark.parametrize(
    "name, args, quality, message",
    [
        ("jpg", {}, 50, "unknown anchor 'jpg'; did you mean 'jpeg'"),
        ("jpeg", {}, 101, "jpeg quality 101: allowed are 0 to 100"),
        ("jpeg2000", {}, 0, "jpeg2000 quality 0: allowed are 1 to 100"),
        ("jpeg", {"subsampling": "420"}, 50, "jpeg subsampling '420': allowed are 4:2:0, 4:2:2, 4:4:4"),
        ("avif", {"speed": 11}, 50, "avif speed 11: allowed are 0, 1"),
        ("avif", {"tune": "vmaf"}, 50, "avif tune 'vmaf': allowed are psnr, ssim, iq"),
        ("jpegxl", {"effort": 0}, 50, "jpegxl effort 0: allowed are 1, 2"),
        ("webp", {"speed": 1}, 50, "anchor 'webp': got an unexpected keyword argument 'speed'"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_refused(name, args, quality, message):
    with pytest.raises(InputError, match=message):
        anchor(name, **args)(IMAGE, quality)


def test_an_image_beyond_the_format_is_refused():
    with pytest.raises(InputError, match="webp cannot code 16384 x 1 pixels"):
        anchor("webp")(np.zeros((1, 16384, 3), np.uint8), 50)
