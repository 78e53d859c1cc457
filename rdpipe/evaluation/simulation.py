"""Simulation of cells: what their quantizer leaves goes through the codec's decoder.

.. code-block:: none

    latents --(quantizer of a cell, at a level)--> y_hat --code--> image: true quality
       ^                                                             |
       '------ the level at which the quality is the codec's <-------'

Each cell stands at the quality of the codec's own picture, so its bits compare with the codec's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from rdpipe.core.axes import CellId
from rdpipe.core.kinds import LevelKind
from rdpipe.core.latents import Latents, Structure
from rdpipe.core.metrics import MEASURES, mean_squared_error, ms_ssim
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.running import decode_image, decodes, device_of, run, to_image
from rdpipe.core.runs import RunId
from rdpipe.core.walk import FullReplay, Walk
from rdpipe.evaluation.array import (
    LEVEL_BITS,
    LEVEL_UNITS,
    latent_noise_key,
    latent_weights,
    prepare,
)
from rdpipe.evaluation.cell import Cell, CellCache, Entries, Fits, level_of_latent
from rdpipe.evaluation.cell_walk import CellOfLatent, CellWalk
from rdpipe.evaluation.levels import match_quality

CellsOfLatents = Mapping[str, Cell]
"""The cell of each latent."""
START = {LevelKind.THETA: 0.06, LevelKind.STEP: 0.99}
"""First guess of a level: theta in squared latent units, a step in latent units."""
SLOPE = {LevelKind.THETA: 1.5, LevelKind.STEP: 3.5}
"""Guess by how much the quality falls if a level doubles, dB."""
UNITS = {
    "bits": "bit",
    "mse": "squared 8-bit levels",
    "ms_ssim": "multiscale structural similarity",
    "level": LEVEL_UNITS,
    "syntheses": "",
}
"""What is measured of each cell and image, and its units."""


class CodedImage(NamedTuple):
    """An image, and its latents.

    Parameters
    ----------
    latents : sequence of Latents
    pixels : array
    """

    latents: Sequence[Latents]
    pixels: Image


@dataclass(frozen=True)
class Evaluation:
    """A cell at one level on some images.

    Parameters
    ----------
    bits : array of shape (image,)
        Without the codec's side information and those of a solved level.
    pictures : tuple of str
        The digest of the decoded picture of each image.
    quality : float
        Mean over the images, dB.
    """

    bits: NDArray[np.float64]
    pictures: tuple[str, ...]
    quality: float


class Simulation:
    """Some cells of a codec, each at the quality of the codec's own picture.

    Parameters
    ----------
    codec : Codec
    cells : mapping of str to CellId
        The cells by the name of their curve.
    entries, fits : mapping
        Config entries by section and name; states of fitted estimators and reconstructions.
    latents : sequence of Latents
        The latents of an image of the codec.
    seed : int
        Seed of the noise of random quantizers.
    measure : str
        What is equal, one of :data:`rdpipe.core.metrics.MEASURES`.
    level : float, optional
        The level of all cells, if it is not solved for.

    Attributes
    ----------
    cells : dict of str to dict of str to Cell
        The cells of each curve, for each latent.
    walks : set of str
        The curves for which the whole decoder runs on the cell's own output, see
        :func:`cells_of_latents`.
    """

    def __init__(
        self,
        codec: Codec,
        cells: Mapping[str, CellId],
        entries: Entries,
        fits: Fits,
        latents: Sequence[Latents],
        seed: int = 0,
        measure: str = "psnr",
        level: float | None = None,
    ):
        self.codec, self.seed, self.measure, self.level = codec, seed, measure, level
        self.cells: dict[str, CellsOfLatents] = {}
        self.walks: set[str] = set()
        for name, cell_id in cells.items():
            of_curve, walks = cells_of_latents(cell_id, entries, fits, latents)
            self.cells[name] = of_curve
            if walks:
                self.walks.add(name)

    def run(self, images: Sequence[CodedImage]) -> xr.Dataset:
        """Simulate all cells on some images, with one level of each cell for all of them.

        Parameters
        ----------
        images : sequence of CodedImage
            They may be read when they are accessed. Two decoded pictures of each are in memory.

        Returns
        -------
        xarray.Dataset
            The variables of :data:`UNITS` over (curve, image): bits without the codec's side
            information, with those of a level that is solved for one image. A cell that does not
            reach the codec's quality is NaN. ``reason`` over curve says why. ``syntheses`` counts
            the pictures that no curve before had.
        """
        pictures = [Pictures(self.codec, image, len(images) == 1) for image in images]
        target = self._quality(pictures, [picture.own_digest for picture in pictures])
        columns: dict[str, list[Any]] = {name: [] for name in (*UNITS, "reason")}
        for name, cells in self.cells.items():
            results = self._solve(name, cells, images, pictures, target)
            for key, value in results.items():
                columns[key].append(value)
        reasons = columns.pop("reason")
        arrays = {
            name: (("curve", "image"), np.array(values, np.float64), {"units": UNITS[name]})
            for name, values in columns.items()
        }
        return xr.Dataset({**arrays, "reason": ("curve", reasons)})

    def _quality(self, pictures: Sequence[Pictures], digests: Sequence[str]) -> float:
        """Return the mean quality of a decoded picture of each image, dB."""
        pairs = zip(pictures, digests, strict=True)
        if self.measure == "psnr":
            errors = [(picture.mse(digest), np.nan) for picture, digest in pairs]
        else:
            errors = [(picture.mse(digest), picture.ms_ssim(digest)) for picture, digest in pairs]
        return float(MEASURES[self.measure](*np.transpose(errors)).mean())

    def _solve(
        self,
        name: str,
        cells: CellsOfLatents,
        images: Sequence[CodedImage],
        pictures: Sequence[Pictures],
        target: float,
    ) -> dict[str, Any]:
        """Return what is measured of one cell at the level at which it has the target quality."""
        first, count = next(iter(cells.values())), len(images)
        before = [picture.syntheses for picture in pictures]

        def code(level: float, keep: bool = False) -> list[tuple[float, str]]:
            return [
                self._code(name, cells, image, picture, level, keep)
                for image, picture in zip(images, pictures, strict=True)
            ]

        def evaluate(level: float) -> Evaluation:
            bits, digests = zip(*code(level), strict=True)
            return Evaluation(np.array(bits), digests, self._quality(pictures, digests))

        level_bits, reason = 0, ""
        if first.has_codec_past or self.level is not None:
            level = first.step if self.level is None or first.has_codec_past else self.level
            best = evaluate(level)
        else:
            kind = first.quantizer.level_kind
            best, level, reason = match_quality(evaluate, target, START[kind], SLOPE[kind])
            level_bits = LEVEL_BITS if count == 1 else 0
        pairs = list(zip(pictures, best.pictures, strict=True))
        if not reason and not all(picture.has_ms_ssim(digest) for picture, digest in pairs):
            code(level, keep=True)  # the best level is not the last one: its pictures are gone
        syntheses = [picture.syntheses for picture in pictures]
        values: dict[str, Any] = {"syntheses": np.subtract(syntheses, before), "reason": reason}
        if reason:
            return values | dict.fromkeys(
                ("bits", "mse", "ms_ssim", "level"), np.full(count, np.nan)
            )
        return values | {
            "bits": best.bits + level_bits,
            "mse": [picture.mse(digest) for picture, digest in pairs],
            "ms_ssim": [picture.ms_ssim(digest) for picture, digest in pairs],
            "level": np.full(count, level),
        }

    def _code(
        self,
        name: str,
        cells: CellsOfLatents,
        image: CodedImage,
        picture: Pictures,
        level: float,
        keep: bool,
    ) -> tuple[float, str]:
        """Return the bits of a cell at one level on one image, and the digest of its picture."""
        if name in self.walks:
            bits, decoded = walk_cells(self.codec, cells, image, level, self.seed)
            return bits, picture.add(decoded)
        bits, y_hats = code_cells(cells, image.latents, level, self.seed, picture.caches)
        if next(iter(cells.values())).has_codec_past:
            return bits, picture.own_digest
        return bits, picture.decode(y_hats, keep)

    def label(self, results: Sequence[xr.Dataset], images: Sequence[str], run: RunId) -> xr.Dataset:
        """Return the results of all images with names and the computed labels.

        Parameters
        ----------
        results : sequence of xarray.Dataset
            From :meth:`run`, for consecutive images.
        images : sequence of str
            Names of the images.
        run : RunId
        """
        reasons = [table["reason"].values for table in results]
        counts = [table.sizes["image"] for table in results]
        joined = xr.concat([table.drop_vars("reason") for table in results], "image")
        of_image = np.repeat(np.transpose(reasons), counts, axis=1)
        cells = [next(iter(of_curve.values())) for of_curve in self.cells.values()]
        coords: dict[str, Any] = {
            "curve": list(self.cells),
            "image": list(images),
            "kind": ("curve", [str(cell.kind) for cell in cells]),
            "includes_side": ("curve", [cell.includes_side for cell in cells]),
            "level_kind": ("curve", [str(cell.quantizer.level_kind) for cell in cells]),
            "measure": self.measure,
            **run.coordinates(),
        }
        return joined.assign(reason=(("curve", "image"), of_image)).assign_coords(coords)


class Pictures:
    """The errors of the decoded pictures of one image.

    Cells that leave the same latents have the same picture, which is decoded once: an estimator of
    the variance, for example, changes the bits of rounded latents, not the latents.

    Parameters
    ----------
    codec : Codec
    image : CodedImage
    cached : bool
        Whether to keep what the cells share at all levels. It takes more memory than the pictures.

    Attributes
    ----------
    own_picture : array
        The codec's own picture.
    own_digest : str
        Its digest.
    caches : dict of str to CellCache, optional
        What the cells of each latent share.
    syntheses : int
        Number of pictures that were decoded, besides the codec's own.
    """

    def __init__(self, codec: Codec, image: CodedImage, cached: bool = False):
        self._codec, self._image = codec, image
        self.caches = {x.latent: CellCache() for x in image.latents} if cached else None
        walk = Walk()
        self.own_picture = decode_image(codec, walk, image.pixels)
        parts = [coded for coded in walk.record if coded.part.side]
        self._side = [coded.part.point(coded.index) for coded in parts]
        self.syntheses, self._mse, self._ms_ssim = 0, dict[str, float](), dict[str, float]()
        self.own_digest = digest_of(self.own_picture)
        self._keep(self.own_digest, self.own_picture)

    def _keep(self, digest: str, pixels: Image) -> None:
        """Measure a decoded picture, and keep it in place of the one before."""
        self._mse[digest] = mean_squared_error(self._image.pixels, pixels)
        self._pictures = {self.own_digest: self.own_picture, digest: pixels}

    def mse(self, digest: str) -> float:
        """Return the MSE of a decoded picture, squared 8-bit levels."""
        return self._mse[digest]

    def has_ms_ssim(self, digest: str) -> bool:
        """Return whether the MS-SSIM of a decoded picture is known, or can be measured."""
        return digest in self._ms_ssim or digest in self._pictures

    def ms_ssim(self, digest: str) -> float:
        """Return the MS-SSIM of a decoded picture for which :meth:`has_ms_ssim` is true."""
        if digest not in self._ms_ssim:
            self._ms_ssim[digest] = ms_ssim(self._image.pixels, self._pictures[digest])
        return self._ms_ssim[digest]

    def add(self, decoded: Tensor) -> str:
        """Measure what a codec decoded; return the digest of the picture."""
        self.syntheses += 1
        pixels = to_image(decoded, *self._image.pixels.shape[:2])
        digest = digest_of(pixels)
        self._keep(digest, pixels)
        return digest

    def decode(self, y_hats: Sequence[Tensor], keep: bool = False) -> str:
        """Decode latents, in units of the step; return the digest of the picture.

        Side information is that of the image. A picture that was decoded before is decoded again
        only if it is to be kept.
        """
        digest = digest_of(*(y_hat.cpu().numpy() for y_hat in y_hats))
        if digest not in self._mse or (keep and digest not in self._pictures):
            self.syntheses += 1
            pixels = to_image(self.synthesize(y_hats), *self._image.pixels.shape[:2])
            self._keep(digest, pixels)
        return digest

    def synthesize(self, y_hats: Sequence[Tensor]) -> Tensor:
        """Return the decoded image as the codec returns it."""
        return synthesize(self._codec, self._image, y_hats, self._side)


def digest_of(*arrays: NDArray[Any]) -> str:
    """Return a digest of arrays, by dtype, shape and values."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def synthesize(
    codec: Codec, image: CodedImage, y_hats: Sequence[Tensor], side: Sequence[Tensor]
) -> Tensor:
    """Return the decoded image of decoded latents and side information, as the codec returns it.

    Parameters
    ----------
    codec : Codec
    image : CodedImage
    y_hats : sequence of Tensor of shape (channel, row, column)
        In units of the step.
    side : sequence of Tensor
        Decoded parts of side information.
    """
    latents = {
        latent.latent: y_hat if latent.step is None else y_hat * latent.step
        for latent, y_hat in zip(image.latents, y_hats, strict=True)
    }
    walk = FullReplay(latents, side, device_of(codec))
    if decodes(codec):
        height, width = image.pixels.shape[:2]
        return run(codec, walk, size=(height, width))
    return run(codec, walk, image.pixels)


def at_level(cells: CellsOfLatents, level: float) -> dict[str, Cell]:
    """Return the cells of all latents at one level of their own."""
    return {name: cell.at_level(level) for name, cell in cells.items()}


def code_cells(
    cells: CellsOfLatents,
    latents: Sequence[Latents],
    level: float,
    seed: int,
    caches: Mapping[str, CellCache] | None = None,
) -> tuple[float, list[Tensor]]:
    """Return the bits of the latents of an image in some cells, and y_hat of each.

    The caches are those of this image.
    """
    prepared = prepare(at_level(cells, level), latents, seed, caches)
    outputs = [latent.code(level) for latent in prepared]
    return sum(output.bits for output in outputs), [output.y_hat for output in outputs]


def walk_cells(
    codec: Codec, cells: CellsOfLatents, image: CodedImage, level: float, seed: int
) -> tuple[float, Tensor]:
    """Return bits and decoded image if the whole decoder runs on what the cells leave."""
    walk = CellWalk(walked_cells(cells, image.latents, level, seed))
    decoded = run(codec, walk, image.pixels)
    return walk.bits, decoded


def walked_cells(
    cells: CellsOfLatents, latents: Sequence[Latents], level: float, seed: int
) -> dict[str, CellOfLatent]:
    """Return what a walk needs to code an image at a level."""
    return {
        latent.latent: CellOfLatent(
            cells[latent.latent].at_level(level),
            level_of_latent(cells[latent.latent], level, weight),
            latent_noise_key(seed, latents, latent),
            latent.y.shape,
        )
        for latent, weight in zip(latents, latent_weights(latents), strict=True)
    }


def cells_of_latents(
    cell_id: CellId, entries: Entries, fits: Fits, latents: Sequence[Latents]
) -> tuple[CellsOfLatents, bool]:
    """Return the cell for each latent, and whether the decoder must run on its own output.

    It must if mean and variance are the codec's own and depend on decoded latents, but the cell
    does not obtain the codec's y_hat. The cell is then no genie: it has its own past.

    Parameters
    ----------
    cell_id : CellId
    entries, fits : mapping
        Config entries by section and name; states of fitted estimators and reconstructions.
    latents : sequence of Latents
        The latents of an image of the codec.
    """
    structure = latents[0].structure
    cells = build(cell_id, entries, fits, latents, structure)
    cell = next(iter(cells.values()))
    if not (structure.follows_past and cell.predicts_as_codec and not cell.has_codec_past):
        return cells, False
    return build(cell_id, entries, fits, latents, own_past(structure)), True


def own_past(structure: Structure) -> Structure:
    """Return the structure for a cell that decodes its own past."""
    return Structure(image_needs_side=structure.image_needs_side)


def build(
    cell_id: CellId,
    entries: Entries,
    fits: Fits,
    latents: Sequence[Latents],
    structure: Structure,
) -> CellsOfLatents:
    """Return the cell for each latent."""
    return {
        latent.latent: Cell.from_entries(cell_id, entries, fits, structure, latent.latent)
        for latent in latents
    }
