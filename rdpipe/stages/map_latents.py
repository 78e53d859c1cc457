"""Map where in the image, and in which channels, the bits and the gaps are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe.analysis.decomposition import path_to
from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.metrics import error_map
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Walk
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.content import content_sums
from rdpipe.evaluation.maps import MapTable, map_image
from rdpipe.evaluation.simulation import build
from rdpipe.io import store
from rdpipe.io.thumbnail import thumbnail
from rdpipe.stages.inputs import (
    StoredLatents,
    encoder_of,
    load_images,
    read_fits,
    select_images,
)
from rdpipe.stages.specs import CellNames, CellSpec, cell_ids


class MapLatentsSpec(CellSpec, frozen=True, kw_only=True):
    """One codec at one quality, and its limits.

    Parameters
    ----------
    limits : dict
        End cells of the decomposition, by name.
    """

    limits: dict[str, CellNames]

    @property
    def corners(self) -> list[CellId]:
        """The codec's cell, and all cells on the way from it to the limits."""
        steps = [step for limit in cell_ids(self.limits).values() for step in path_to(limit)]
        corners = [corner for step in steps for corner in (step.before, step.after)]
        return list(dict.fromkeys([BASELINE_CELL, *corners]))


def run(
    spec: MapLatentsSpec,
    manifest_file: Path,
    latents: Path,
    joint: Path,
    fits: list[Path],
    out: Path,
    refined: list[Path] = [],  # noqa: B006 (the default of a flag)
) -> None:
    """Map the bits of the cells between the codec and its limits.

    Parameters
    ----------
    spec : MapLatentsSpec
    manifest_file, latents, joint : Path
        Manifest from ``prepare_dataset``, latents from ``extract_latents``, and the whole array
        from ``measure_gap``, which has the level at which each cell codes each image.
    fits : list of Path
        Stores from ``fit_estimator`` and ``fit_reconstruction`` of all that is fitted in the cells.
    out : Path
        Store to write: the variables of :data:`rdpipe.evaluation.maps.LAYOUT` over image, and a
        group ``0``, ``1``, ... for each image with ``bits`` over (cell, row, column), ``mse`` of
        the decoded image over the positions within the image, and ``original`` and ``decoded`` as
        small WebP files.
    refined : list of Path
        Refined latents from ``refine_latents``; empty if the codec is not a refined one.
    """
    codec, stored, array = encoder_of(spec, refined), StoredLatents([latents]), store.read(joint)
    states, first = read_fits(fits, stored.table), stored[0]
    cells = {
        corner: build(corner, spec.entries, states, first, first[0].structure)
        for corner in spec.corners
    }
    images = load_images(manifest_file, spec.shard, stored)
    levels = select_images(array, stored.names, joint)["level"]
    table = MapTable(stored.names)
    with store.create(out, spec) as writer:
        for i, (entry, image) in enumerate(zip(images, stored, strict=True)):
            of_image = levels.isel(image=i)
            at = {corner: of_image.sel(corner.selector()).item() for corner in cells}
            pixels = load_image(entry["file"], entry["sha256"])
            height, width = pixels.shape[:2]
            row, maps = map_image(image, cells, at, spec.seed, (height, width))
            decoded = decode_image(codec, Walk(), pixels)
            error = error_map(pixels, decoded, row["stride"])
            of_content = content_sums(pixels, *maps, error, row["stride"])
            table.add(i, {**row, **of_content, "height": height, "width": width})
            files = {"original": thumbnail(pixels), "decoded": thumbnail(decoded)}
            group = {
                "bits": (("cell", "row", "column"), maps.bits),
                "mse": (("error_row", "error_column"), error, {"units": "squared 8-bit levels"}),
            } | {
                name: (f"{name}_byte", np.frombuffer(file, np.uint8))
                for name, file in files.items()
            }
            writer.write(xr.Dataset(group), group=str(i))
        writer.write(table.label(cells, stored.run))
