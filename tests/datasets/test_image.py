"""Each kind of file gives what the table in rdpipe.datasets.image says."""

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
