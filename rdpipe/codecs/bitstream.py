"""The bitstream of any codec: the walk of the encoder, and the same walk of a decoder.

::

    version, height, width | coder (rdpipe.entropy.coder)
    9 bytes
"""

from __future__ import annotations

import struct

from rdpipe.core.protocols import Codec, Image
from rdpipe.core.running import decode_image, visit
from rdpipe.entropy.coder import (
    OTHER_NUMBERS,
    VERSION,
    Decoder,
    DecodingError,
    Encoder,
    check_version,
)
from rdpipe.entropy.coding_walk import CodingWalk
from rdpipe.entropy.precision import decoding, in_float64

HEADER = struct.Struct(">BII")
"""Version of the format; height and width of the image, pixels."""


def encode(codec: Codec, image: Image) -> bytes:
    """Write an image as a bitstream that decodes on any machine.

    Means and scales that differ in their last bits would lose the range coder. Encoder and decoder
    therefore use a copy of the codec in float64.

    Parameters
    ----------
    codec : Codec
    image : array
    """
    header = HEADER.pack(VERSION, *image.shape[:2])
    coder = Encoder(header)
    with in_float64(codec) as precise:
        visit(precise, CodingWalk(coder), image)
    return header + coder.to_bytes()


def decode(codec: Codec, stream: bytes) -> Image:
    """Return the decoded image.

    Parameters
    ----------
    codec : Codec
    stream : bytes
        From :func:`encode`.

    Raises
    ------
    DecodingError
        If the bytes do not decode to what was written.
    """
    if len(stream) < HEADER.size:
        raise DecodingError(OTHER_NUMBERS)
    version, *size = HEADER.unpack_from(stream)
    check_version(version)
    coder = Decoder(stream[HEADER.size :], stream[: HEADER.size])
    with decoding(coder), in_float64(codec) as precise:
        return decode_image(precise, CodingWalk(coder), size=(size[0], size[1]))
