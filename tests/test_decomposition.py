"""The terms of the gap: they sum, and they are what moving along the axes saves."""

import numpy as np
import pytest
import torch
import xarray as xr

from rdpipe.core.axes import START
from rdpipe.evaluation import evaluate
from rdpipe.analysis.decomposition import decompose, latent_mse, path_to
from rdpipe.core.latents import Latents
from rdpipe.theory import rounding_distortion


@pytest.fixture(scope="module")
def measured():
    g = torch.Generator().manual_seed(0)
    images = []
    for name in "abc":
        mean, y = torch.randn((2, 6, 9, 8), generator=g) * 3
        images.append(Latents(name, y, mean, torch.rand(y.shape, generator=g) * 4 + 0.11))
    cube = evaluate(
        images, ["codec", "zero"], ["codec", "channel", "element"], ["rounding", "test-channel"]
    )
    rng = np.random.default_rng(0)
    table = xr.Dataset(
        {name: ("image", rng.uniform(50, 900, 3)) for name in ("bytes", "latent_bits", "side_bits")}
        | {"pixels": ("image", [100, 200, 300])},
        {"image": list("abc")},
    )
    return table, cube


@pytest.mark.parametrize("variance", ["codec", "channel", "element"])
@pytest.mark.parametrize("mean", ["codec", "zero"])
def test_terms_sum_to_the_total_in_every_order(measured, mean, variance):
    limit = {"mean": mean, "variance": variance, "quantizer": "test-channel"}
    terms = decompose(*measured, limit)
    np.testing.assert_allclose(terms["bits"].sum("term") - terms["total"], 0, atol=1e-9)


def test_total_leads_from_real_bytes_to_the_limit(measured):
    table, cube = measured
    limit = {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}
    end = cube["bits"].sel(limit).values + table["side_bits"].values  # decodable: side is counted
    got = decompose(table, cube, limit)
    np.testing.assert_allclose(got["total"], 8 * table["bytes"] - end)
    assert (got["bits"].sel(term="side") == 0).all()
    assert got.attrs["kind"] == "upper bound on R(D)"


def test_a_genie_is_sent_no_side_information(measured):
    table, cube = measured
    limit = {"mean": "codec", "variance": "element", "quantizer": "test-channel"}
    got = decompose(table, cube, limit)
    np.testing.assert_allclose(got["bits"].sel(term="side", order="paper"), table["side_bits"])
    assert got.attrs["kind"] == "genie-aided estimate"


def test_latent_mse_is_what_other_quantizers_and_means_have():
    """Dithered rounding has 1/12 at any variance, rounding less where it sends zeros."""
    y = 0.3 * torch.randn((1, 300, 300), generator=torch.Generator().manual_seed(0)).double()
    one = Latents("a", y, 0 * y, torch.full_like(y, 0.3))
    cube = evaluate(one, ["codec"], ["codec"], ["rounding", "dithered", "test-channel"])
    ratios = [latent_mse(cube, {"mean": "codec", "variance": "codec", "quantizer": name})
              for name in ("rounding", "dithered", "test-channel")]  # fmt: skip
    assert ratios == pytest.approx([1, 1 / 12 / rounding_distortion(0.3), 1], rel=0.03)


def test_orders_agree_where_the_axes_do_not_interact(measured):
    table, cube = measured
    additive = xr.zeros_like(cube["bits"])
    for axis, weight in (("mean", 7.0), ("variance", 11.0), ("quantizer", 13.0)):
        additive = additive - weight * xr.DataArray(np.arange(cube.sizes[axis]), dims=axis)
    limit = {"mean": "zero", "variance": "element", "quantizer": "test-channel"}
    bits = decompose(table, cube.assign(bits=additive), limit)["bits"]
    np.testing.assert_allclose(bits.sel(order="paper"), bits.sel(order="shapley"))
    for term, saved in (("context", 7), ("variance", 22), ("quantization", 13)):
        np.testing.assert_allclose(bits.sel(order="paper", term=term), saved)


def test_shapley_is_the_average_over_the_orders(measured):
    table, cube = measured
    limit = {"mean": "zero", "variance": "element", "quantizer": "test-channel"}
    start = {"mean": "codec", "variance": "codec", "quantizer": "rounding"}
    from itertools import permutations

    saved = dict.fromkeys(start, 0.0)
    for order in permutations(start):
        corner = dict(start)
        for axis in order:
            before = cube["bits"].sel(corner).values
            corner[axis] = limit[axis]
            saved[axis] = saved[axis] + (before - cube["bits"].sel(corner).values) / 6
    bits = decompose(table, cube, limit)["bits"].sel(order="shapley")
    for axis, term in (
        ("mean", "context"),
        ("variance", "variance"),
        ("quantizer", "quantization"),
    ):
        np.testing.assert_allclose(bits.sel(term=term), saved[axis], atol=1e-9)


def test_the_way_to_a_limit_goes_axis_by_axis():
    limit = {"mean": "zero", "variance": "codec", "quantizer": "test-channel"}
    (first, *both), (second, between, end) = path_to(limit)
    assert (first, second) == ("quantization", "context")
    assert both == [START, between] and end == limit
    assert path_to(START) == []
