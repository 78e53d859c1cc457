"""The labelled array: its labels, its invariances, and cases with known answers."""

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from rdpipe.core.axes import AXES
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.evaluation import evaluate

MEANS, VARIANCES = ["zero", "codec"], ["codec", "channel", "window-3", "window-5", "element"]
QUANTIZERS = ["rounding", "test-channel"]
NAMES = (MEANS, VARIANCES, QUANTIZERS)


def latents(name="a", shape=(4, 24, 20), seed=0, factor=1.0):
    """Return y = mean + scale * g with known mean and scale; ``factor`` misstates the scale."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(shape, generator=generator, dtype=torch.float64)
    mean, scale = 2 * draw(), draw().exp()
    return Latents(name, mean + scale * draw(), mean, factor * scale)


def test_dimensions_labels_and_kinds():
    array = evaluate(latents(), *NAMES)
    for name in ("bits", "distortion"):
        assert array[name].dims == ("image", *(axis.name for axis in AXES))
    information = dict(zip(VARIANCES, array["variance_information"].values, strict=True))
    assert information == {
        "codec": "decodable",
        "channel": "decodable",
        "window-3": "genie",
        "window-5": "genie",
        "element": "genie",
    }
    kinds = array["kind"].sel(mean="codec")
    assert kinds.sel(variance="codec", quantizer="rounding") == "achievable"
    assert kinds.sel(variance="channel", quantizer="test-channel") == "upper bound on R(D)"
    assert kinds.sel(variance="window-3", quantizer="rounding") == "genie-aided estimate"


def test_units_and_kinds_of_levels():
    array = evaluate(latents(), *NAMES)
    assert array["level_kind"].values.tolist() == ["step", "theta"]
    assert array["level"].attrs["units"] == "theta: squared latent units; step: latent units"
    assert array["distortion"].attrs["units"] == "squared latent units"


def test_prediction_of_a_context_model_is_genie_aided_after_any_other_past():
    """It was predicted from the codec's own rounded latents."""
    image = latents()
    image = replace(image, hyper=0 * image.mean)
    quantizers = {
        "rounding": {},
        "coarse": {"use": "rounding", "args": {"step": 2.0}},
        "test-channel": {},
    }
    kinds = evaluate(image, ["codec", "hyper", "zero"], ["codec", "channel"], quantizers)["kind"]
    assert set(kinds.sel(mean="codec", quantizer="rounding").values) == {"achievable"}
    assert set(kinds.sel(mean="codec", quantizer=["coarse", "test-channel"]).values.ravel()) == {
        "genie-aided estimate"
    }
    for name in ("hyper", "zero"):
        assert set(kinds.sel(mean=name, variance="codec").values) == {"genie-aided estimate"}
        labels = kinds.sel(mean=name, variance="channel").values.tolist()
        assert labels == ["achievable", "achievable", "upper bound on R(D)"]


SIDE_IS_USED = {
    "zero": {"codec": True, "channel": False, "element": False, "relative-window-3": True},
    "codec": {"codec": True, "channel": True, "element": True, "relative-window-3": True},
    "accuracy-90": {"codec": True, "channel": False, "element": False, "relative-window-3": True},
}
"""Means, and variances given each mean, that need the codec's side information."""


def test_side_information_is_included_if_the_mean_or_the_variance_uses_it():
    """In a genie's cell, too: all cells with ``accuracy-90``, ``element`` or a window are one's."""
    array = evaluate(latents(), SIDE_IS_USED.keys(), SIDE_IS_USED["zero"].keys(), QUANTIZERS)
    for mean, of_variance in SIDE_IS_USED.items():
        for variance, is_used in of_variance.items():
            assert (array["includes_side"].sel(mean=mean, variance=variance) == is_used).all()


def test_side_information_is_included_if_the_image_needs_it():
    image = replace(latents(), image_needs_side=True)
    array = evaluate(image, ["zero", "accuracy-90"], ["channel", "element"], QUANTIZERS)
    assert array["includes_side"].all()


def test_side_information_is_included_in_a_genies_context():
    """The stored prior of another past is a genie's, and is still computed from it."""
    image = replace(latents(), hyper=latents().scale)
    cell = evaluate(image, ["codec"], ["codec"], ["test-channel"]).squeeze()
    assert cell["kind"] == "genie-aided estimate" and cell["includes_side"]


@pytest.mark.parametrize("matching", ["image", "dataset"])
def test_both_quantizers_have_the_same_distortion(matching):
    array = evaluate([latents("a"), latents("b", seed=1)], *NAMES, matching=matching)
    distortion = array["distortion"] if matching == "image" else array["distortion"].sum("image")
    np.testing.assert_allclose(
        distortion.sel(quantizer="test-channel"), distortion.sel(quantizer="rounding"), rtol=1e-9
    )


def test_gap_of_a_known_variance_matches_the_table():
    """Known answer: 0.2695 bit for an iid Gaussian with sigma = 2."""
    g = torch.randn((1, 1000, 1000), generator=torch.Generator().manual_seed(3)).double()
    image = Latents("a", 2 * g, torch.zeros_like(g), torch.full_like(g, 2))
    bits = evaluate(image, ["codec"], ["codec"], QUANTIZERS)["bits"].squeeze() / g.numel()
    gap = bits.sel(quantizer="rounding") - bits.sel(quantizer="test-channel")
    assert gap == pytest.approx(0.2695, abs=2e-3)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2])
def test_cost_of_a_misstated_scale_matches_the_formula(factor):
    """Known answer at high rate: (c^-2 - 1)/(2 ln 2) + log2 c per element."""
    g = torch.randn((1, 500, 500), generator=torch.Generator().manual_seed(4)).double()
    true, wrong = (Latents("a", 200 * g, 0 * g, torch.full_like(g, 200 * c)) for c in (1, factor))
    bits = [
        evaluate(image, ["codec"], ["codec"], ["rounding"])["bits"].item()
        for image in (true, wrong)
    ]
    # the sample's own second moment stands for the true variance
    ratio = g.square().mean().item()
    expected = ratio * (factor**-2 - 1) / (2 * math.log(2)) + math.log2(factor)
    assert (bits[1] - bits[0]) / g.numel() == pytest.approx(expected, abs=1e-3)


def test_savings_of_an_accurate_mean_match_the_formula():
    """Known answer at high rate: 1/2 log2(E y^2 / E r^2) = -1/2 log2(1 - rho^2)."""
    g = torch.randn((1, 400, 400), generator=torch.Generator().manual_seed(5)).double()
    image = Latents("a", 50 * g, 0 * g, torch.full_like(g, 50))
    array = evaluate(image, ["zero", "accuracy-90"], ["channel"], ["rounding"])
    bits = array["bits"].squeeze()
    saved = (bits.sel(mean="zero") - bits.sel(mean="accuracy-90")).item() / g.numel()
    assert saved == pytest.approx(-0.5 * math.log2(1 - 0.9**2), abs=0.01)


def test_smaller_windows_need_fewer_bits():
    bits = evaluate(latents(), ["codec"], ["window-5", "window-3", "element"], QUANTIZERS)["bits"]
    assert (bits.diff("variance") < 0).all()


def test_order_and_number_of_images_do_not_matter():
    images = [latents(name, (3, 8 + i, 9), seed=i) for i, name in enumerate("abc")]
    together = evaluate(images, [*MEANS, "accuracy-50"], VARIANCES, QUANTIZERS)
    backwards = evaluate(images[::-1], [*MEANS, "accuracy-50"], VARIANCES, QUANTIZERS)
    for image in images:
        alone = evaluate(image, [*MEANS, "accuracy-50"], VARIANCES, QUANTIZERS)
        for array in (together, backwards):
            bits = array["bits"].sel(image=image.name)
            assert (bits == alone["bits"].sel(image=image.name)).all()


def test_permuting_the_elements_changes_nothing():
    image = latents()
    order = torch.randperm(24 * 20, generator=torch.Generator().manual_seed(1))
    shuffle = lambda t: t.flatten(1)[:, order].view_as(t)
    permuted = Latents("a", *(shuffle(t) for t in (image.y, image.mean, image.scale)))
    names = (MEANS, ["codec", "channel", "element"], QUANTIZERS)
    np.testing.assert_allclose(
        evaluate(image, *names)["bits"], evaluate(permuted, *names)["bits"], rtol=1e-10
    )


def test_bits_add_up_over_elements():
    """Two halves of an image have the bits of the whole image at the same level."""
    image = latents(shape=(4, 24, 20))
    halves = [
        Latents("a", *(t[:, rows] for t in (image.y, image.mean, image.scale)))
        for rows in (slice(0, 12), slice(12, 24))
    ]
    names = (["codec"], ["codec", "element"], QUANTIZERS)
    parts, whole = (
        evaluate(images, *names, matching="dataset")["bits"].sum("image")
        for images in (halves, image)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-9)


def test_level_that_is_solved_for_each_image_costs_32_bits():
    bits = [
        evaluate(latents(), ["codec"], ["codec"], QUANTIZERS, matching=matching)["bits"].squeeze()
        for matching in ("image", "dataset")
    ]
    np.testing.assert_allclose(bits[0] - bits[1], [0, 32], atol=1e-9)


def test_scaling_latents_and_step_together_changes_nothing():
    image, names = latents(), (MEANS, ["codec", "window-3", "element"])
    scaled = Latents("a", 7 * image.y, 7 * image.mean, 7 * image.scale)
    entry = {"args": {"step": 7.0}}
    a = evaluate(image, *names, QUANTIZERS)
    b = evaluate(scaled, *names, {"rounding": entry, "test-channel": entry})
    np.testing.assert_allclose(a["bits"], b["bits"], rtol=1e-9)
    np.testing.assert_allclose(49 * a["distortion"], b["distortion"], rtol=1e-9)


def test_tiny_and_zero_latents_need_no_bits():
    zero = torch.zeros((2, 4, 4))
    silent = Latents("a", zero, zero, zero + 0.11)
    bits = evaluate(silent, ["codec"], ["codec", "window-3", "element"], ["rounding"])["bits"]
    assert (bits < 1e-3).all()
    # rounding sends nothing, so the channel need not send anything
    small = Latents("a", zero + 0.01, zero, zero + 0.11)
    bits = evaluate(small, ["codec"], ["element"], QUANTIZERS)["bits"]
    level_bits = bits.sel(quantizer="test-channel").item()
    assert level_bits == pytest.approx(32, abs=1e-3)


def test_latents_without_rounding_error_have_a_finite_rate():
    """At distortion 0 a divergence is infinite: the level stops at 1e-9."""
    integers = latents().y.round()
    image = Latents("a", integers, torch.zeros_like(integers), torch.ones_like(integers))
    array = evaluate(image, ["codec"], ["codec", "channel", "element"], QUANTIZERS).squeeze()
    assert np.isfinite(array["bits"]).all()
    assert (array["distortion"].sel(quantizer="rounding") == 0).all()
    channel = array["distortion"].sel(quantizer="test-channel") / integers.numel()
    assert (channel < 1.001e-9).all()


@pytest.mark.parametrize("size", [0.0, 1e-6])
def test_nothing_is_sent_if_the_distortion_is_below_the_target_anyway(size):
    y = torch.full((2, 8, 8), size).double()
    image = Latents("a", y, 0 * y, 1 + 0 * y)
    array = evaluate(image, ["codec"], ["element", "window-3"], ["test-channel"])
    assert (array["level"] == math.inf).all()
    assert array["bits"].values.ravel() == pytest.approx([32, 32], abs=1e-3)
    assert array["distortion"].values.ravel() == pytest.approx(128 * size**2)


def test_memory_layout_does_not_matter():
    image = latents(shape=(4, 6, 8))
    strided = lambda t: t.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    other = Latents("a", *(strided(t) for t in (image.y, image.mean, image.scale)))
    assert not other.y.is_contiguous()
    names = (MEANS, ["codec", "causal-window", "block-4"], [*QUANTIZERS, "lattice-e8"])
    xr.testing.assert_identical(evaluate(image, *names), evaluate(other, *names))


def test_scale_of_zero_is_certainty():
    """Elements that equal their mean need no bits; any other element escapes."""
    y = torch.zeros((1, 4, 4)).double()
    bits = []
    for value in (0.0, 3.0):
        y[0, 1, 1] = value
        image = Latents("a", y, 0 * y, 0 * y)
        bits.append(evaluate(image, ["codec"], ["codec"], ["rounding"])["bits"].item())
    assert bits[0] < 1e-4 and 20 < bits[1] < 60


@pytest.mark.parametrize(
    "means, variances, match",
    [
        (["codek"], ["codec"], "unknown mean 'codek'; did you mean 'codec'"),
        (["codec"], ["windw-3"], "unknown variance 'windw-3'"),
        (["codec"], ["window-4"], "window: size is 4; expected 1, 3, 5, ..."),
        (["codec"], {"element": {"args": {"size": 3}}}, "variance 'element'.*expected"),
    ],
)
def test_unknown_names_are_refused(means, variances, match):
    with pytest.raises(InputError, match=match):
        evaluate(latents(), means, variances, QUANTIZERS)


def test_unknown_matching_is_refused():
    with pytest.raises(InputError, match="unknown matching 'pixel'.*dataset, image"):
        evaluate(latents(), *NAMES, matching="pixel")


class Half:
    """A mean without a base class, in float32."""

    information = "decodable"

    def __call__(self, latents):
        return (latents.mean / 2).float()


class Nothing:
    """A mean without the attribute ``information``."""


def test_user_defined_mean_needs_only_information_and_a_call():
    means = {"half": {"use": f"{__name__}:Half"}}
    array = evaluate(latents(), means, ["channel"], QUANTIZERS)
    assert np.isfinite(array["bits"]).all() and array["includes_side"].all()
    message = "mean 'n' has no attribute 'information'; expected one of: 'decodable', 'genie'"
    with pytest.raises(InputError, match=message):
        evaluate(latents(), {"n": {"use": f"{__name__}:Nothing"}}, ["channel"], QUANTIZERS)


def test_fitted_estimator_without_a_state_is_refused():
    message = "variance 'calibrated' must be fitted first.*calibration"
    with pytest.raises(InputError, match=message):
        evaluate(latents(), ["zero"], ["calibrated"], ["rounding"])


def test_codec_in_single_precision_has_every_mean():
    single = {
        key: value.float() for key, value in vars(latents()).items() if torch.is_tensor(value)
    }
    image = Latents("a", **single, hyper=single["mean"])
    bits = evaluate(image, ["hyper", "codec"], ["causal-window"], ["rounding"])["bits"].squeeze()
    assert bits[0] == bits[1]


@pytest.mark.parametrize("matching", ["image", "dataset"])
def test_memory_does_not_grow_with_the_number_of_images(matching):
    """At most the image being evaluated and the image being read are in memory."""
    alive, counts = weakref.WeakSet(), []

    class Files:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            if index >= 6:
                raise IndexError(index)
            image = latents(str(index), seed=index)
            alive.add(image)
            counts.append(len(alive))
            return image

    names = (["codec"], ["codec", "window-3"], QUANTIZERS, matching)
    array = evaluate(Files(), *names)
    assert max(counts) <= 2 and len(counts) >= 6
    expected = evaluate([latents(str(i), seed=i) for i in range(6)], *names)
    xr.testing.assert_identical(array, expected)
