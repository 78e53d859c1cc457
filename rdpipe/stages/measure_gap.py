"""Rates and distortions along one axis, or all of them, from stored latents."""

from __future__ import annotations

from pathlib import Path

from rdpipe.io import store
from rdpipe.evaluation.array import evaluate
from rdpipe.stages.inputs import StoredLatents, identity, read_fits


def run(spec: dict, latents: list[Path], fits: list[Path], out: Path) -> None:
    """Evaluate a slice of the array bits[image, mean, variance, quantizer].

    Parameters
    ----------
    spec : dict
        ``component``, the gap that this slice is of; ``means``, ``variances``, ``quantizers``
        (names and config entries), ``matching`` and ``seed``.
    latents : list of Path
        From ``extract_latents``, in the order of the shards; of one shard, unless the level is matched
        over the data set.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store of the array, with ``pixels`` over image.
    """
    stored = StoredLatents(latents)
    table = stored.table
    axes = (spec[axis] for axis in ("means", "variances", "quantizers"))
    options = {"matching": spec["matching"], "seed": spec["seed"], "fits": read_fits(fits, table)}
    cube = evaluate(stored, *axes, **options)
    with store.create(out, spec) as writer:
        cube = cube.assign_coords({**identity(table), "component": spec["component"]})
        writer.write(cube.assign(pixels=table["pixels"]))
