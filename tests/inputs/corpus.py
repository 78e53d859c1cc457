"""Makers of hostile and odd inputs: each writes one into a folder."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(height: int = 40, width: int = 50) -> Image.Image:
    return Image.fromarray(np.resize(COLOUR, (height, width, 3)))


def cut(form: str) -> bytes:
    whole = encoded(picture(), form)
    return whole[: len(whole) // 2]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that says it has so many pixels, and has none."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rest = b"".join(more) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + rest


def sixteen_bit_colour() -> bytes:
    """Pillow writes none: a filter byte, then big-endian samples."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    row = b"\0" + struct.pack(">6H", 0, 32768, 65535, 65535, 257, 0)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


def with_orientation() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), "JPEG", exif=exif)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(executed) (w) file closefile\nshowpage\n"

IMAGES = {
    "cut.png": lambda: cut("PNG"),
    "cut.jpg": lambda: cut("JPEG"),
    "cut.webp": lambda: cut("WEBP"),
    "cut.tif": lambda: cut("TIFF"),
    "empty.png": lambda: b"",
    "zeros.jpg": lambda: bytes(5000),
    "noise.png": lambda: RNG.bytes(5000),
    "header-only.png": lambda: b"\x89PNG\r\n\x1a\n",
    "flipped.png": lambda: bytes(b ^ (i == 100) for i, b in enumerate(encoded(picture()))),
    "page.png": lambda: b"<html><script>alert(1)</script></html>",
    "program.png": lambda: b"#!/bin/sh\ntouch executed\n",
    "postscript.png": lambda: POSTSCRIPT,
    "drawing.png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "gif.png": lambda: encoded(picture(), "GIF"),
    "bomb.png": lambda: png_of(60_000, 60_000),
    "text-bomb.png": lambda: png_of(9, 9, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26)))),
    "no-pixels.png": lambda: png_of(0, 0),
    "float.tif": lambda: encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
    "beyond-16-bit.tif": lambda: encoded(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"),
    "one.png": lambda: encoded(picture(1, 1)),
    "line.png": lambda: encoded(picture(1, 5000)),
    "column.png": lambda: encoded(picture(5000, 1)),
    "jpeg.png": lambda: encoded(picture(), "JPEG"),
    "UPPER.PNG": lambda: encoded(picture()),
    "one-bit.png": lambda: encoded(picture().convert("1")),
    "grey.png": lambda: encoded(picture().convert("L")),
    "grey-16.png": lambda: encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040)),
    "colour-16.png": sixteen_bit_colour,
    "palette.png": lambda: encoded(picture().quantize(8)),
    "alpha.png": lambda: encoded(picture().convert("RGBA")),
    "grey-alpha.png": lambda: encoded(picture().convert("LA")),
    "cmyk.jpg": lambda: encoded(picture().convert("CMYK"), "JPEG"),
    "lab.tif": lambda: encoded(picture().convert("YCbCr"), "TIFF"),
    "turned.jpg": with_orientation,
    "animated.webp": lambda: encoded(picture(), "WEBP", save_all=True, append_images=[picture(40, 50)] * 2),
    "pages.tif": lambda: encoded(picture(), "TIFF", save_all=True, append_images=[picture(9, 9)]),
    "animated.png": lambda: encoded(picture(), save_all=True, append_images=[picture()]),
}

NAMES = ["with space.png", "it's.png", 'say "hi".png', "ünïcödé-图像.png", "two\nlines.png", "tab\t.png",
         "$(touch executed).png", "`touch executed`.png", ";touch executed;.png", "-rf.png", "{quality}.png",
         "*?[a].png", "<script>alert(1)<&script>.png", "a\\b.png", "%s%n.png", "~.png", "🙂.png",
         "x" * 240 + ".png"]  # fmt: skip
"""All of them are read under the name that they have."""


class Hostile:
    """Pickled, it writes a file where it is read."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return ARCHITECTURES["mbt2018-mean"][0](8, 12).state_dict()


def saved(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed(**new) -> bytes:
    """Weights of which some are others, or missing if None."""
    weights = {**state(), **{name.replace("__", "."): value for name, value in new.items()}}
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
    """A zip of two images, whose members' names may be anything."""
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
    "flipped.zip": lambda: bytes(b ^ (i == 60) for i, b in enumerate(archive(**{"a.png": PNG, "b.png": PNG}))),
    "page.zip": lambda: b"<html>choose a mirror</html>",
}


def write(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name
