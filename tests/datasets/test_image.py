"""Each kind of file gives what the table in rdpipe.datasets.image says."""

import io
from functools import partial

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from rdpipe.core.errors import InputError
from rdpipe.datasets.image import load_image, read_image

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = COLOR[..., 0]


def saved(tmp_path, image, name="x.png", **options):
    file = tmp_path / name
    image.save(file, **options)
    return str(file)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_rgb_is_unchanged(tmp_path, name):
    options = {"lossless": True} if name == "x.webp" else {}
    pixels, _, conversion = read_image(saved(tmp_path, Image.fromarray(COLOR), name, **options))
    assert np.array_equal(pixels, COLOR) and conversion == "none"


def test_gray_fills_all_channels(tmp_path):
    pixels, _, conversion = read_image(saved(tmp_path, Image.fromarray(GRAY)))
    assert np.array_equal(pixels, np.dstack([GRAY] * 3)) and conversion == "L to RGB"


def test_16_bit_gray_is_rounded(tmp_path):
    values = np.array([[0, 128, 129, 257, 65535, 65406, 65407]], dtype=np.uint16)
    pixels, _, conversion = read_image(saved(tmp_path, Image.fromarray(values)))
    expected = np.round(values / 257)
    assert np.array_equal(pixels[..., 0], expected) and "16-bit" in conversion


def test_alpha_is_composited_over_white(tmp_path):
    alpha = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    pixels, _, conversion = read_image(saved(tmp_path, Image.fromarray(np.dstack([COLOR, alpha]))))
    a = alpha[..., None] / 255
    assert (
        np.abs(pixels - (a * COLOR + (1 - a) * 255)).max() <= 1 and conversion == "alpha over white"
    )


def test_palette_gives_its_colors(tmp_path):
    image = Image.fromarray(COLOR).quantize(16)
    pixels, _, _ = read_image(saved(tmp_path, image))
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def test_cmyk_becomes_rgb(tmp_path):
    cmyk = np.zeros((2, 2, 4), np.uint8)
    cmyk[0, 0] = [255, 0, 0, 0]  # cyan
    file = saved(tmp_path, Image.fromarray(cmyk, "CMYK"), "x.tif")
    pixels, _, conversion = read_image(file)
    assert pixels[0, 0].tolist() == [0, 255, 255] and pixels[1, 1].tolist() == [255] * 3
    assert conversion == "CMYK to RGB"


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    file = saved(tmp_path, Image.fromarray(COLOR), exif=exif)
    pixels, _, conversion = read_image(file)
    assert np.array_equal(pixels, np.rot90(COLOR, -1)) and "orientation" in conversion


def test_first_of_several_frames_is_read(tmp_path):
    second = Image.fromarray(255 - COLOR)
    file = saved(tmp_path, Image.fromarray(COLOR), "x.tif", save_all=True, append_images=[second])
    assert np.array_equal(read_image(file)[0], COLOR)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b"not an image at all", "not an image"),
        (None, "No such file"),
    ],
)
def test_unreadable_files_are_named(tmp_path, content, message):
    file = tmp_path / "bad.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=f"bad.png.*{message}"):
        read_image(str(file))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.tif"])
def test_truncated_file_is_named(tmp_path, name):
    big = Image.fromarray(RNG.integers(0, 256, (80, 90, 3), dtype=np.uint8))
    file = tmp_path / name
    big.save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=name):
        read_image(str(file))


def test_floating_point_image_is_refused(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.ones((2, 2), np.float32)), "x.tif")
    with pytest.raises(InputError, match="floating-point"):
        read_image(file)


def test_file_that_has_changed_since_the_manifest_is_refused(tmp_path):
    file = saved(tmp_path, Image.fromarray(COLOR))
    _, digest, _ = read_image(file)
    assert np.array_equal(load_image(file, digest), COLOR)
    Image.fromarray(255 - COLOR).save(file)
    with pytest.raises(InputError, match="has changed since"):
        load_image(file, digest)


def test_limit_of_pixels_can_be_raised(tmp_path):
    """The image has 35 pixels. An image in a manifest was accepted before and is read."""
    file = saved(tmp_path, Image.fromarray(COLOR))
    message = "7 x 5 is 35; expected at most 34; `max_pixels` in the args of a dataset `folder`"
    with pytest.raises(InputError, match=message):
        read_image(file, max_pixels=34)
    for limit in (35, None):
        assert np.array_equal(read_image(file, limit)[0], COLOR)


def test_limit_of_pillow_is_neither_used_nor_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    file = saved(tmp_path, Image.fromarray(COLOR))
    pixels, digest, _ = read_image(file)
    assert np.array_equal(load_image(file, digest), pixels)
    with pytest.raises(InputError):
        read_image(file, max_pixels=1)
    assert Image.MAX_IMAGE_PIXELS == 10


def pillow_bytes(array, form):
    """Return an array as an image file in a format of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


ENCODERS = {
    **{f: partial(pillow_bytes, form=f) for f in ("BMP", "PPM", "TIFF", "QOI")},
    "JPEG 2000": imagecodecs.jpeg2k_encode,
    "JPEG XL": partial(imagecodecs.jpegxl_encode, lossless=True),
    "AVIF": partial(imagecodecs.avif_encode, level=100, pixelformat="444"),
}  # of an array without loss


@pytest.mark.parametrize("form", ENCODERS)
def test_lossless_formats_give_the_samples_under_any_suffix(tmp_path, form):
    file = tmp_path / "x.png"
    file.write_bytes(ENCODERS[form](COLOR))
    pixels, _, conversion = read_image(str(file))
    assert np.abs(pixels.astype(int) - COLOR).max() <= (2 if form == "AVIF" else 0)
    assert conversion == "none"


@pytest.mark.parametrize("form", ["PPM", "PNG", "JPEG 2000", "JPEG XL"])
def test_16_bit_color_is_reduced_and_said(tmp_path, form):
    values = COLOR.astype(np.uint16) * 257
    encode = {
        "PPM": lambda a: b"P6 7 5 65535\n" + a.astype(">u2").tobytes(),
        "PNG": imagecodecs.png_encode,
        "JPEG 2000": imagecodecs.jpeg2k_encode,
        "JPEG XL": lambda a: imagecodecs.jpegxl_encode(a, lossless=True),
    }
    file = tmp_path / "x"
    file.write_bytes(encode[form](values))
    pixels, _, conversion = read_image(str(file))
    rounding = 1 if form == "JPEG 2000" else 0  # Pillow rounds v / 256
    assert np.abs(pixels.astype(int) - COLOR).max() <= rounding
    assert conversion == "16-bit color reduced to 8 bits"


def test_first_frame_of_a_gif_is_read(tmp_path):
    first = Image.fromarray(COLOR).quantize(16)
    file = saved(tmp_path, first, "x.gif", save_all=True, append_images=[first.rotate(180)])
    assert np.array_equal(read_image(file)[0], np.asarray(first.convert("RGB")))
