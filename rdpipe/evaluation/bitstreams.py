"""Real bytes of a cell whose estimators are all decodable and whose quantizer is realizable.

.. code-block:: none

    header | side information of the codec | range coder: transmitted variances; escapes, residuals
    26 bytes  only if mean or variance use it

References
----------
R. Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a Statistician's
Perspective", arXiv 2201.01741, 2022 (the ``constriction`` package, whose range coder is used).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import constriction
import numpy as np
import torch
from torch import Tensor

from rdpipe.core.axes import AXES, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import Image, SupportsSideInformation
from rdpipe.core.rng import standard_normal
from rdpipe.entropy import escape
from rdpipe.estimators.causal import traverse
from rdpipe.estimators.user_estimators import check_mean_output, check_variance_output
from rdpipe.evaluation.cell import Cell, Entries, Fits
from rdpipe.quantizers.base import CodableQuantizer

HEADER = struct.Struct(">HHHIIIQ")
"""Channels, rows, columns of the latents; height, width; bytes of side information; noise key."""


def codable_cells(entries: Entries, fits: Fits, context: bool = False) -> dict[CellId, Cell]:
    """Return the cells that have a bitstream: all decodable, with a realizable quantizer.

    Cells that use the codec's context model or its own prior are left out: only the codec's own
    bitstream codes them. Quantizers whose level is solved for each image are left out, too.
    """
    names = (entries[axis.section] for axis in AXES)
    cells = {
        cell_id: Cell.from_entries(cell_id, entries, fits, context)
        for cell_id in map(CellId._make, product(*names))
    }
    return {
        cell_id: cell
        for cell_id, cell in cells.items()
        if cell.kind is BoundKind.ACHIEVABLE
        and not (context and cell.uses_context)
        and not cell.quantizer.uses_own_prior
        and cell.quantizer.level is not None
    }


def encode(
    codec: object, cell: Cell, latents: Latents, image: Image, key: int
) -> tuple[bytes, Tensor]:
    """Write an image as a real bitstream.

    Parameters
    ----------
    codec : Codec
        If the cell uses side information, it supports transmitting it
        (:class:`~rdpipe.core.protocols.SupportsSideInformation`).
    cell : Cell
        Of kind ``achievable``.
    latents : Latents
        Latents of the image. Mean and scale are replaced by what a decoder knows.
    image : array of uint8, of shape (height, width, 3)
    key : int
        Key of the noise of a random quantizer, from 0 to 2^64 - 1; transmitted.

    Returns
    -------
    stream : bytes
    y_hat : Tensor of shape (channel, row, column)
        The latents that the decoder must obtain.

    Raises
    ------
    InputError
        If the cell has no bitstream, or the codec or the variance cannot transmit its side
        information.
    """
    quantizer = _check_codable(cell)
    if latents.with_context and cell.uses_context:
        raise InputError(
            "bitstream: the cell uses the codec's context model; only the codec's own bitstream"
            " codes it"
        )
    height, width = image.shape[:2]
    side = _side_capability(codec).side(image) if cell.includes_side else b""
    latents = _with_decoder_prior(codec, cell, side, latents, height, width)
    prepared = cell.prepare(latents, key)
    coder = constriction.stream.queue.RangeEncoder()
    if transmitter := cell.variance.transmitter:
        transmitter.write(coder, transmitter.index(prepared.residual))
    elif prepared.transmitted_bits:
        raise InputError(
            f"bitstream: variance {cell.id.variance!r} sends {prepared.transmitted_bits:g} bits but"
            " has no transmitter; expected an object that writes and reads them"
        )
    y, noise = prepared.y.flatten(1), prepared.noise.flatten(1)

    def code_step(channels: slice, positions: slice | Tensor, mu: Tensor, v: Tensor) -> Tensor:
        r = y[channels, positions] - mu
        j = escape.code_escapes(coder, escape.escape_order(r, v, cell.step))
        v = escape.enlarge(v, j)
        return quantizer.write(coder, r, v, cell.step, noise[channels, positions])

    known = prepared.initial_mean, prepared.initial_variance
    y_hat = traverse(cell.mean, cell.variance, *known, code_step, cell.step**2 / 12)
    header = HEADER.pack(*latents.y.shape, height, width, len(side), key)
    return header + side + coder.get_compressed().astype(">u4").tobytes(), y_hat


def decode(codec: object, cell: Cell, stream: bytes) -> Tensor:
    """Return y_hat, of shape (channel, row, column), from the bytes and the codec alone.

    Parameters
    ----------
    codec, cell
        See :func:`encode`.
    stream : bytes
        From :func:`encode`.

    Raises
    ------
    InputError
        If the cell has no bitstream, or an estimator uses what the decoder does not have.
    """
    quantizer = _check_codable(cell)
    *shape, height, width, length, key = HEADER.unpack_from(stream)
    side, body = stream[HEADER.size :][:length], stream[HEADER.size + length :]
    unknown = torch.full(shape, torch.nan, dtype=torch.float64)
    latents = Latents("", unknown, unknown, unknown)
    latents = _with_decoder_prior(codec, cell, side, latents, height, width)
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(body, ">u4").astype(np.uint32))
    label = f"mean {cell.id.mean!r} (in the decoder)"
    initial_mean = check_mean_output(label, cell.mean(latents), latents.y).double()
    initial_variance = _read_variance(cell, coder, latents, shape)
    noise = standard_normal(key, shape).flatten(1)

    def code_step(channels: slice, positions: slice | Tensor, mu: Tensor, v: Tensor) -> Tensor:
        v = escape.enlarge(v, escape.code_escapes(coder, torch.full_like(v, torch.nan)))
        return quantizer.read(coder, v, cell.step, noise[channels, positions])

    known = initial_mean, initial_variance
    return traverse(cell.mean, cell.variance, *known, code_step, cell.step**2 / 12)


def _read_variance(cell: Cell, coder: object, latents: Latents, shape: Sequence[int]) -> Tensor:
    """Return the variance that the decoder knows before it decodes any element."""
    if transmitter := cell.variance.transmitter:
        return transmitter.from_index(transmitter.read(coder, shape), shape)
    label = f"variance {cell.id.variance!r} (in the decoder)"
    unknown = latents.y  # NaN: a decodable variance that sends nothing does not depend on residuals
    variance, _ = check_variance_output(label, cell.variance(latents, unknown), latents.y)
    return variance.double()


def _check_codable(cell: Cell) -> CodableQuantizer:
    if cell.kind is not BoundKind.ACHIEVABLE or not isinstance(cell.quantizer, CodableQuantizer):
        raise InputError(
            f"a cell of kind {str(cell.kind)!r} has no bitstream; expected"
            f" {str(BoundKind.ACHIEVABLE)!r}"
        )
    if cell.quantizer.level is None:
        raise InputError(
            f"bitstream: the level of quantizer {cell.id.quantizer!r} is solved for each image;"
            " expected a level of its own"
        )
    return cell.quantizer


def _side_capability(codec: object) -> SupportsSideInformation:
    if not isinstance(codec, SupportsSideInformation):
        raise InputError(
            "bitstream: the codec has no methods side and predict (rdpipe/core/protocols.py)"
        )
    return codec


def _with_decoder_prior(
    codec: object, cell: Cell, side: bytes, latents: Latents, height: int, width: int
) -> Latents:
    """Return latents with the mean and scale of a decoder; NaN if it gets no side information."""
    mean = scale = torch.full(latents.y.shape, torch.nan, dtype=torch.float64)
    if cell.includes_side:
        prediction = _side_capability(codec).predict(side, height, width)
        mean, scale = (tensor.double().cpu() for tensor in prediction)
    return replace(latents, mean=mean, scale=scale, hyper=None)
