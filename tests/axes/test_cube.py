"""The labelled array: its labels, its invariances, and cases with known answers."""

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from rdpipe.evaluation import evaluate
from rdpipe.evaluation.cell import Cell
from rdpipe.evaluation.levels import solve_level
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.rng import noise_key

MEANS, VARIANCES = ["zero", "codec"], ["codec", "channel", "window-3", "window-5", "element"]
QUANTIZERS = ["rounding", "test-channel"]
AXES = (MEANS, VARIANCES, QUANTIZERS)


def latents(name="a", shape=(4, 24, 20), seed=0, factor=1.0):
    """y = mean + scale * g with a known mean and scale; ``factor`` misstates the scale."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(shape, generator=generator, dtype=torch.float64)
    mean, scale = 2 * draw(), draw().exp()
    return Latents(name, mean + scale * draw(), mean, factor * scale)


def test_dimensions_labels_and_kinds():
    cube = evaluate(latents(), *AXES)
    for name in ("bits", "distortion"):
        assert cube[name].dims == ("image", "mean", "variance", "quantizer")
    information = dict(zip(VARIANCES, cube["variance_information"].values))
    assert information == {"codec": "decodable", "channel": "decodable", "window-3": "genie",
                           "window-5": "genie", "element": "genie"}  # fmt: skip
    kinds = cube["kind"].sel(mean="codec")
    assert kinds.sel(variance="codec", quantizer="rounding") == "achievable"
    assert kinds.sel(variance="channel", quantizer="test-channel") == "upper bound on R(D)"
    assert kinds.sel(variance="window-3", quantizer="rounding") == "genie-aided estimate"


def test_what_a_context_model_saw_is_a_genies_in_any_other_past():
    """SCIENCE.md, section 7: it was predicted from the codec's own rounded latents."""
    one = latents()
    one = replace(one, hyper=0 * one.mean)
    cube = evaluate(one, ["codec", "hyper", "zero"], ["codec", "channel"],
                    {"rounding": {}, "coarse": {"use": "rounding", "args": {"step": 2.0}},
                     "test-channel": {}})  # fmt: skip
    kinds = cube["kind"]
    assert set(kinds.sel(mean="codec", quantizer="rounding").values) == {"achievable"}
    assert set(kinds.sel(mean="codec", quantizer=["coarse", "test-channel"]).values.ravel()) == {
        "genie-aided estimate"}  # fmt: skip
    for name in ("hyper", "zero"):
        assert set(kinds.sel(mean=name, variance="codec").values) == {"genie-aided estimate"}
        labels = kinds.sel(mean=name, variance="channel").values.tolist()
        assert labels == ["achievable", "achievable", "upper bound on R(D)"]


def test_side_information_is_counted_where_a_real_decoder_needs_it():
    counted = evaluate(latents(), *AXES)["side_counted"]
    assert counted.sel(mean="zero", variance="codec").all()
    assert counted.sel(mean="codec", variance="channel").all()
    assert not counted.sel(mean="zero", variance="channel").any()
    assert not counted.sel(mean="codec", variance="element").any()  # a genie is told


@pytest.mark.parametrize("matching", ["image", "dataset"])
def test_both_quantizers_have_the_same_distortion(matching):
    cube = evaluate([latents("a"), latents("b", seed=1)], *AXES, matching=matching)
    distortion = cube["distortion"] if matching == "image" else cube["distortion"].sum("image")
    np.testing.assert_allclose(
        distortion.sel(quantizer="test-channel"), distortion.sel(quantizer="rounding"), rtol=1e-9
    )


def test_known_variance_has_the_gap_of_the_table():
    """SCIENCE.md, section 6, case 1: iid Gaussian, sigma = 2: 0.2695 bit."""
    g = torch.randn((1, 1000, 1000), generator=torch.Generator().manual_seed(3)).double()
    one = Latents("a", 2 * g, torch.zeros_like(g), torch.full_like(g, 2))
    bits = evaluate(one, ["codec"], ["codec"], QUANTIZERS)["bits"].squeeze() / g.numel()
    gap = bits.sel(quantizer="rounding") - bits.sel(quantizer="test-channel")
    assert gap == pytest.approx(0.2695, abs=2e-3)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2])
def test_a_misstated_scale_costs_what_the_formula_says(factor):
    """SCIENCE.md, section 6, case 3, at high rate: (c^-2 - 1)/(2 ln 2) + log2 c per element."""
    g = torch.randn((1, 500, 500), generator=torch.Generator().manual_seed(4)).double()
    true, wrong = (Latents("a", 200 * g, 0 * g, torch.full_like(g, 200 * c)) for c in (1, factor))
    bits = [
        evaluate(one, ["codec"], ["codec"], ["rounding"])["bits"].item() for one in (true, wrong)
    ]
    # the sample's own second moment stands for the true variance
    ratio = g.square().mean().item()
    expected = ratio * (factor**-2 - 1) / (2 * math.log(2)) + math.log2(factor)
    assert (bits[1] - bits[0]) / g.numel() == pytest.approx(expected, abs=1e-3)


def test_an_accurate_mean_saves_what_the_formula_says():
    """SCIENCE.md, section 2.1: 1/2 log2(E y^2 / E r^2) = -1/2 log2(1 - rho^2) at high rate."""
    g = torch.randn((1, 400, 400), generator=torch.Generator().manual_seed(5)).double()
    one = Latents("a", 50 * g, 0 * g, torch.full_like(g, 50))
    bits = evaluate(one, ["zero", "accuracy-90"], ["channel"], ["rounding"])["bits"].squeeze()
    saved = (bits.sel(mean="zero") - bits.sel(mean="accuracy-90")).item() / g.numel()
    assert saved == pytest.approx(-0.5 * math.log2(1 - 0.9**2), abs=0.01)


def test_the_more_a_genie_knows_the_fewer_bits():
    bits = evaluate(latents(), ["codec"], ["window-5", "window-3", "element"], QUANTIZERS)["bits"]
    assert (bits.diff("variance") < 0).all()


def test_order_and_batch_of_images_do_not_matter():
    images = [latents(name, (3, 8 + i, 9), seed=i) for i, name in enumerate("abc")]
    together = evaluate(images, [*MEANS, "accuracy-50"], VARIANCES, QUANTIZERS)
    backwards = evaluate(images[::-1], [*MEANS, "accuracy-50"], VARIANCES, QUANTIZERS)
    for one in images:
        alone = evaluate(one, [*MEANS, "accuracy-50"], VARIANCES, QUANTIZERS)
        for other in (together, backwards):
            assert (other["bits"].sel(image=one.name) == alone["bits"].sel(image=one.name)).all()


def test_elements_may_be_permuted():
    one = latents()
    order = torch.randperm(24 * 20, generator=torch.Generator().manual_seed(1))
    shuffle = lambda t: t.flatten(1)[:, order].view_as(t)
    other = Latents("a", *(shuffle(t) for t in (one.y, one.mean, one.scale)))
    axes = (MEANS, ["codec", "channel", "element"], QUANTIZERS)
    np.testing.assert_allclose(
        evaluate(one, *axes)["bits"], evaluate(other, *axes)["bits"], rtol=1e-10
    )


def test_bits_add_up_over_elements():
    """Two halves of an image cost together what the whole costs, at the same level."""
    one = latents(shape=(4, 24, 20))
    halves = [Latents("a", *(t[:, rows] for t in (one.y, one.mean, one.scale)))
              for rows in (slice(0, 12), slice(12, 24))]  # fmt: skip
    axes = (["codec"], ["codec", "element"], QUANTIZERS)
    parts, whole = (
        evaluate(images, *axes, matching="dataset")["bits"].sum("image") for images in (halves, one)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-9)


def test_a_level_solved_for_each_image_is_paid_for():
    bits = [
        evaluate(latents(), ["codec"], ["codec"], QUANTIZERS, matching=matching)["bits"].squeeze()
        for matching in ("image", "dataset")
    ]
    np.testing.assert_allclose(bits[0] - bits[1], [0, 32], atol=1e-9)


def test_scaling_latents_and_step_together_changes_nothing():
    one, axes = latents(), (MEANS, ["codec", "window-3", "element"])
    scaled = Latents("a", 7 * one.y, 7 * one.mean, 7 * one.scale)
    entry = {"args": {"step": 7.0}}
    a = evaluate(one, *axes, QUANTIZERS)
    b = evaluate(scaled, *axes, {"rounding": entry, "test-channel": entry})
    np.testing.assert_allclose(a["bits"], b["bits"], rtol=1e-9)
    np.testing.assert_allclose(49 * a["distortion"], b["distortion"], rtol=1e-9)


def test_tiny_and_silent_latents_are_coded_for_nothing():
    zero = torch.zeros((2, 4, 4))
    silent = Latents("a", zero, zero, zero + 0.11)
    bits = evaluate(silent, ["codec"], ["codec", "window-3", "element"], ["rounding"])["bits"]
    assert (bits < 1e-3).all()
    small = Latents(
        "a", zero + 0.01, zero, zero + 0.11
    )  # rounding sends nothing: nor need the channel
    bits = evaluate(small, ["codec"], ["element"], QUANTIZERS)["bits"]
    assert bits.sel(quantizer="test-channel").item() == pytest.approx(
        32, abs=1e-3
    )  # the level itself


def test_latents_that_rounding_hits_exactly_have_a_finite_rate():
    """At distortion 0 a divergence is infinite: the level stops at 1e-9."""
    whole = latents().y.round()
    one = Latents("a", whole, torch.zeros_like(whole), torch.ones_like(whole))
    cube = evaluate(one, ["codec"], ["codec", "channel", "element"], QUANTIZERS).squeeze()
    assert np.isfinite(cube["bits"]).all()
    assert (cube["distortion"].sel(quantizer="rounding") == 0).all()
    channel = cube["distortion"].sel(quantizer="test-channel") / whole.numel()
    assert (channel < 1.001e-9).all()


@pytest.mark.parametrize("size", [0.0, 1e-6])
def test_where_sending_nothing_distorts_less_nothing_is_sent(size):
    y = torch.full((2, 8, 8), size).double()
    one = Latents("a", y, 0 * y, 1 + 0 * y)
    cube = evaluate(one, ["codec"], ["element", "window-3"], ["test-channel"])
    assert (cube["level"] == math.inf).all()
    assert cube["bits"].values.ravel() == pytest.approx([32, 32], abs=1e-3)
    assert cube["distortion"].values.ravel() == pytest.approx(128 * size**2)


def test_memory_layout_does_not_matter():
    one = latents(shape=(4, 6, 8))
    strided = lambda t: t.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    other = Latents("a", *(strided(t) for t in (one.y, one.mean, one.scale)))
    assert not other.y.is_contiguous()
    axes = (MEANS, ["codec", "causal-window", "block-4"], [*QUANTIZERS, "lattice-e8"])
    xr.testing.assert_identical(evaluate(one, *axes), evaluate(other, *axes))


def test_a_scale_of_zero_means_no_doubt():
    """Elements that are as predicted cost nothing; another one escapes."""
    y = torch.zeros((1, 4, 4)).double()
    bits = []
    for value in (0.0, 3.0):
        y[0, 1, 1] = value
        one = Latents("a", y, 0 * y, 0 * y)
        bits.append(evaluate(one, ["codec"], ["codec"], ["rounding"])["bits"].item())
    assert bits[0] < 1e-4 and 20 < bits[1] < 60


def test_a_level_is_not_solved_for_nonsense():
    with pytest.raises(FloatingPointError, match="distortion nan at level 1"):
        solve_level(lambda level: math.nan, 1.0, 1.0)


def test_the_error_of_a_genie_mean_is_not_the_noise_of_the_channel():
    """Stated distortion is what y_hat has: at 90 % accuracy they would differ by a fifth."""
    y = 3 * torch.randn((4, 200, 200), generator=torch.Generator().manual_seed(2)).double()
    one = Latents("a", y, 0 * y, torch.full_like(y, 3))
    corner = {"mean": "accuracy-90", "variance": "channel", "quantizer": "test-channel"}
    cell = Cell.from_spec({f"{axis}s": {name: {}} for axis, name in corner.items()}, {}, corner)
    sent = cell.send(cell.prepare(one, noise_key(0, "a")), 0.5)
    assert (sent.y_hat - y).square().sum().item() == pytest.approx(sent.distortion, rel=0.01)


@pytest.mark.parametrize("target", [1e-6, 0.3, 1.0, 7.0])
def test_solve_level_finds_the_level(target):
    assert solve_level(lambda level: level**2, target, 1.0) == pytest.approx(
        math.sqrt(target), rel=1e-10
    )


@pytest.mark.parametrize(
    "means, variances, match",
    [
        (["codek"], ["codec"], "unknown mean 'codek'; did you mean 'codec'"),
        (["codec"], ["windw-3"], "unknown variance 'windw-3'"),
        (["codec"], ["window-4"], "odd whole numbers"),
        (["codec"], {"element": {"args": {"size": 3}}}, "variance 'element'.*it takes"),
    ],
)
def test_unknown_names_are_refused(means, variances, match):
    with pytest.raises(InputError, match=match):
        evaluate(latents(), means, variances, QUANTIZERS)


def test_unknown_matching_is_refused():
    with pytest.raises(InputError, match="unknown matching 'pixel'.*dataset, image"):
        evaluate(latents(), *AXES, matching="pixel")


class Half:
    """A mean as a user writes one: no base class, float32."""

    information = "decodable"

    def __call__(self, latents):
        return (latents.mean / 2).float()


class Nothing:
    """Does not say what it knows."""


def test_an_estimator_of_ones_own_needs_little():
    cube = evaluate(latents(), {"half": {"use": f"{__name__}:Half"}}, ["channel"], QUANTIZERS)
    assert np.isfinite(cube["bits"]).all() and cube["side_counted"].all()
    with pytest.raises(InputError, match="mean 'n' must have an attribute 'information'"):
        evaluate(latents(), {"n": {"use": f"{__name__}:Nothing"}}, ["channel"], QUANTIZERS)


def test_a_codec_in_single_precision_has_every_mean():
    single = {
        key: value.float() for key, value in vars(latents()).items() if torch.is_tensor(value)
    }
    one = Latents("a", **single, hyper=single["mean"])
    bits = evaluate(one, ["hyper", "codec"], ["causal-window"], ["rounding"])["bits"].squeeze()
    assert bits[0] == bits[1]


@pytest.mark.parametrize("matching", ["image", "dataset"])
def test_memory_does_not_grow_with_the_number_of_images(matching):
    """Of the latents as given, the one at work is alive, and the one that is just being read."""
    alive, most = weakref.WeakSet(), []

    class Files:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            if index >= 6:
                raise IndexError(index)
            one = latents(str(index), seed=index)
            alive.add(one)
            most.append(len(alive))
            return one

    cube = evaluate(Files(), ["codec"], ["codec", "window-3"], QUANTIZERS, matching)
    assert max(most) <= 2 and len(most) >= 6
    known = evaluate([latents(str(i), seed=i) for i in range(6)], ["codec"], ["codec", "window-3"],
                     QUANTIZERS, matching)  # fmt: skip
    xr.testing.assert_identical(cube, known)
