"""Gaussian fields and their KLT: cells at equal pictures are those at equal latents.

The transform is orthonormal, so squared errors of latents and of pictures are the same (Parseval).
"""

import math

import numpy as np
import pytest
import xarray as xr
from gaussian_fields import SIDE, coded_fields

from rdpipe.analysis.decomposition import decompose
from rdpipe.core.axes import AXES, CellId, corners
from rdpipe.core.runs import RunId
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.simulation import Simulation

PIXELS = SIDE**2
OWN = "codec/codec/rounding"
LIMITS = [CellId("codec", variance, "test-channel") for variance in ("codec", "element")]
CELLS = {str(cell): cell for limit in LIMITS for cell in corners(limit).values()}
OTHERS = [
    CellId.parse(name) for name in ("zero/element/test-channel", "codec/element/dithered-wiener")
]
"""Further cells, which share their mean or their variance with those."""
ENTRIES = {
    axis.section: {getattr(cell, axis.name): {} for cell in (*CELLS.values(), *OTHERS)}
    for axis in AXES
}


def simulate(codec, images, cells=CELLS, level=None):
    """Return cells at equal pictures, with one level for all fields; or at a given level."""
    simulation = Simulation(codec, cells, ENTRIES, {}, images[0].latents, level=level)
    names = [image.latents[0].name for image in images]
    return simulation.label([simulation.run(images)], names, RunId("field", "klt", 1))


def at_equal_latents(images):
    """Return the cells of the labeled array, with one level for all fields."""
    names = ({getattr(cell, axis.name): {} for cell in CELLS.values()} for axis in AXES)
    return evaluate([image.latents for image in images], *names, matching="dataset")


def terms_of(measured, limit):
    """Return the terms to a limit and their total, over (term, order), bit/pixel.

    The table of the codec's own bits, in which the two do not differ, is zero.
    """
    names = measured["image"].values
    variables = {
        name: ("image", np.zeros(len(names))) for name in ("bytes", "latent_bits", "side_bits")
    }
    pixels = ("image", np.full(len(names), PIXELS))
    table = xr.Dataset(variables | {"pixels": pixels}, {"image": names})
    terms = decompose(table, measured, limit)
    bits = xr.concat([terms["bits"], terms["total"].expand_dims(term=["total"])], "term")
    return bits.mean("image") / PIXELS


@pytest.mark.parametrize("step, count", [(100.0, 4), (20.0, 12)])
def test_terms_at_equal_pictures_equal_those_at_equal_latents(step, count):
    """To 1e-3 bit/pixel, if the fields are large enough.

    The array has the expected error of the channel, a picture that of the noise that was drawn.
    Where k of N coefficients lie above theta, the drawn error differs from the expected one with a
    standard deviation of theta sqrt(2 k), and the slope of R(D) makes that sqrt(2 k) / (2 ln 2 N)
    bit/pixel: 0.43e-3 for 12 of the 64 coefficients in 4 fields, and for 38 of them in 12 fields.
    """
    codec, images = coded_fields(step, count)
    at_pictures, at_latents = simulate(codec, images), at_equal_latents(images)
    for limit in LIMITS:
        expected = terms_of(at_latents, limit)
        np.testing.assert_allclose(terms_of(at_pictures, limit), expected, rtol=0, atol=1e-3)
        assert (expected.sel(term="quantization") > 0.05).all()
        if limit.variance == "element":
            assert (expected.sel(term="variance") > 0.05).all()


@pytest.mark.parametrize("step", [100.0, 20.0, 6.0, 1.0])
def test_rest_of_the_difference_is_the_noise_of_the_sample(step):
    """Known answer: d bits = d MSE / (2 ln 2 theta), the slope of R(D), with any number of pixels.

    d MSE is the error of the picture at the level of equal latents, minus that of the codec's own.
    The level is solved to 0.002 dB, which is at most 3.3e-4 bit.
    """
    codec, images = coded_fields(step, 2)
    at_pictures, at_latents = simulate(codec, images), at_equal_latents(images)
    for cell in LIMITS:
        of_array, name = at_latents.sel(cell.selector()), str(cell)
        theta = of_array["level"][0].item()
        at_level = simulate(codec, images, {name: cell}, theta)["mse"].mean().item()
        change = at_level - at_pictures["mse"].sel(curve=OWN).mean().item()
        expected = change / (2 * math.log(2) * theta * step**2)
        difference = (at_pictures["bits"].sel(curve=name) - of_array["bits"]).mean().item() / PIXELS
        assert difference == pytest.approx(expected, abs=3.4e-4)
        assert abs(expected) < 4 * math.sqrt(2 / (len(images) * PIXELS)) / (2 * math.log(2))


def test_field_alone_has_the_numbers_that_it_has_among_others():
    """What cells share is kept at all levels only if there is one field."""
    codec, images = coded_fields(20.0, 2)
    cells = CELLS | {str(cell): cell for cell in OTHERS}
    for level in (0.1, 0.2):
        together, alone = (simulate(codec, x, cells, level) for x in (images, images[:1]))
        xr.testing.assert_identical(together.isel(image=[0]), alone)
    solved = simulate(codec, images[:1], cells)
    for name in cells:
        again = simulate(codec, images[:1], {name: cells[name]})
        first, second = (x.drop_vars("syntheses") for x in (solved.sel(curve=[name]), again))
        xr.testing.assert_identical(first, second)  # pictures that two cells have are decoded once
