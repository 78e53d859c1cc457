"""One cell: its labels, what it prepares and shares, and the output of its quantizer."""

from dataclasses import dataclass, replace

import pytest
import torch
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.core.axes import AXES, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind
from rdpipe.core.latents import Latents
from rdpipe.core.rng import noise_key
from rdpipe.entropy.priors import Gaussian
from rdpipe.estimators.means import CodecMean, HyperMean, ZeroMean
from rdpipe.estimators.variances import (
    CalibratedVariance,
    CodecVariance,
    ElementVariance,
)
from rdpipe.evaluation.cell import Cell, CellCache, build_part
from rdpipe.evaluation.cell_walk import CellOfLatent, CellWalk
from rdpipe.quantizers.base import Quantizer, QuantizerOutput
from rdpipe.quantizers.scalar import OwnPriorRounding, Rounding
from rdpipe.quantizers.test_channel import TestChannel


def cell_named(cell_id, fits=None):
    """Return the cell of registered estimators."""
    entries = {axis.section: {cell_id.selector()[axis.name]: {}} for axis in AXES}
    return Cell.from_entries(cell_id, entries, fits or {})


@pytest.mark.parametrize(
    "quantizer", ["rounding", "deadzone", "lattice-e8", "trellis", "test-channel"]
)
@pytest.mark.parametrize("variance", ["codec", "causal-window"])
def test_bits_of_the_elements_add_up_to_the_bits_of_the_image(quantizer, variance):
    scale = torch.exp(normal((5, 6, 7)))
    r = scale * normal((5, 6, 7), 1)
    cell = cell_named(CellId("codec", variance, quantizer))
    prepared = cell.prepare(Latents("a", r, torch.zeros_like(r), scale))
    output = cell.code(prepared, 1.0 if quantizer != "test-channel" else 0.1)
    assert output.element_bits.shape == r.shape
    total = output.element_bits.sum() + prepared.transmitted_bits
    assert total == pytest.approx(output.bits, rel=1e-12)


def test_error_of_a_genie_mean_is_independent_of_the_noise_of_the_channel():
    """The stated distortion is that of y_hat; if it were dependent, these would differ."""
    y = 3 * torch.randn((4, 200, 200), generator=torch.Generator().manual_seed(2)).double()
    image = Latents("a", y, 0 * y, torch.full_like(y, 3))
    cell = cell_named(CellId("accuracy-90", "channel", "test-channel"))
    output = cell.code(cell.prepare(image, noise_key(0, "a")), 0.5)
    assert (output.y_hat - y).square().sum().item() == pytest.approx(output.distortion, rel=0.01)


class SameRounding(Rounding):
    """Rounding under another name."""


class OwnCode(Rounding):
    """Rounding with another code length."""

    def rate(self, k, v, step, noise):
        return super().rate(k, v, step, noise) + 1


class Shrunk(Rounding):
    """Rounding with other reconstruction points."""

    def point(self, k, v, step, noise):
        return 0.9 * k * step


class SameMean(CodecMean):
    """The codec's mean under another name."""


class OtherMean(CodecMean):
    """Another mean."""

    def __call__(self, latents):
        return 0.9 * latents.mean


@pytest.mark.parametrize(
    "mean, quantizer, kind",
    [
        (CodecMean(), Rounding(), BoundKind.ACHIEVABLE),
        (CodecMean(), SameRounding(), BoundKind.ACHIEVABLE),
        (CodecMean(), OwnCode(), BoundKind.ACHIEVABLE),
        (CodecMean(), OwnPriorRounding(), BoundKind.ACHIEVABLE),
        (SameMean(), Rounding(), BoundKind.ACHIEVABLE),
        (CodecMean(), Shrunk(), BoundKind.GENIE_AIDED),
        (CodecMean(), Rounding(2.0), BoundKind.GENIE_AIDED),
        (CodecMean(), TestChannel(), BoundKind.GENIE_AIDED),
        (OtherMean(), Rounding(), BoundKind.GENIE_AIDED),
        (HyperMean(), Rounding(), BoundKind.GENIE_AIDED),  # the variance comes from the context
    ],
)
def test_cell_under_a_context_model_is_decodable_if_it_has_the_past_of_the_codec(
    mean, quantizer, kind
):
    """Only a subclass that changes y_hat has another past."""
    cell = make_cell(mean, CodecVariance(), quantizer, context=True)
    assert cell.kind is kind
    assert cell.has_codec_past == (kind is BoundKind.ACHIEVABLE)
    assert make_cell(mean, CodecVariance(), quantizer).kind is not BoundKind.GENIE_AIDED


def test_unknown_information_of_a_subclass_is_refused_by_the_cell():
    """A misspelled label must never pass as decodable."""

    class Oracle(ElementVariance):
        information = "oracle"

    with pytest.raises(InputError, match="'oracle' is not a valid information"):
        make_cell(CodecMean(), Oracle(), Rounding())


def make_calibrated():
    """Return a fitted variance that is hidden behind a function."""
    return CalibratedVariance()


def test_fitted_estimator_behind_a_function_is_refused():
    """The workflow runs a fit for the classes in the config only."""
    with pytest.raises(InputError, match="variance 'c' must be fitted first.*not a function"):
        build_part("variance", "c", {"use": f"{__name__}:make_calibrated"}, {})


def test_walk_codes_what_the_codec_visits():
    """In any order, with the mean and scale that the codec states."""
    y = 3 * normal((2, 3, 4), 1)
    image = replace(make_latents(y, scale=3.0), mean=normal((2, 3, 4), 2))
    cell = make_cell(CodecMean(), CodecVariance(), TestChannel())
    expected = cell.code(cell.prepare(image, 5), 0.3)
    walk, walked = CellWalk({"y": CellOfLatent(cell, 0.3, 5, y.shape)}), torch.zeros(1, *y.shape)
    odd = torch.arange(12).view(3, 4) % 2 == 1
    for channel in (1, 0):
        for positions in (odd, ~odd):
            at = positions & (torch.arange(2) == channel)[:, None, None]
            prior = Gaussian(image.mean[None], image.scale[None])
            walked = walked + walk("y", prior, y[None], at=at[None])
    torch.testing.assert_close(walked[0], expected.y_hat, rtol=1e-12, atol=1e-12)
    assert walk.bits == pytest.approx(expected.bits, rel=1e-12)


def test_own_prior_gives_the_bits_and_has_none_for_another_mean():
    y = 3 * normal((2, 3, 4), 1)
    own_bits = torch.arange(24.0).view(2, 3, 4)
    image = replace(make_latents(y), own_bits=own_bits)
    cell = make_cell(CodecMean(), CodecVariance(), OwnPriorRounding())
    assert cell.code(cell.prepare(image), 1.0).bits == own_bits.sum()
    cell = make_cell(ZeroMean(), CodecVariance(), OwnPriorRounding())
    output = cell.code(cell.prepare(image), 1.0)
    assert output.bits != output.bits and output.distortion > 0


@dataclass(frozen=True)
class Scaled(CodecMean):
    """A mean that compares by its fields, one of which is a tensor."""

    factor: torch.Tensor

    def __call__(self, latents):
        return self.factor * latents.mean


def test_cache_compares_estimators_by_identity():
    y = normal((2, 3, 4))
    image = make_latents(y, mean=1.0)
    cache = CellCache()
    for factor in (0.5, 2.0):
        mean = Scaled(torch.full((2, 1, 1), factor).double())
        cell = make_cell(mean, CodecVariance(), Rounding())
        prepared = cell.prepare(image, cache=cache)
        assert (prepared.initial_mean == factor).all()
        assert cell.prepare(image, cache=cache).initial_mean is prepared.initial_mean


def test_cache_keeps_what_depends_on_equal_steps():
    cache, calls = CellCache(), []
    for step in (1.0, float("1.0"), 2.0):
        cache.get("a", (step,), lambda: calls.append(0))
    assert len(calls) == 2


def test_latents_that_are_not_finite_are_refused():
    cell = make_cell(ZeroMean(), CodecVariance(), Rounding())
    y = normal((1, 2, 2))
    y[0, 1, 1] = torch.nan
    with pytest.raises(InputError, match="the latents of image 'a' are not finite"):
        cell.prepare(make_latents(y))


class Broken(Quantizer):
    """A quantizer that returns what a test asks for."""

    information = "decodable"
    level = 1.0
    step = 1.0

    def __init__(self, **parts):
        self.parts = parts

    def code(self, r, v, level, noise=None):
        parts = {"bits": r.abs(), "distortion": r.square(), "residual": 0 * r}
        return QuantizerOutput(**{**parts, **{k: f(r) for k, f in self.parts.items()}})


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"bits": lambda r: r * torch.nan}, r"\(bits\) returned numbers that are not finite"),
        ({"bits": lambda r: r + torch.inf}, r"\(bits\) returned numbers that are not finite"),
        (
            {"bits": lambda r: r.sum()},
            r"\(bits\) returned a tensor of shape \(\); expected \(2, 6\)",
        ),
        ({"distortion": lambda r: r[:, :1]}, r"\(distortion\) returned a tensor of shape \(2, 1\)"),
        ({"distortion": lambda r: -r.square()}, "returned negative distortion"),
        ({"residual": lambda r: r[0]}, r"\(residual\) returned a tensor of shape \(6,\)"),
        ({"residual": lambda r: r / 0}, r"\(residual\) returned numbers that are not finite"),
    ],
)
def test_invalid_output_of_a_quantizer_is_refused(parts, message):
    cell = make_cell(ZeroMean(), CodecVariance(), Broken(**parts))
    with pytest.raises(InputError, match=f"quantizer 'quantizer' {message}"):
        cell.code(cell.prepare(make_latents(normal((2, 2, 3)))), 1.0)
