"""Write bitstreams of every cell that has an entropy coder."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from torch import Tensor

from rdpipe.core.axes import CellId
from rdpipe.core.protocols import Codec
from rdpipe.core.rng import noise_key
from rdpipe.core.running import clock_of, decodes
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.bitstreams import codable_cells, encode
from rdpipe.evaluation.cell import Fits
from rdpipe.evaluation.simulation import CellsOfLatents
from rdpipe.io import store
from rdpipe.stages.inputs import (
    StoredLatents,
    encoder_of,
    load_images,
    read_fits,
    select_images,
)
from rdpipe.stages.specs import CellNames, CellSpec, cell_ids

logger = logging.getLogger(__name__)
COLUMNS = {"size": "byte", "seconds": "second of the processor", "y_hat_sha256": ""}
"""What is known of each bitstream, and its unit: size, time of the encoder and decoded latents."""
NOT_CODED = (math.nan, math.nan, "")
"""The columns of a cell that does not reach the quality."""


class BitstreamSpec(CellSpec, frozen=True, kw_only=True):
    """One codec at one quality, and the cells to code.

    Parameters
    ----------
    cells : dict
        The cells by name. Those that have no bitstream are left out.
    """

    cells: dict[str, CellNames]


class WriteBitstreamsSpec(BitstreamSpec, frozen=True, kw_only=True):
    """One codec at one quality, and the cells to encode."""


def run(
    spec: WriteBitstreamsSpec,
    manifest_file: Path,
    latents: Path,
    simulation: Path,
    fits: list[Path],
    out: Path,
    refined: list[Path] = [],  # noqa: B006 (the default of a flag)
) -> None:
    """Encode every image in every cell of :func:`~rdpipe.evaluation.bitstreams.codable_cells`.

    A cell that was simulated is coded at the level at which it has the quality of the codec's
    picture, any other at the step of its quantizer.

    Parameters
    ----------
    spec : WriteBitstreamsSpec
    manifest_file, latents, simulation : Path
        Manifest from ``prepare_dataset``, latents from ``extract_latents``, and levels from
        ``simulate``.
    fits : list of Path
        Stores from ``fit_estimator`` and ``fit_reconstruction`` for the cells.
    out : Path
        Store to write: ``size`` (bytes; NaN if the cell does not reach the quality), the
        ``seconds`` of the encoder and the SHA-256 of y_hat over (cell, image), and a group ``0``,
        ``1``, ... for each image with its bitstreams, one after the other.
    refined : list of Path
        Refined latents from ``refine_latents``; empty if the codec is not a refined one.
    """
    codec, stored = encoder_of(spec, refined), StoredLatents([latents])
    cells = cells_to_code(codec, spec, read_fits(fits, stored.table), stored)
    levels = select_images(store.read(simulation), stored.names, simulation)["level"]
    images = load_images(manifest_file, spec.shard, stored)
    coded: list[tuple[float, float, str]] = []
    clock = clock_of(codec)
    with store.create(out, spec) as writer:
        for i, (entry, image) in enumerate(zip(images, stored, strict=True)):
            pixels = load_image(entry["file"], entry["sha256"])
            key = noise_key(spec.seed, entry["name"])
            streams = []
            for cell_id, cell in cells.items():
                level = level_of(levels.isel(image=i), cell_id)
                if level is not None and math.isnan(level):
                    coded.append(NOT_CODED)
                    continue
                start = clock()
                stream, decoded = encode(codec, cell, image, pixels, key, level)
                coded.append((len(stream), clock() - start, digest(decoded.y_hat)))
                streams.append(stream)
            joined = np.frombuffer(b"".join(streams), np.uint8)
            writer.write(xr.Dataset({"stream": ("byte", joined)}), group=str(i))
        writer.write(coded_table(coded, cells, stored))


def coded_table(
    coded: Sequence[tuple[float, float, str]], cells: Iterable[CellId], stored: StoredLatents
) -> xr.Dataset:
    """Return the table of bitstreams, which are in the order of the images, then of the cells."""
    names = [str(cell_id) for cell_id in cells]
    rows = np.array(coded, list(zip(COLUMNS, ("f8", "f8", "U64"), strict=True)))
    table = rows.reshape(len(stored.names), len(names)).T
    variables = {
        name: (("cell", "image"), table[name], {"units": unit} if unit else {})
        for name, unit in COLUMNS.items()
    }
    coords = {"cell": names, "image": stored.names, **stored.run.coordinates()}
    return xr.Dataset(variables, coords)


def cells_to_code(
    codec: Codec, spec: BitstreamSpec, fits: Fits, stored: StoredLatents
) -> Mapping[CellId, CellsOfLatents]:
    """Return the cells that have a bitstream: none if the codec does not decode."""
    if not decodes(codec):
        logger.warning("%s does not decode without the image: there are no bitstreams", spec.codec)
        return {}
    return codable_cells(cell_ids(spec.cells).values(), spec.entries, fits, stored[0])


def level_of(levels: xr.DataArray, cell: CellId) -> float | None:
    """Return the level at which a cell was simulated for one image; None if it was not."""
    if str(cell) not in levels["curve"].values:
        return None
    return float(levels.sel(curve=str(cell)).item())


def digest(y_hat: Iterable[Tensor]) -> str:
    """Return the SHA-256 of decoded latents."""
    digests = hashlib.sha256()
    for part in y_hat:
        digests.update(part.contiguous().numpy().tobytes())
    return digests.hexdigest()
