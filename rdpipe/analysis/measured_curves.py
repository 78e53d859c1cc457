"""Curves of what was measured: codecs, their simulated cells, known sources and baselines."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.rates import cell_bits
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.specs import Spec
from rdpipe.io.store import check_same_images

Run = Mapping[int, xr.Dataset]
"""Tables of one codec on one dataset, by quality."""
Runs = Mapping[tuple[str, str], Run]
"""Runs by dataset and codec."""
logger = logging.getLogger(__name__)


def stack(run: Run, name: str) -> Values:
    """Return one variable over (image, quality).

    Raises
    ------
    InputError
        If two qualities do not have the same images in the same order.
    """
    first = next(iter(run.values()))
    for quality, table in run.items():
        check_same_images(first["image"].values, table["image"].values, f"quality {quality}")
    return np.stack([table[name].values for table in run.values()], 1).astype(np.float64)


def image_sizes(run: Run) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the number of pixels and the names of the images, which all qualities share."""
    table = next(iter(run.values()))
    return table["pixels"].values, table["image"].values


class Attachment(Spec, frozen=True, kw_only=True):
    """What a codec is for another one, among whose curves it has one under its own name.

    Parameters
    ----------
    codec : str
        The other codec.
    role : CurveRole
    is_bound : bool
        Whether the curve is that of its simulated cell, not of its own coding.
    network : str
        The codec that has its networks: another one if its latents are refined.
    """

    codec: str
    role: CurveRole
    is_bound: bool
    network: str


def codec_curves(
    tables: Runs,
    simulations: Runs,
    analyzed: Collection[tuple[str, str]],
    attached: Mapping[str, Attachment] = MappingProxyType({}),
) -> list[Curve]:
    """Return each codec's own curve and the curves of its simulated cells.

    Parameters
    ----------
    tables : mapping
        Tables of ``extract_latents``.
    simulations : mapping
        Stores of ``simulate``.
    analyzed : collection of tuple of str
        Dataset and codec of the runs that have curves of their own.
    attached : mapping of str to Attachment
        Codecs that have a curve among those of another codec. They come last.
    """
    curves, others = [], []
    for (dataset, codec), run in tables.items():
        simulation = simulations[dataset, codec]
        if attachment := attached.get(codec):
            if attachment.is_bound:
                labels = dataset, attachment.codec
                others += simulated_curves(*labels, run, simulation, attachment.role, codec)
                continue
            curve = own_curve(dataset, codec, run)
            others.append(replace(curve, codec=attachment.codec, name=codec, role=attachment.role))
        if (dataset, codec) in analyzed:
            curves.append(own_curve(dataset, codec, run))
            curves += simulated_curves(dataset, codec, run, simulation)
    return curves + others


def own_curve(dataset: str, codec: str, run: Run) -> Curve:
    """Return the codec's own curve, of kind achieved if it has a bitstream."""
    kind = BoundKind.ACHIEVED if stack(run, "real").all() else BoundKind.ACHIEVABLE
    points = list(run), 8 * stack(run, "bytes"), stack(run, "mse")
    labels = dataset, codec, "codec", CurveRole.CODEC, kind
    return Curve(*labels, *points, *image_sizes(run), ms_ssim=stack(run, "ms_ssim"))


def simulated_curves(
    dataset: str,
    codec: str,
    run: Run,
    simulations: Run,
    role: CurveRole = CurveRole.CELL,
    bound: str = "",
) -> list[Curve]:
    """Return a curve for each simulated cell of a run.

    Parameters
    ----------
    dataset, codec : str
        Dataset, and the codec that the curves belong to.
    run, simulations : mapping
        Tables of ``extract_latents`` and stores of ``simulate``.
    role : CurveRole
    bound : str
        Name of the curve, if the run is one of a codec that is a bound for another.
    """
    first = next(iter(simulations.values()))
    curves = []
    for name in first["curve"].values.tolist():
        kind = BoundKind.parse(first["kind"].sel(curve=name).item(), name)
        points = list(run), *simulated_points(name, simulations, run)
        labels = dataset, codec, bound or name, role, kind
        similarity = np.stack(
            [product["ms_ssim"].sel(curve=name).values for product in simulations.values()], 1
        )
        curves.append(Curve(*labels, *points, *image_sizes(run), ms_ssim=similarity))
    return curves


def simulated_points(name: str, simulations: Run, run: Run) -> tuple[Values, Values]:
    """Return bits and MSE of a simulated cell over (image, quality).

    They are NaN where the cell does not reach the quality of the codec's picture.
    """
    cells = {quality: product.sel(curve=name) for quality, product in simulations.items()}
    for quality, cell in cells.items():
        for reason in dict.fromkeys(filter(None, cell["reason"].values.tolist())):
            logger.warning("%s, quality %s: not simulated: %s", name, quality, reason)
    bits = [cell_bits(cell, run[quality]).values for quality, cell in cells.items()]
    return np.stack(bits, 1), stack(cells, "mse")


def source_curves(functions: Mapping[tuple[str, str], xr.Dataset], tables: Runs) -> list[Curve]:
    """Return the rate-distortion functions of sources whose distribution is known.

    Parameters
    ----------
    functions : mapping
        Functions by name, each of shape (2, point): MSE and bit/pixel; by dataset and codec.
    tables : mapping
        Tables of ``extract_latents``.
    """
    role, kind = CurveRole.SOURCE, BoundKind.REFERENCE
    curves = []
    for (dataset, codec), known in functions.items():
        pixels, images = image_sizes(tables[dataset, codec])
        for name, function in known.data_vars.items():
            mse, bpp = (np.tile(values, (len(pixels), 1)) for values in function.values)
            points = list(range(mse.shape[1])), bpp * pixels[:, None], mse
            curves.append(Curve(dataset, codec, str(name), role, kind, *points, pixels, images))
    return curves


def baseline_curves(products: Iterable[xr.Dataset]) -> list[Curve]:
    """Return one curve for each dataset and baseline, from the stores of ``run_baseline``."""
    role, kind = CurveRole.BASELINE, BoundKind.ACHIEVED
    runs: dict[tuple[str, str], dict[int, xr.Dataset]] = defaultdict(dict)
    for product in products:
        key = product["dataset"].item(), product["baseline"].item()
        runs[key][product["quality"].item()] = product
    curves = []
    for (dataset, baseline), run in runs.items():
        run = dict(sorted(run.items()))
        points = list(run), 8 * stack(run, "bytes"), stack(run, "mse")
        labels = dataset, "", baseline, role, kind
        similarity = stack(run, "ms_ssim")
        curves.append(Curve(*labels, *points, *image_sizes(run), ms_ssim=similarity))
    return curves
