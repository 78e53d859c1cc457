"""A range coder whose bytes decode on any machine.

An encoder and a decoder must use exactly the same probabilities. Two machines do not compute them:
the last bits of a network's output, and of ``exp`` or ``log_ndtr``, depend on the instruction set,
on the number of threads and on the version of a library. Here both sides round such numbers to a
grid before they use them (:meth:`Coder.agree`, :meth:`Coder.agree_ratio`). A number close to the
edge between two grid points could be rounded to either of them, so the encoder transmits which one
it took::

    checksum | numbers near an edge: how many; distance to the previous one, direction | range coder
    4 bytes    1 byte, and about 3 bytes for each of them

Only differences that are larger than the margin lose the stream. Float64 arithmetic stays far below
it; float32 networks do not. The checksum covers every symbol, the directions and what the caller
writes before the stream: a stream that decodes to something else is an error, never an image.

References
----------
J. Balle, N. Johnston, D. Minnen, "Integer Networks for Data Compression with Latent-Variable
Models", ICLR 2019 (the problem).
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import lazy_loader
import numpy as np

from rdpipe.core.errors import InputError

if TYPE_CHECKING:
    import constriction
    import torch
    from torch import Tensor
else:
    constriction = lazy_loader.load("constriction")
    torch = lazy_loader.load("torch")

GRID = 2.0**18
"""Grid points per unit of a number."""
RATIO_GRID = 2.0**12
"""Grid points per octave of a ratio: its logarithm changes by less than 2^-11."""
MARGIN = 2.0**-20
"""Distance from an edge, in grid points, within which a direction is transmitted.

It is 4e-12 of a number and 2e-10 of a ratio. Networks in float64 differ by less than 1e-13 between
instruction sets.
"""
SHIFT = 0.381966
"""Fraction of a grid point at which numbers are rounded up.

It is not a fraction that exact numbers have, so that halves and quarters lie far from an edge.
"""
VERSION = 1
"""Version of the format of bitstreams, the first byte of each."""
OTHER_NUMBERS = (
    "the bytes do not decode to the symbols that were written: the codec predicts other"
    " probabilities here than where they were written, or the bytes are damaged; expected the same"
    " weights, and networks that predict means and scales in float64"
)


class DecodingError(InputError):
    """A stream that does not decode to what was written."""


def check_version(version: int) -> None:
    """Check that a bitstream has the version of the format that is read here.

    Raises
    ------
    DecodingError
        If it has another.
    """
    if version != VERSION:
        raise DecodingError(
            f"the bytes have version {version} of the format; expected version {VERSION}"
        )


def round_ratio(x: Tensor) -> Tensor:
    """Return what :meth:`Coder.agree_ratio` makes of nonnegative numbers in an encoder."""
    mantissa, exponent = torch.frexp(x.double())  # mantissa in [1/2, 1)
    rounded = (mantissa * 2 * RATIO_GRID + SHIFT).floor()
    return torch.ldexp(rounded / (2 * RATIO_GRID), exponent)


class Coder(ABC):
    """Either direction of the range coder.

    Parameters
    ----------
    header : bytes
        What the caller writes before the stream; the checksum covers it.
    """

    reads: bool

    def __init__(self, header: bytes = b"") -> None:
        self._checksum = zlib.crc32(header)
        self._count = 0

    def agree(self, x: Tensor) -> Tensor:
        """Return numbers rounded to multiples of 1 / GRID, the same in encoder and decoder."""
        return self._round(x.double() * GRID) / GRID

    def agree_integer(self, x: Tensor) -> Tensor:
        """Return numbers rounded to integers, the same in encoder and decoder."""
        return self._round(x.double())

    def agree_ratio(self, x: Tensor) -> Tensor:
        """Return nonnegative numbers rounded relative to their size, alike on both sides."""
        mantissa, exponent = torch.frexp(x.double())  # mantissa in [1/2, 1)
        return torch.ldexp(self._round(mantissa * 2 * RATIO_GRID) / (2 * RATIO_GRID), exponent)

    def _round(self, x: Tensor) -> Tensor:
        """Round numbers to integers, alike on both sides."""
        shifted = x + SHIFT
        rounded = shifted.floor()
        fraction = shifted - rounded
        margin = MARGIN * (1 + x.abs() / GRID)
        near = torch.minimum(fraction, 1 - fraction) < margin
        start, self._count = self._count, self._count + x.numel()
        return self._settle(rounded, fraction, near, start)

    @abstractmethod
    def _settle(self, rounded: Tensor, fraction: Tensor, near: Tensor, start: int) -> Tensor:
        """Return the integers; those of numbers near an edge are the encoder's."""

    def _add(self, symbols: Any) -> None:
        """Include symbols in the checksum."""
        data = np.ascontiguousarray(symbols, dtype=np.int32).tobytes()
        self._checksum = zlib.crc32(data, self._checksum)


class Encoder(Coder):
    """Writes symbols."""

    reads = False

    def __init__(self, header: bytes = b"") -> None:
        super().__init__(header)
        self._coder = constriction.stream.queue.RangeEncoder()
        self._edges: list[int] = []
        self._last = 0

    def _settle(self, rounded: Tensor, fraction: Tensor, near: Tensor, start: int) -> Tensor:
        if near.any():
            up = (fraction > 0.5).flatten()
            for place in near.flatten().nonzero()[:, 0].tolist():
                # the direction in which a decoder may find the other grid point
                self._edges.append(2 * (start + place - self._last) + int(up[place]))
                self._last = start + place
        return rounded

    def encode(self, symbols: Any, *model: Any) -> None:
        """Encode symbols with a model of ``constriction``."""
        self._add(symbols)
        self._coder.encode(symbols, *model)

    def to_bytes(self) -> bytes:
        """Return all that was written."""
        edges = b"".join(map(_varint, [len(self._edges), *self._edges]))
        words: bytes = self._coder.get_compressed().astype(">u4").tobytes()
        return zlib.crc32(edges, self._checksum).to_bytes(4, "big") + edges + words


class Decoder(Coder):
    """Reads symbols.

    Parameters
    ----------
    stream : bytes
        From :meth:`Encoder.to_bytes`.
    header : bytes
        That of the encoder.

    Raises
    ------
    DecodingError
        If they are too short.
    """

    reads = True

    def __init__(self, stream: bytes, header: bytes = b""):
        super().__init__(header)
        try:
            self._expected = int.from_bytes(stream[:4], "big")
            count, place = _read_varint(stream, 4)
            self._edges: dict[int, bool] = {}
            position = 0
            for _ in range(count):
                edge, place = _read_varint(stream, place)
                position += edge // 2
                self._edges[position] = bool(edge % 2)
            self._edge_bytes = stream[4:place]
            words = np.frombuffer(stream, ">u4", offset=place).astype(np.uint32)
        except (IndexError, ValueError) as error:
            raise DecodingError(OTHER_NUMBERS) from error
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def _settle(self, rounded: Tensor, fraction: Tensor, near: Tensor, start: int) -> Tensor:
        if not self._edges:
            return rounded
        result = rounded.flatten().clone()
        for place in [p for p in self._edges if start <= p < start + result.numel()]:
            # the encoder's number was just below an edge (up) or just above it
            up, here = self._edges.pop(place), fraction.flatten()[place - start]
            if up and here < 0.5:
                result[place - start] -= 1
            elif not up and here > 0.5:
                result[place - start] += 1
        return result.view(rounded.shape)

    def decode(self, *model: Any) -> Any:
        """Decode symbols with a model of ``constriction``."""
        symbols = self._coder.decode(*model)
        self._add(symbols)
        return symbols

    def finish(self) -> None:
        """Check that everything is what was written.

        Raises
        ------
        DecodingError
            If they are not.
        """
        if zlib.crc32(self._edge_bytes, self._checksum) != self._expected:
            raise DecodingError(OTHER_NUMBERS)


def _varint(value: int) -> bytes:
    """Return a nonnegative integer as groups of seven bits, the least first."""
    groups = bytearray()
    while value >= 128:
        groups.append(value % 128 + 128)
        value //= 128
    return bytes([*groups, value])


def _read_varint(stream: bytes, place: int) -> tuple[int, int]:
    """Return an integer from :func:`_varint`, and the place after it."""
    value = shift = 0
    while True:
        byte = stream[place]
        value += (byte % 128) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
