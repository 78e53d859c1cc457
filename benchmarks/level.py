"""Solving for the level of equal distortion against one evaluation of the test channel's distortion."""

from collections.abc import Iterator

from benchmarks.array import latents
from benchmarks.common import Figure, Options, by_turns, seconds
from rdpipe.evaluation.cell import Cell, build


def figures(options: Options) -> Iterator[Figure]:
    (one,) = latents(options, 1)
    for variance in ("codec", "element"):
        names = {"mean": "codec", "variance": variance, "quantizer": "test-channel"}
        cell = Cell(*(build(axis, name, {}, {}) for axis, name in names.items()))
        prepared = cell.prepare(one)
        level = cell.matched_level([prepared])
        rounds = by_turns(
            options.rounds,
            lambda: seconds(lambda: cell.matched_level([prepared])),
            lambda: seconds(lambda: cell._distortion(prepared, level)),
        )
        yield Figure(f"solving for theta, variance {variance}", "one evaluation of the distortion",
                     "<= 12", [solved / once for solved, once in rounds])  # fmt: skip
