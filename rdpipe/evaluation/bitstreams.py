"""Real bytes of a cell whose estimators are all decodable and whose quantizer is realizable.

.. code-block:: none

    version, height, width, noise key, level; shapes | coder: side information of the codec, if the
    21 bytes, and 6 for each latent                     cell needs it; variances; escapes, residuals

A cell with the codec's own mean and variance is coded in one walk, part by part: the priors are
those of its own past. Any other cell is coded in two. The first gives what is predicted without
latents, then each latent is coded as a whole, and the second walk decodes the image.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rdpipe.core.assembly import Whole, assemble, stride_of
from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.rng import latent_key, standard_normal
from rdpipe.core.running import (
    decode_image,
    device_of,
    evaluate_image,
    padded_size,
    to_image,
    visit,
)
from rdpipe.core.walk import FullReplay, Part, ZeroWalk
from rdpipe.entropy.coder import (
    OTHER_NUMBERS,
    VERSION,
    Coder,
    Decoder,
    DecodingError,
    Encoder,
    check_version,
)
from rdpipe.entropy.coding_walk import CodingWalk, code_index
from rdpipe.entropy.precision import decoding, default_dtype, in_float64
from rdpipe.entropy.priors import Gaussian
from rdpipe.estimators.causal import FLOOR, traverse
from rdpipe.estimators.user_estimators import check_mean_output, check_variance_output
from rdpipe.evaluation.cell import Cell, Entries, Fits
from rdpipe.evaluation.cell_walk import CellCodingWalk, CellOfLatent, code_residuals
from rdpipe.evaluation.simulation import CellsOfLatents, at_level, build, own_past
from rdpipe.quantizers.base import CodableQuantizer

HEADER = struct.Struct(">BIIQf")
"""Version of the format; height and width of the image, pixels; key of the noise; level."""
LEVEL = struct.Struct(">f")
"""The level alone."""
SHAPE = struct.Struct(">HHH")
"""Channels, rows and columns of a latent."""
LARGEST = 2**16 - 1
"""Largest number of channels, rows or columns of a latent."""


class Decoded(NamedTuple):
    """What a decoder obtains.

    Parameters
    ----------
    y_hat : list of Tensor
        Decoded latents or their parts, in decoding order, in units of the codec.
    to_image : callable
        Computes the decoded image.
    """

    y_hat: list[Tensor]
    to_image: Callable[[], Image]

    @property
    def image(self) -> Image:
        """The decoded image."""
        return self.to_image()


def codable_cells(
    cell_ids: Iterable[CellId], entries: Entries, fits: Fits, latents: Sequence[Latents]
) -> dict[CellId, CellsOfLatents]:
    """Return the cells that have a bitstream: all decodable, with a realizable quantizer.

    Left out are the codec's own prior with another mean or variance, and cells in which only the
    mean or only the variance is the codec's while they depend on decoded latents.

    Parameters
    ----------
    cell_ids : iterable of CellId
    entries, fits : mapping
        Config entries by section and name; states of fitted estimators and reconstructions.
    latents : sequence of Latents
        The latents of an image of the codec.
    """
    structure, cells = latents[0].structure, {}
    for cell_id in cell_ids:
        of_cell = build(cell_id, entries, fits, latents, structure)
        cell = next(iter(of_cell.values()))
        if cell.predicts_as_codec:
            of_cell = build(cell_id, entries, fits, latents, own_past(structure))
            cell = next(iter(of_cell.values()))
        elif cell.quantizer.uses_own_prior or (structure.priors_follow_past and cell.uses_context):
            continue
        if cell.kind is BoundKind.ACHIEVABLE and cell.quantizer.level is not None:
            cells[cell_id] = of_cell
    return cells


def encode(
    codec: Codec,
    cells: CellsOfLatents,
    latents: Sequence[Latents],
    image: Image,
    key: int,
    level: float | None = None,
) -> tuple[bytes, Decoded]:
    """Write an image as a real bitstream.

    Parameters
    ----------
    codec : Codec
    cells : mapping of str to Cell
        The cell of each latent, of kind ``achievable``.
    latents : sequence of Latents
        The latents of the image. Mean and scale are replaced by what a decoder knows.
    image : array of uint8, of shape (height, width, 3)
    key : int
        Key of the noise of a random quantizer, from 0 to 2^64 - 1; transmitted.
    level : float, optional
        Step of the quantizer; transmitted in single precision. Default: its own.

    Returns
    -------
    stream : bytes
    decoded : Decoded
        What the decoder must obtain.

    Raises
    ------
    InputError
        If the cell has no bitstream, or the variance cannot transmit what it sends.
    """
    check_codable(cells)
    shapes = {latent.latent: tuple(latent.y.shape) for latent in latents}
    level = next(iter(cells.values())).step if level is None else level
    level = LEVEL.unpack(LEVEL.pack(level))[0]
    for name, shape in shapes.items():
        if max(shape) > LARGEST:
            raise InputError(
                f"latent {name!r} has shape {shape}; expected at most {LARGEST} a side"
            )
    packed = [SHAPE.pack(*shape) for shape in shapes.values()]
    header = HEADER.pack(VERSION, *image.shape[:2], key, level) + b"".join(packed)
    cells = at_level(cells, level)
    coder = Encoder(header)
    with in_float64(codec) as precise:
        if _predicts_as_codec(cells):
            decoded = _walk(precise, cells, shapes, key, coder, image=image)
        else:
            decoded = _encode_latents(precise, cells, latents, image, key, coder)
    return header + coder.to_bytes(), decoded


def decode(codec: Codec, cells: CellsOfLatents, stream: bytes) -> Decoded:
    """Return what a decoder obtains from the bytes and the codec alone.

    Parameters
    ----------
    codec, cells
        See :func:`encode`.
    stream : bytes
        From :func:`encode`.

    Raises
    ------
    InputError
        If the cell has no bitstream, or an estimator uses what the decoder does not have.
    DecodingError
        If the bytes do not decode to what was written.
    """
    check_codable(cells)
    length = HEADER.size + SHAPE.size * len(cells)
    if len(stream) < length:
        raise DecodingError(OTHER_NUMBERS)
    version, height, width, key, level = HEADER.unpack_from(stream)
    check_version(version)
    if not 0 < level < math.inf:
        raise DecodingError(OTHER_NUMBERS)
    cells = at_level(cells, level)
    shapes = dict(zip(cells, SHAPE.iter_unpack(stream[HEADER.size : length]), strict=True))
    size, coder = (height, width), Decoder(stream[length:], stream[:length])
    with decoding(coder), in_float64(codec) as precise:
        if _predicts_as_codec(cells):
            return _walk(precise, cells, shapes, key, coder, size=size)
        return _decode_latents(precise, cells, size, key, coder)


def _predicts_as_codec(cells: CellsOfLatents) -> bool:
    return all(cell.predicts_as_codec for cell in cells.values())


def _walk(
    codec: Codec,
    cells: CellsOfLatents,
    shapes: Mapping[str, Sequence[int]],
    key: int,
    coder: Coder,
    image: Image | None = None,
    size: tuple[int, int] | None = None,
) -> Decoded:
    """Code an image in one walk, in either direction."""
    of_latents = {
        name: CellOfLatent(cells[name], cells[name].step, latent_key(key, name, len(shapes)), shape)
        for name, shape in shapes.items()
    }
    walk = CellCodingWalk(coder, of_latents)
    decoded = visit(codec, walk, image, size)
    height, width = size if image is None else image.shape[:2]  # type: ignore[misc]
    for y_hat in walk.decoded:
        _check_finite("a latent", y_hat)

    def finish() -> Image:
        return to_image(evaluate_image(codec, decoded), height, width)

    return Decoded([y_hat.cpu() for y_hat in walk.decoded], _as_now(finish))


class _SideWalk(ZeroWalk, CodingWalk):
    """Codes side information, and decodes 0 for every other latent.

    Parameters
    ----------
    coder : Encoder, Decoder or None
        None if the cell does without side information: it decodes to its offset.
    """

    def __init__(self, coder: Coder | None):
        super().__init__(coder)  # type: ignore[arg-type]
        self.side: list[Tensor] = []

    def decode(self, part: Part) -> Tensor:
        without_side = part.side and self.coder is None
        y_hat = part.offset if without_side else super().decode(part)
        if part.side:
            self.side.append(y_hat)
        return y_hat


def _without_latents(
    codec: Codec,
    coder: Coder | None,
    image: Image | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[dict[str, Whole], list[Tensor]]:
    """Return what is predicted of each latent without latents, and the side information."""
    walk = _SideWalk(coder)
    visit(codec, walk, image, size)
    wholes = assemble(walk.record)
    return {name: whole for name, whole in wholes.items() if not whole.side}, walk.side


def _encode_latents(
    codec: Codec,
    cells: CellsOfLatents,
    latents: Sequence[Latents],
    image: Image,
    key: int,
    coder: Encoder,
) -> Decoded:
    """Write each latent as a whole."""
    includes_side = any(cell.includes_side for cell in cells.values())
    wholes, side = _without_latents(codec, coder if includes_side else None, image)
    extended = padded_size(codec, *image.shape[:2])
    y_hats = []
    for latent in latents:
        cell = cells[latent.latent]
        known = decoder_latents(wholes[latent.latent], cell, coder, extended, latent)
        own_key = latent_key(key, latent.latent, len(latents))
        prepared = cell.prepare(known, own_key)
        if transmitter := cell.variance.transmitter:
            transmitter.write(coder, transmitter.index(prepared.typical_residual))
        elif prepared.transmitted_bits:
            raise InputError(
                f"bitstream: variance {cell.id.variance!r} sends {prepared.transmitted_bits:g} bits"
                " but has no transmitter; expected an object that writes and reads them"
            )
        y = prepared.y.flatten(1)
        prior = prepared.initial_mean, prepared.initial_variance
        y_hats.append(_code_latent(cell, coder, *prior, own_key, known, y))
    return _decode_image(codec, wholes, y_hats, side, image.shape[:2])


def _decode_latents(
    codec: Codec, cells: CellsOfLatents, size: tuple[int, int], key: int, coder: Decoder
) -> Decoded:
    """Read each latent as a whole."""
    includes_side = any(cell.includes_side for cell in cells.values())
    wholes, side = _without_latents(codec, coder if includes_side else None, size=size)
    extended = padded_size(codec, *size)
    y_hats = []
    for name, whole in wholes.items():
        cell = cells[name]
        known = decoder_latents(whole, cell, coder, extended)
        label = f"mean {cell.id.mean!r} (in the decoder)"
        initial_mean = check_mean_output(label, cell.mean(known), known.y).double()
        initial_variance = _read_variance(cell, coder, known)
        if known.coded is not None:
            initial_variance = torch.where(known.coded, initial_variance, FLOOR)
        own_key, prior = latent_key(key, name, len(wholes)), (initial_mean, initial_variance)
        y_hats.append(_code_latent(cell, coder, *prior, own_key, known, None))
    return _decode_image(codec, wholes, y_hats, side, size)


def decoder_latents(
    whole: Whole,
    cell: Cell,
    coder: Coder,
    size: tuple[int, int],
    stored: Latents | None = None,
) -> Latents:
    """Return a latent with what a decoder knows of it, and with its elements at an encoder.

    Estimators get the same in both, except for the elements and the name of the image. Without side
    information there is no mean and no scale. The offset does not depend on side information then:
    a cell whose mean does would include it.

    Parameters
    ----------
    whole : Whole
        What is predicted of the latent without latents.
    cell : Cell
    coder : Encoder or Decoder
    size : tuple of int
        Height and width of the extended image, pixels.
    stored : Latents, optional
        The latent with its elements, at an encoder. At a decoder they are NaN.
    """
    unknown = mean = scale = torch.full(whole.mean.shape, torch.nan, dtype=torch.float64)
    if cell.includes_side:
        mean = coder.agree(whole.mean / whole.step)
        scale = coder.agree_ratio(whole.scale / whole.step)
    on_mean = torch.equal(whole.offset, whole.mean.double()) and whole.coded is None
    return Latents(
        name="" if stored is None else stored.name,
        y=unknown if stored is None else stored.y,
        mean=mean,
        scale=scale,
        offset=None if on_mean else coder.agree(whole.offset / whole.step),
        coded=whole.coded,
        step=None if bool((whole.step == 1).all()) else whole.step,
        latent=whole.name,
        stride=stride_of(whole, size),
        latents_follow_past=cell.structure.latents_follow_past,
        image_needs_side=cell.structure.image_needs_side,
        grid_follows_past=cell.structure.grid_follows_past,
    )


def _code_latent(
    cell: Cell,
    coder: Coder,
    initial_mean: Tensor,
    initial_variance: Tensor,
    key: int,
    known: Latents,
    y: Tensor | None,
) -> Tensor:
    """Write a latent, or read it if ``y`` is None; return y_hat in units of the step."""
    noise = standard_normal(key, initial_mean.shape).flatten(1)
    coded = None if known.coded is None else known.coded.flatten(1)
    grid = None
    if known.offset is not None and cell.mean.is_codec and cell.quantizer.reproduces_codec:
        grid = known.offset.flatten(1)
    correction = torch.zeros_like(initial_mean).flatten(1)

    def code_step(channels: slice, positions: slice | Tensor, mu: Tensor, v: Tensor) -> Tensor:
        mu, v = coder.agree(mu), coder.agree_ratio(v)
        r = torch.full_like(v, torch.nan) if y is None else y[channels, positions] - mu
        if coded is not None:
            on = coded[channels, positions]
            r, v = torch.where(on, r, 0.0 * v), torch.where(on, v, FLOOR)
        if grid is not None:
            residual = _code_on_grid(coder, mu, r, v, grid[channels, positions])
        else:
            residual = code_residuals(coder, cell, r, v, noise[channels, positions])
            residual = coder.agree(mu + residual) - mu
        changed = cell.reconstruct(residual, v, cell.step)
        correction[channels, positions] = changed - residual
        return residual

    y_hat = traverse(
        cell.mean, cell.variance, initial_mean, initial_variance, code_step, cell.step**2 / 12
    )
    y_hat = y_hat + correction.view(y_hat.shape)
    if known.coded is not None and known.offset is not None:
        y_hat = torch.where(known.coded, y_hat, known.offset)
    return coder.agree(y_hat)


def _code_on_grid(coder: Coder, mu: Tensor, r: Tensor, v: Tensor, offset: Tensor) -> Tensor:
    """Round residuals to the codec's grid, whose points are not at their mean."""
    index = code_index(coder, Gaussian(mu, v.sqrt()), (mu + r - offset).round(), offset, 1.0)
    return coder.agree(offset + index) - mu


def _read_variance(cell: Cell, coder: Decoder, latents: Latents) -> Tensor:
    """Return the variance that the decoder knows before it decodes any element."""
    shape = latents.y.shape
    if transmitter := cell.variance.transmitter:
        return transmitter.from_index(transmitter.read(coder, shape), shape)
    label = f"variance {cell.id.variance!r} (in the decoder)"
    unknown = torch.full(shape, torch.nan, dtype=torch.float64)
    variance, _ = check_variance_output(label, cell.variance(latents, unknown), latents.y)
    return variance.double()


def _decode_image(
    codec: Codec,
    wholes: Mapping[str, Whole],
    y_hats: Sequence[Tensor],
    side: Sequence[Tensor],
    size: Sequence[int],
) -> Decoded:
    """Return decoded latents, in units of the codec, and the image that they decode to."""
    in_units = [y_hat * whole.step for y_hat, whole in zip(y_hats, wholes.values(), strict=True)]
    height, width = size
    for name, y_hat in zip(wholes, in_units, strict=True):
        _check_finite(f"latent {name!r}", y_hat)

    def finish() -> Image:
        walk = FullReplay(dict(zip(wholes, in_units, strict=True)), side, device_of(codec))
        return decode_image(codec, walk, size=(height, width))

    return Decoded(in_units, _as_now(finish))


def _check_finite(what: str, y_hat: Tensor) -> None:
    """Check that decoded latents are finite.

    Raises
    ------
    InputError
        If they are not.
    """
    if not y_hat.isfinite().all():
        raise InputError(f"{what} decodes to values that are not finite; expected finite numbers")


def _as_now(function: Callable[[], Image]) -> Callable[[], Image]:
    """Return a function that runs later with the default type of tensors of now."""
    dtype = torch.get_default_dtype()

    def later() -> Image:
        with default_dtype(dtype):
            return function()

    return later


def check_codable(cells: CellsOfLatents) -> None:
    """Check that a cell has a bitstream.

    Raises
    ------
    InputError
        If it has none.
    """
    for cell in cells.values():
        codable = isinstance(cell.quantizer, CodableQuantizer)
        if cell.kind is not BoundKind.ACHIEVABLE or not codable:
            raise InputError(
                f"a cell of kind {str(cell.kind)!r} has no bitstream; expected"
                f" {str(BoundKind.ACHIEVABLE)!r}"
            )
        if cell.quantizer.uses_own_prior and not cell.predicts_as_codec:
            raise InputError(
                f"bitstream: quantizer {cell.id.quantizer!r} uses the codec's own prior; expected"
                " the codec's own mean and variance"
            )
