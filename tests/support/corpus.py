"""Odd and hostile inputs: functions that return the content of a file, by its name."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import safetensors.torch
import torch
from PIL import Image, ImageCms

from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(height: int = 40, width: int = 50) -> Image.Image:
    """Return an image of noise."""
    return Image.fromarray(np.resize(COLOR, (height, width, 3)))


def truncated(form: str) -> bytes:
    """Return the first half of an image file."""
    whole = encoded(picture(), form)
    return whole[: len(whole) // 2]


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    """Return a PNG whose header states a size, but which has no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rest = b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + rest


def color_16_bit() -> bytes:
    """Return a PNG with 16-bit samples, which Pillow cannot write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    row = b"\0" + struct.pack(">6H", 0, 32768, 65535, 65535, 257, 0)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


def with_orientation() -> bytes:
    """Return a JPEG whose EXIF data says that it is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), "JPEG", exif=exif)


def profile(space: str) -> bytes:
    """Return the ICC profile of a color space."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()


def jpeg_xl_of(width: int, height: int) -> bytes:
    """Return the header of a JPEG XL image that states a size of up to 2^30 on each side."""
    fields = ((0, 1), (3, 2), (height - 1, 30), (0, 3), (3, 2), (width - 1, 30))
    header = position = 0
    for value, count in fields:
        header |= value << position
        position += count
    return b"\xff\x0a" + header.to_bytes(9, "little") + bytes(50)


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(executed) (w) file closefile\nshowpage\n"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'
GRAY_16 = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
COLOR_16 = COLOR.astype(np.uint16) * 257
BEYOND_16_BITS = np.full((4, 4), 1 << 20, np.int32)

IMAGES = {
    "cut.png": lambda: truncated("PNG"),
    "cut.jpg": lambda: truncated("JPEG"),
    "cut.webp": lambda: truncated("WEBP"),
    "cut.tif": lambda: truncated("TIFF"),
    "empty.png": lambda: b"",
    "zeros.jpg": lambda: bytes(5000),
    "noise.png": lambda: RNG.bytes(5000),
    "header-only.png": lambda: b"\x89PNG\r\n\x1a\n",
    "flipped.png": lambda: bytes(b ^ (i == 100) for i, b in enumerate(encoded(picture()))),
    "page.png": lambda: b"<html><script>alert(1)</script></html>",
    "program.png": lambda: b"#!/bin/sh\ntouch executed\n",
    "postscript.png": lambda: POSTSCRIPT,
    "drawing.png": lambda: SVG,
    "phone.heic": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500),
    "cut.jxl": lambda: imagecodecs.jpegxl_encode(COLOR)[:200],
    "cut.avif": lambda: imagecodecs.avif_encode(COLOR)[:500],
    "no-codestream.jxl": lambda: b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x08free",
    "bomb.png": lambda: png_of(60_000, 60_000),
    "bomb.jxl": lambda: jpeg_xl_of(1 << 30, 1 << 30),
    "large.png": lambda: png_of(10_000, 10_000),
    "text-bomb.png": lambda: png_of(9, 9, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26)))),
    "no-pixels.png": lambda: png_of(0, 0),
    "float.tif": lambda: encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
    "float.jxl": lambda: imagecodecs.jpegxl_encode(COLOR.astype(np.float32) / 255, lossless=True),
    "beyond-16-bit.tif": lambda: encoded(Image.fromarray(BEYOND_16_BITS), "TIFF"),
    "one.png": lambda: encoded(picture(1, 1)),
    "line.png": lambda: encoded(picture(1, 5000)),
    "column.png": lambda: encoded(picture(5000, 1)),
    "jpeg.png": lambda: encoded(picture(), "JPEG"),
    "UPPER.PNG": lambda: encoded(picture()),
    "one-bit.png": lambda: encoded(picture().convert("1")),
    "gray.png": lambda: encoded(picture().convert("L")),
    "gray-16.png": lambda: encoded(Image.fromarray(GRAY_16)),
    "color-16.png": color_16_bit,
    "palette.png": lambda: encoded(picture().quantize(8)),
    "alpha.png": lambda: encoded(picture().convert("RGBA")),
    "gray-alpha.png": lambda: encoded(picture().convert("LA")),
    "cmyk.jpg": lambda: encoded(picture().convert("CMYK"), "JPEG"),
    "ycbcr.tif": lambda: encoded(picture().convert("YCbCr"), "TIFF"),
    "turned.jpg": with_orientation,
    "animated.webp": lambda: encoded(
        picture(), "WEBP", save_all=True, append_images=[picture(40, 50)] * 2
    ),
    "pages.tif": lambda: encoded(picture(), "TIFF", save_all=True, append_images=[picture(9, 9)]),
    "animated.png": lambda: encoded(picture(), save_all=True, append_images=[picture()]),
    "gif.png": lambda: encoded(picture(), "GIF"),
    "animated.gif": lambda: encoded(
        picture(), "GIF", save_all=True, append_images=[Image.new("RGB", (50, 40))]
    ),
    "transparent.gif": lambda: encoded(picture().quantize(8), "GIF", transparency=0),
    "bitmap.bmp": lambda: encoded(picture(), "BMP"),
    "color.ppm": lambda: encoded(picture(), "PPM"),
    "color-16.ppm": lambda: b"P6 2 1 65535\n" + struct.pack(">6H", 0, 32768, 65535, 257, 0, 1),
    "gray-10.pgm": lambda: b"P5 2 1 1023\n" + struct.pack(">2H", 0, 1023),
    "color.jp2": lambda: imagecodecs.jpeg2k_encode(COLOR),
    "color-16.jp2": lambda: imagecodecs.jpeg2k_encode(COLOR_16),
    "color.avif": lambda: imagecodecs.avif_encode(COLOR),
    "color-10.avif": lambda: imagecodecs.avif_encode(COLOR_16 >> 6, bitspersample=10),
    "avif.heic": lambda: imagecodecs.avif_encode(COLOR),
    "color.jxl": lambda: imagecodecs.jpegxl_encode(COLOR),
    "animated.jxl": lambda: imagecodecs.jpegxl_encode(np.stack([COLOR] * 2), photometric="rgb"),
    "boxes.jxl": lambda: imagecodecs.jpegxl_encode(COLOR, usecontainer=True),
    "color-16.jxl": lambda: imagecodecs.jpegxl_encode(COLOR_16, lossless=True),
    "gray-16.jxl": lambda: imagecodecs.jpegxl_encode(COLOR_16[..., 0], lossless=True),
    "alpha.jxl": lambda: imagecodecs.jpegxl_encode(np.dstack([COLOR, COLOR[..., :1]])),
    "srgb.png": lambda: encoded(picture(), icc_profile=profile("sRGB")),
    "lab.png": lambda: encoded(picture(), icc_profile=profile("LAB")),
    "broken-profile.png": lambda: encoded(picture(), icc_profile=b"no profile"),
}

NAMES = [
    "with space.png",
    "it's.png",
    'say "hi".png',
    "ünïcödé-图像.png",
    "two\nlines.png",
    "tab\t.png",
    "$(touch executed).png",
    "`touch executed`.png",
    ";touch executed;.png",
    "-rf.png",
    "{quality}.png",
    "*?[a].png",
    "<script>alert(1)<&script>.png",
    "a\\b.png",
    "%s%n.png",
    "~.png",
    "🙂.png",
    "x" * 240 + ".png",
]
"""Names of images that are read under exactly this name."""


class Hostile:
    """An object whose pickle writes a file when it is loaded."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def state() -> dict[str, torch.Tensor]:
    """Return valid weights of a small network."""
    torch.manual_seed(0)
    return ARCHITECTURES["mbt2018-mean"][0](8, 12).state_dict()


def saved(content) -> bytes:
    """Return the bytes of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed(**replacements) -> bytes:
    """Return a checkpoint in which some weights are replaced, or removed if None."""
    weights = {
        **state(),
        **{name.replace("__", "."): value for name, value in replacements.items()},
    }
    return saved({name: value for name, value in weights.items() if value is not None})


CHECKPOINTS = {
    "pickled-code.pt": lambda: saved({"state_dict": Hostile()}),
    "empty.pt": lambda: b"",
    "page.pt": lambda: b"<html>404</html>",
    "cut.pt": lambda: saved(state())[:2000],
    "cut.safetensors": lambda: safetensors.torch.save(state())[:3000],
    "header-bomb.safetensors": lambda: struct.pack("<Q", 1 << 60) + b"{}",
    "list.pt": lambda: saved([1, 2]),
    "nothing-inside.pt": lambda: saved({}),
    "text-inside.pt": lambda: changed(extra="text"),
    "missing-key.pt": lambda: changed(h_s__0__weight=None),
    "wrong-shape.pt": lambda: changed(h_s__0__weight=torch.zeros(3, 3)),
    "scalar.pt": lambda: changed(g_a__0__weight=torch.tensor(1.0)),
    "nan.pt": lambda: changed(g_a__0__bias=torch.full((8,), float("nan"))),
    "infinite.pt": lambda: changed(g_a__0__bias=torch.full((8,), float("inf"))),
    "other-network.pt": lambda: saved(ARCHITECTURES["mbt2018"][0](8, 12).state_dict()),
}


def archive(**members: bytes) -> bytes:
    """Return a zip archive whose members have any names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return buffer.getvalue()


PNG = encoded(picture(4, 6))
ARCHIVES = {
    "up.zip": lambda: archive(**{"../../up.png": PNG, "b.png": PNG}),
    "absolute.zip": lambda: archive(**{"/tmp/absolute-path-of-rdpipe.png": PNG, "b.png": PNG}),
    "same-name.zip": lambda: archive(**{"x/a.png": PNG, "y/a.png": PNG}),
    "line-break.zip": lambda: archive(**{"a\n0.png": PNG, "b.png": PNG}),
    "bomb.zip": lambda: archive(**{"a.png": bytes((1 << 28) + 1), "b.png": PNG}),
    "cut.zip": lambda: archive(**{"a.png": PNG, "b.png": PNG})[:-30],
    "flipped.zip": lambda: bytes(
        b ^ (i == 60) for i, b in enumerate(archive(**{"a.png": PNG, "b.png": PNG}))
    ),
    "page.zip": lambda: b"<html>choose a mirror</html>",
}


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name
