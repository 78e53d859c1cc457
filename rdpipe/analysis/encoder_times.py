"""Time of the encoder of each rung of a ladder, where real bytes were written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rdpipe.analysis.measured_curves import Run, Runs


def cell_seconds(decoded: Run, tables: Run) -> dict[str, float]:
    """Return the time of the encoder of each cell over all qualities, seconds per megapixel.

    It is that of the bitstream at the level of the cell; the search for the level is not in it.

    Parameters
    ----------
    decoded, tables : mapping
        Stores of ``read_bitstreams`` and tables of ``extract_latents``, by quality. Cells without a
        bitstream are left out.
    """
    cells = next(iter(decoded.values()))["cell"].values.tolist() if decoded else []
    times = {}
    for cell in cells:
        seconds = np.stack([store["seconds"].sel(cell=cell).values for store in decoded.values()])
        pixels = np.stack([tables[quality]["pixels"].values for quality in decoded])
        known = np.isfinite(seconds)
        if known.any():
            times[cell] = 1e6 * seconds[known].sum() / pixels[known].sum()
    return times


def encoder_seconds(
    key: tuple[str, str],
    attached: Mapping[str, bool],
    tables: Runs,
    decoded: Runs,
    refinement: Mapping[str, float],
) -> dict[str, float]:
    """Return the time of the encoder of the rungs of a codec by name, seconds per megapixel.

    Rungs that were not measured are left out: code lengths and bounds.

    Parameters
    ----------
    key : tuple of str
        Dataset and codec.
    attached : mapping of str to bool
        The codecs with curves among those of the codec, and whether each is one cell of its own.
    tables, decoded : mapping
        Tables of ``extract_latents`` and stores of ``read_bitstreams``, by dataset and codec.
    refinement : mapping of str to float
        Time of the refinement of all refined latents, seconds per megapixel. Without bytes of its
        own, the rest of the encoder of a refined codec is that of the same cell of the codec.
    """
    dataset, _ = key
    codec_times = cell_seconds(decoded.get(key, {}), tables[key])
    times = dict(codec_times)
    for name, has_one_cell in attached.items():
        seconds = cell_seconds(decoded.get((dataset, name), {}), tables[dataset, name])
        if not seconds and not has_one_cell and name in refinement:
            seconds = codec_times
        total = {cell: value + refinement.get(name, 0.0) for cell, value in seconds.items()}
        times |= {name if has_one_cell else f"{name}: {cell}": t for cell, t in total.items()}
    return times
