"""Real bytes of a cell of the array whose coordinates are all decodable and realisable.

.. code-block:: none

    header | side information of the codec | range coder: what the variance sends; escapes and residuals
    30 bytes  only where mean or variance use it

References
----------
R. Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a Statistician's
Perspective", arXiv 2201.01741, 2022 (the ``constriction`` package, whose range coder this is).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import product

import constriction
import numpy as np
import torch

from rdpipe.axes import START, cell_name, escape
from rdpipe.axes.causal import traverse
from rdpipe.axes.cell import Cell
from rdpipe.errors import InputError
from rdpipe.latents import Latents
from rdpipe.random import standard_normal

HEADER = struct.Struct(">HHHIIIQ")
"""Channels, rows and columns of the latents; height, width; bytes of side information; noise key."""


def codes(spec: dict, fits: dict, context: bool = False) -> dict[str, Cell]:
    """The cells of a spec that are real codes: all decodable, and the quantizer realisable.

    Of a codec with a context model those that do without it; with it, or with a prior of the codec's
    own, its own bitstream is the code.
    """
    axes = (spec[section] for section in ("means", "variances", "quantizers"))
    cells = {
        cell_name(corner): Cell.from_spec(spec, fits, corner, context)
        for corner in (dict(zip(START, names)) for names in product(*axes))
    }
    return {
        name: cell
        for name, cell in cells.items()
        if cell.kind == "achievable"
        and not (context and sees_context(cell))
        and not cell.quantizer.own_prior
    }


def sees_context(cell: Cell) -> bool:
    """Whether a cell uses what comes out of a codec's context model."""
    return cell.mean.sees_context or cell.variance.sees_context


def encode(
    codec, cell: Cell, latents: Latents, image: np.ndarray, key: int
) -> tuple[bytes, torch.Tensor]:
    """Write an image as a real bitstream.

    Parameters
    ----------
    codec : Codec
        With ``side`` and ``predict``.
    cell : Cell
        One of kind "achievable".
    latents : Latents
        Of the image; mean and scale are replaced by what a decoder will know.
    image : array of uint8, of shape (height, width, 3)
    key : int
        Of the noise of a random quantizer, 0 to 2^64 - 1; sent.

    Returns
    -------
    stream : bytes
    y_hat : Tensor of shape (channel, row, column)
        What the decoder must find.
    """
    if cell.kind != "achievable":
        raise InputError(f"a cell of kind {cell.kind!r} has no bitstream; allowed is 'achievable'")
    if latents.with_context and sees_context(cell):
        raise InputError(
            "bitstream: what a codec's context model predicts is coded by the codec alone"
        )
    if cell.side_counted and not (hasattr(codec, "side") and hasattr(codec, "predict")):
        raise InputError(
            "bitstream: the codec must have side and predict (rdpipe/codecs/protocol.py)"
        )
    height, width = image.shape[:2]
    side = codec.side(image) if cell.side_counted else b""
    latents = _as_decoder(codec, cell, side, latents, height, width)
    prepared = cell.prepare(latents, key)
    coder = constriction.stream.queue.RangeEncoder()
    if sender := cell.variance.sender:
        sender.write(coder, sender.index(prepared.residual))
    y, noise = prepared.y.flatten(1), prepared.noise.flatten(1)

    def step(channels, positions, mu, v):
        r = y[channels, positions] - mu
        v = escape.corrected(v, escape.transfer(coder, escape.order(r, v, cell.step)))
        return cell.quantizer.write(coder, r, v, cell.quantizer.level, noise[channels, positions])

    known = prepared.prediction, prepared.spread
    y_hat = traverse(cell.mean, cell.variance, *known, step, cell.step**2 / 12)
    header = HEADER.pack(*latents.y.shape, height, width, len(side), key)
    return header + side + coder.get_compressed().astype(">u4").tobytes(), y_hat


def decode(codec, cell: Cell, stream: bytes) -> torch.Tensor:
    """y_hat, of shape (channel, row, column), from the bytes and the codec alone."""
    *shape, height, width, length, key = HEADER.unpack_from(stream)
    side, body = stream[HEADER.size :][:length], stream[HEADER.size + length :]
    unknown = torch.full(shape, torch.nan, dtype=torch.float64)
    latents = Latents("", unknown, unknown, unknown)
    latents = _as_decoder(codec, cell, side, latents, height, width)
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(body, ">u4").astype(np.uint32))
    if sender := cell.variance.sender:
        spread = sender.from_index(sender.read(coder, shape), shape)
    else:
        spread, _ = cell.variance(latents, None)
    noise = standard_normal(key, shape).flatten(1)

    def step(channels, positions, mu, v):
        v = escape.corrected(v, escape.transfer(coder, torch.full_like(v, torch.nan)))
        return cell.quantizer.read(coder, v, cell.quantizer.level, noise[channels, positions])

    known = cell.mean(latents), spread
    return traverse(cell.mean, cell.variance, *known, step, cell.step**2 / 12)


def _as_decoder(codec, cell, side: bytes, latents: Latents, height: int, width: int) -> Latents:
    """Latents with the mean and scale that a decoder knows; NaN where it is sent nothing."""
    mean = scale = torch.full(latents.y.shape, torch.nan, dtype=torch.float64)
    if cell.side_counted:
        mean, scale = (one.double().cpu() for one in codec.predict(side, height, width))
    return replace(latents, mean=mean, scale=scale, hyper=None)
