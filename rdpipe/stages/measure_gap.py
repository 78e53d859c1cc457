"""Rates and distortions along one axis, or all of them, from stored latents."""

from __future__ import annotations

from pathlib import Path

from rdpipe import store
from rdpipe.axes.cube import evaluate
from rdpipe.stages.inputs import StoredLatents, identity, read_fits


def run(spec: dict, latents: Path, fits: list[Path], out: Path) -> None:
    """Evaluate a slice of the array bits[image, mean, variance, quantizer].

    Parameters
    ----------
    spec : dict
        ``component``, the gap that this slice is of; ``means``, ``variances``, ``quantizers``
        (names and config entries), ``matching`` and ``seed``.
    latents : Path
        From ``extract_latents``.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store of the array, with ``pixels`` over image.
    """
    table = store.read(latents)
    axes = (spec[axis] for axis in ("means", "variances", "quantizers"))
    options = {"matching": spec["matching"], "seed": spec["seed"], "fits": read_fits(fits, table)}
    cube = evaluate(StoredLatents(latents), *axes, **options)
    with store.create(out, spec) as writer:
        cube = cube.assign_coords({**identity(table), "component": spec["component"]})
        writer.write(cube.assign(pixels=table["pixels"]))
