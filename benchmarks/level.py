"""Solving for the level of equal distortion, relative to one evaluation of the distortion."""

from collections.abc import Iterator

from benchmarks.array import latents
from benchmarks.common import Figure, Options, alternate, processor_seconds
from rdpipe.core.axes import AXES, CellId
from rdpipe.evaluation.cell import Cell, Entries


def figures(options: Options) -> Iterator[Figure]:
    (image,) = latents(options, 1)
    for variance in ("codec", "element"):
        cell_id = CellId("codec", variance, "test-channel")
        entries: Entries = {axis.section: {cell_id.selector()[axis.name]: {}} for axis in AXES}
        cell = Cell.from_entries(cell_id, entries, {})
        prepared = cell.prepare(image)
        level = cell.matched_level([prepared])
        rounds = alternate(
            options.rounds,
            lambda: processor_seconds(lambda: cell.matched_level([prepared])),
            lambda: processor_seconds(lambda: cell.distortion_at(prepared, level)),
        )
        ratios = [solved / once for solved, once in rounds]
        reference = "one evaluation of the distortion"
        yield Figure(f"solving for theta, variance {variance}", reference, "<= 12", ratios)
