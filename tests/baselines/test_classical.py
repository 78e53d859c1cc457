"""Classical baselines write real streams of their format, which another library decodes."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from skimage import data

from rdpipe.baselines import BASELINES
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry

IMAGE = data.chelsea()
CLASSICAL = sorted(BASELINES.keys() - {"external"})
MAGIC = {
    "jpeg": (b"\xff\xd8\xff", imagecodecs.jpeg8_decode),
    "jpeg2000": (b"\xff\x4f\xff\x51", imagecodecs.jpeg2k_decode),
    "webp": (b"RIFF", imagecodecs.webp_decode),
    "avif": (b"\x00\x00\x00\x20ftypavif", imagecodecs.avif_decode),
    "jpegxl": (b"\xff\x0a", imagecodecs.jpegxl_decode),
}


def baseline(name: str, **args):
    return build_entry("baseline", name, {"args": args}, BASELINES)


def squared_error(a, b) -> float:
    return np.square(a.astype(float) - b).mean()


@pytest.mark.parametrize("name", CLASSICAL)
def test_another_decoder_reads_the_same_image(name):
    stream, decoded = baseline(name)(IMAGE, 50)
    magic, decode = MAGIC[name]
    assert stream.startswith(magic)
    assert decoded.shape == IMAGE.shape and decoded.dtype == np.uint8
    # chroma may be interpolated in another way
    assert squared_error(decode(stream)[..., :3], decoded) < 0.5


@pytest.mark.parametrize("name", CLASSICAL)
def test_higher_quality_has_more_bytes_and_less_error(name):
    sizes, errors = [], []
    for quality in (10, 35, 60, 90):
        stream, decoded = baseline(name)(IMAGE, quality)
        sizes.append(len(stream))
        errors.append(squared_error(IMAGE, decoded))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 1), (33, 64)])
def test_small_gray_images_keep_their_size_and_stay_gray(name, shape):
    gray = np.linspace(40, 200, shape[0] * shape[1]).astype(np.uint8).reshape(*shape, 1)
    _, decoded = baseline(name)(np.repeat(gray, 3, axis=2), 60)
    assert decoded.shape == (*shape, 3)
    assert np.ptp(decoded.astype(int), axis=2).max() <= 4
    assert abs(decoded.astype(int) - gray).mean() < 6


@pytest.mark.parametrize("name", CLASSICAL)
def test_same_image_gives_the_same_bytes(name):
    assert baseline(name)(IMAGE, 40)[0] == baseline(name)(IMAGE, 40)[0]


@pytest.mark.parametrize("target", [25, 30, 40])
def test_jpeg2000_reaches_the_psnr_of_its_quality(target):
    _, decoded = baseline("jpeg2000")(IMAGE, target)
    assert 10 * np.log10(255**2 / squared_error(IMAGE, decoded)) == pytest.approx(target, abs=1)


@pytest.mark.parametrize("quality", [30, 68, 90])
def test_jpegxl_maps_quality_to_distance_as_cjxl_does(quality):
    distance = 0.1 + 0.09 * (100 - quality)
    options = {"effort": 7, "usecontainer": False, "numthreads": 1}
    expected = imagecodecs.jpegxl_encode(IMAGE, distance=distance, **options)
    assert baseline("jpegxl")(IMAGE, quality)[0] == expected


@pytest.mark.parametrize("name", ["jpeg", "avif"])
def test_full_chroma_has_less_error_at_the_same_quality(name):
    half, full = (baseline(name, subsampling=s)(IMAGE, 90)[1] for s in ("4:2:0", "4:4:4"))
    assert squared_error(IMAGE, full) < squared_error(IMAGE, half)


def test_avif_is_tuned_for_psnr():
    """Pillow's default is libavif's own choice, which tunes for visual quality."""
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "AVIF", quality=30, speed=4, codec="aom", max_threads=1)
    by_default = np.asarray(Image.open(buffer).convert("RGB"))
    stream, decoded = baseline("avif")(IMAGE, 30)
    assert len(stream) < 0.97 * len(buffer.getvalue())
    assert squared_error(IMAGE, decoded) < 1.01 * squared_error(IMAGE, by_default)


@pytest.mark.parametrize(
    "name, args, quality, message",
    [
        ("jpg", {}, 50, "unknown baseline 'jpg'; did you mean 'jpeg'"),
        ("jpeg", {}, 101, "jpeg: 101 is not a quality; expected 0 to 100"),
        ("jpeg2000", {}, 0, "jpeg2000: 0 is not a quality; expected 1 to 100"),
        (
            "jpeg",
            {"subsampling": "420"},
            50,
            "jpeg subsampling is '420'; expected one of: 4:2:0, 4:2:2, 4:4:4",
        ),
        ("avif", {"speed": 11}, 50, "avif speed is 11; expected one of: 0, 1"),
        ("avif", {"tune": "vmaf"}, 50, "avif tune is 'vmaf'; expected one of: psnr, ssim, iq"),
        ("jpegxl", {"effort": 0}, 50, "jpegxl effort is 0; expected one of: 1, 2"),
        ("webp", {"speed": 1}, 50, "baseline 'webp': got an unexpected keyword argument 'speed'"),
    ],
)
def test_unknown_names_and_values_are_refused(name, args, quality, message):
    with pytest.raises(InputError, match=message):
        baseline(name, **args)(IMAGE, quality)


def test_image_beyond_the_limits_of_the_format_is_refused():
    with pytest.raises(InputError, match="webp cannot code an image of 16384 x 1 pixels"):
        baseline("webp")(np.zeros((1, 16384, 3), np.uint8), 50)
