"""The terms of the decomposition: their sums, and what moving along the axes saves."""

from itertools import permutations

import numpy as np
import pytest
import torch
import xarray as xr

from rdpipe.analysis.decomposition import decompose, latent_mse_ratio, path_to
from rdpipe.core.axes import AXES, BASELINE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind
from rdpipe.core.latents import Latents
from rdpipe.evaluation import evaluate
from rdpipe.theory import rounding_distortion


@pytest.fixture(scope="module")
def measured():
    """The table and the array of three random images."""
    g = torch.Generator().manual_seed(0)
    images = []
    for name in "abc":
        mean, y = torch.randn((2, 6, 9, 8), generator=g) * 3
        images.append(Latents(name, y, mean, torch.rand(y.shape, generator=g) * 4 + 0.11))
    array = evaluate(
        images, ["codec", "zero"], ["codec", "channel", "element"], ["rounding", "test-channel"]
    )
    rng = np.random.default_rng(0)
    table = xr.Dataset(
        {name: ("image", rng.uniform(50, 900, 3)) for name in ("bytes", "latent_bits", "side_bits")}
        | {"pixels": ("image", [100, 200, 300])},
        {"image": list("abc")},
    )
    return table, array


@pytest.mark.parametrize("variance", ["codec", "channel", "element"])
@pytest.mark.parametrize("mean", ["codec", "zero"])
def test_terms_sum_to_the_total_in_every_order(measured, mean, variance):
    terms = decompose(*measured, CellId(mean, variance, "test-channel"))
    np.testing.assert_allclose(terms["bits"].sum("term") - terms["total"], 0, atol=1e-9)


def test_total_is_from_real_bytes_to_the_limit(measured):
    table, array = measured
    limit = CellId("codec", "codec", "test-channel")
    # the codec's mean and variance are computed from side information
    end = array["bits"].sel(limit.selector()).values + table["side_bits"].values
    terms = decompose(table, array, limit)
    np.testing.assert_allclose(terms["total"], 8 * table["bytes"] - end)
    assert (terms["bits"].sel(term="side") == 0).all()
    assert BoundKind.parse(terms.attrs["kind"]) is BoundKind.UPPER_BOUND


@pytest.mark.parametrize("mean, share", [("codec", 0), ("zero", 1)])
def test_genie_aided_limit_saves_side_information_only_if_nothing_uses_it(measured, mean, share):
    """The codec's mean is computed from it, and is part of the limit."""
    table, array = measured
    limit = CellId(mean, "element", "test-channel")
    terms = decompose(table, array, limit)
    saved = terms["bits"].sel(term="side", order="paper")
    np.testing.assert_allclose(saved, share * table["side_bits"])
    rate = array["bits"].sel(limit.selector()).values + (1 - share) * table["side_bits"].values
    np.testing.assert_allclose(terms["total"], 8 * table["bytes"] - rate)
    assert BoundKind.parse(terms.attrs["kind"]) is BoundKind.GENIE_AIDED


def test_latent_mse_ratio_of_other_quantizers():
    """Dithered rounding has 1/12 at any variance; rounding has less where it sends zeros."""
    y = 0.3 * torch.randn((1, 300, 300), generator=torch.Generator().manual_seed(0)).double()
    latents = Latents("a", y, 0 * y, torch.full_like(y, 0.3))
    quantizers = ["rounding", "dithered", "test-channel"]
    array = evaluate(latents, ["codec"], ["codec"], quantizers)
    ratios = [latent_mse_ratio(array, CellId("codec", "codec", name)) for name in quantizers]
    assert ratios == pytest.approx([1, 1 / 12 / rounding_distortion(0.3), 1], rel=0.03)


def test_orders_agree_if_the_axes_do_not_interact(measured):
    table, array = measured
    additive = xr.zeros_like(array["bits"])
    for axis, weight in (("mean", 7.0), ("variance", 11.0), ("quantizer", 13.0)):
        additive = additive - weight * xr.DataArray(np.arange(array.sizes[axis]), dims=axis)
    limit = CellId("zero", "element", "test-channel")
    bits = decompose(table, array.assign(bits=additive), limit)["bits"]
    np.testing.assert_allclose(bits.sel(order="paper"), bits.sel(order="shapley"))
    for term, saved in (("context", 7), ("variance", 22), ("quantization", 13)):
        np.testing.assert_allclose(bits.sel(order="paper", term=term), saved)


def test_shapley_is_the_average_over_the_orders(measured):
    table, array = measured
    limit = CellId("zero", "element", "test-channel")
    names = [axis.name for axis in AXES]
    saved = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        corner = BASELINE_CELL
        for axis in order:
            before = array["bits"].sel(corner.selector()).values
            corner = corner.replace(**{axis: getattr(limit, axis)})
            saved[axis] = saved[axis] + (before - array["bits"].sel(corner.selector()).values) / 6
    bits = decompose(table, array, limit)["bits"].sel(order="shapley")
    for axis, term in (
        ("mean", "context"),
        ("variance", "variance"),
        ("quantizer", "quantization"),
    ):
        np.testing.assert_allclose(bits.sel(term=term), saved[axis], atol=1e-9)


def test_path_to_a_limit_goes_along_one_axis_at_a_time():
    limit = CellId("zero", "codec", "test-channel")
    (first, *cells), (second, between, end) = path_to(limit)
    assert (first, second) == ("quantization", "context")
    assert cells == [BASELINE_CELL, between] and end == limit
    assert path_to(BASELINE_CELL) == []


def test_table_and_array_must_have_the_same_images(measured):
    """By positions alone, bits of one image would be subtracted from bytes of another."""
    table, array = measured
    with pytest.raises(InputError, match="image 0 is 'a'; expected 'c'"):
        decompose(table.isel(image=[2, 1, 0]), array, CellId("codec", "codec", "test-channel"))
