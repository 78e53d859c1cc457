"""The formats of images that are read, the suffixes of their files, and their bits per sample."""

from __future__ import annotations

PILLOW_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "QOI": (".qoi",),
    "PCX": (".pcx",),
    "SGI": (".sgi",),
}
"""Suffixes of each format that Pillow reads without another program and recognizes by its content.

Not all that Pillow opens: some formats are programs (Ghostscript executes EPS).
"""
JPEG_XL_SUFFIXES = (".jxl",)
"""Suffixes of the format that imagecodecs reads."""
HEIF_SUFFIXES = (".heic", ".heif")
"""Suffixes of a container that may hold AVIF; with another codec it is refused with the reason."""
SUFFIXES = (
    *(suffix for suffixes in PILLOW_SUFFIXES.values() for suffix in suffixes),
    *JPEG_XL_SUFFIXES,
    *HEIF_SUFFIXES,
)
"""Suffixes of files that are meant to be images."""
NAMES = "PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF, JPEG 2000, PPM, QOI, PCX, SGI or JPEG XL"
"""The formats in words."""
MAX_PIXELS = 89_478_485
"""Largest accepted number of pixels by default; Pillow's limit against decompression bombs.

A file of a few kilobytes can decode to more than the memory can hold.
"""


def is_heif(data: bytes) -> bool:
    """Return whether a file is a HEIF container, whatever codec its image has."""
    brands = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return data[4:8] == b"ftyp" and data[8:12] in brands


def avif_bits(data: bytes) -> int:
    """Return the bits per sample of an AVIF file, from its AV1 configuration ``av1C``; else 8.

    References
    ----------
    AV1 Codec ISO Media File Format Binding, section 2.3.3.
    """
    start = data.find(b"av1C")
    if start < 0 or len(data) < start + 7:
        return 8
    high, twelve = data[start + 6] & 0x40, data[start + 6] & 0x20
    return 12 if high and twelve else 10 if high else 8


def jpeg_2000_bits(data: bytes) -> int:
    """Return the bits per sample of the first component of a JPEG 2000 file; 8 without a header.

    References
    ----------
    ISO/IEC 15444-1, annex A.5.1: marker segment SIZ.
    """
    start = data.find(b"\xff\x4f\xff\x51")
    return (data[start + 42] & 0x7F) + 1 if 0 <= start < len(data) - 42 else 8
