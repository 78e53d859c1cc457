"""Where in the picture and in which channels the bits and the gaps lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe.io import store
from rdpipe.core.axes import START, cell_name
from rdpipe.evaluation import statistics
from rdpipe.evaluation.cell import Cell
from rdpipe.codecs.protocol import decoded_latents
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.report.thumbnail import thumbnail
from rdpipe.analysis.decomposition import path_to
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.rng import noise_key
from rdpipe.stages.inputs import StoredLatents, identity, make_codec, read_fits

LAYOUT = {
    "bits": (("cell", "channel"), "bit"),
    "level": (("cell",), "latent units"),
    "second_moment": (("channel",), "squared latent units"),
    "predicted": (("channel",), "squared latent units"),
    "calibration": (("sum", "scale_bin"), ""),
    "residuals": (("scale_class", "bin"), ""),
    "stride": ((), ""),
    "height": ((), ""),
    "width": ((), ""),
}
"""Of the root table: dimensions besides image, and units."""


def run(
    spec: dict, manifest_file: Path, latents: Path, joint: Path, fits: list[Path], out: Path
) -> None:
    """Take apart the cells between the codec and its limits, element by element.

    Parameters
    ----------
    spec : dict
        ``codec``, ``quality``, ``entry``, ``device``, ``shard`` as for ``extract_latents``; ``means``,
        ``variances``, ``quantizers``; ``limits`` and ``seed``.
    manifest_file, latents, joint : Path
        From ``prepare_dataset``, ``extract_latents`` and ``measure_gap``; the last says at which
        level each cell codes each image.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store with what :func:`describe` says of every image at the root, and for each image a group
        ``0``, ``1``, ... of ``bits`` over (cell, row, column), and ``original`` and ``decoded`` as
        small WebP files.
    """
    codec, stored, cube = make_codec(spec), StoredLatents([latents]), store.read(joint)
    ways = [path_to(limit) for limit in spec["limits"].values()]
    corners = [START, *(corner for way in ways for _, *both in way for corner in both)]
    corners = {cell_name(corner): corner for corner in corners}
    found = read_fits(fits, stored.table)
    context = stored[0].with_context
    cells = {n: Cell.from_spec(spec, found, corner, context) for n, corner in corners.items()}
    table, images = {}, manifest.load_shard(manifest_file, *spec.get("shard", ()))
    with store.create(out, spec) as writer:
        for i, (image, one) in enumerate(zip(images, stored)):
            known = cube["level"].sel(image=one.name)
            levels = {name: known.sel(corner).item() for name, corner in corners.items()}
            pixels = load(image["file"], image["sha256"])
            row, maps = describe(one, cells, levels, noise_key(spec["seed"], one.name))
            decoded = codec.synthesise(decoded_latents(codec, one), *pixels.shape[:2])
            stride = getattr(codec, "stride", -(-pixels.shape[0] // one.y.shape[1]))
            sizes = {"stride": stride, "height": pixels.shape[0], "width": pixels.shape[1]}
            keep(table, row | sizes, i, len(images))
            thumbnails = {"original": thumbnail(pixels), "decoded": thumbnail(decoded)}
            group = {"bits": (("cell", "row", "column"), maps)} | {
                name: (f"{name}_byte", np.frombuffer(file, np.uint8))
                for name, file in thumbnails.items()
            }
            writer.write(xr.Dataset(group), group=str(i))
        writer.write(label(table, stored, cells))


def keep(table: dict[str, np.ndarray], row: dict[str, np.ndarray], index: int, count: int) -> None:
    """Put what is known of one image of ``count`` into arrays of all, which are made for the first.

    Small arrays of each image would lie between the large ones that come and go, and break up what those leave.

    Raises
    ------
    InputError
        If the codec gives an image latents of other channels than the first.
    """
    for name, value in row.items():
        if name not in table:
            table[name] = np.zeros((count, *np.shape(value)), np.asarray(value).dtype)
        rows = table[name]
        if rows.shape[1:] != np.shape(value):
            raise InputError(f"image {index}: {name} has shape {np.shape(value)}; that of the first has {rows.shape[1:]}")
        rows[index] = value


def label(table: dict[str, np.ndarray], stored: StoredLatents, cells: dict[str, Cell]) -> xr.Dataset:
    """What is known of every image, labelled."""
    variables = {}
    for name, rows in table.items():
        dims, units = LAYOUT[name]
        variables[name] = (("image", *dims), rows, {"units": units} if units else {})
    kinds = ("cell", [cell.kind for cell in cells.values()])
    labels = {"image": stored.names, "cell": list(cells), "kind": kinds, "sum": list(statistics.SUMS)}
    return xr.Dataset(variables, {**labels, **identity(stored.table)})


def describe(
    latents: Latents, cells: dict[str, Cell], levels: dict[str, float], key: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One image in several cells.

    Parameters
    ----------
    latents : Latents
    cells, levels : dict
        By name; the codec's own cell among them.
    key : int
        Of the noise.

    Returns
    -------
    row : dict of array
        Over the dimensions of :data:`LAYOUT`: ``bits``; ``level``; ``second_moment`` of the
        codec's residuals and the mean variance ``predicted`` for them; ``calibration`` and
        ``residuals`` of :mod:`rdpipe.evaluation.statistics`.
    maps : array of shape (cell, row, column)
        Bits of all channels, float32. What a variance estimator sends is in neither.
    """
    sent = {}
    for name, cell in cells.items():
        prepared = cell.prepare(latents, key)
        sent[name] = cell.send(prepared, levels[name])
        if name == cell_name(START):
            scale, r = latents.scale.double(), prepared.residual
    bits = np.stack([one.element_bits.numpy() for one in sent.values()])
    second_moment, predicted = statistics.moments(scale, r)
    row = {
        "bits": bits.sum((2, 3)),
        "level": np.array(list(levels.values())),
        "second_moment": second_moment,
        "predicted": predicted,
        "calibration": statistics.calibration(scale, r),
        "residuals": statistics.residual_histograms(scale, r),
    }
    return row, bits.sum(1).astype(np.float32)
