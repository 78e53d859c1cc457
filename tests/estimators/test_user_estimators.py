"""User-defined means and variances: each mistake is one clear error, when it is built or called."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian_latents import make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.estimators.base import CausalEstimator, FittedEstimator, Mean, Variance
from rdpipe.estimators.transmitted import ChannelVariance
from rdpipe.estimators.user_estimators import adapt_mean, adapt_variance
from rdpipe.evaluation import evaluate

LATENTS = make_latents(normal((2, 6, 5)), mean=0.5)
RETURN = {"value": lambda latents: latents.mean}


@dataclass(frozen=True)
class Frozen:
    """A mean as a frozen dataclass, whose attributes cannot be set from outside."""

    factor: float = 0.5
    information: str = "decodable"

    def __call__(self, latents):
        return self.factor * latents.mean


@dataclass(frozen=True)
class FrozenVariance(Variance):
    """A variance as a frozen dataclass with a base class."""

    factor: float = 2.0
    information: str = "decodable"

    def __call__(self, latents, residual):
        return self.factor * latents.scale.square(), 0.0


class PlainMean:
    """A mean that returns what a test asks for."""

    information = "decodable"

    def __call__(self, latents):
        return RETURN["value"](latents)


class PlainVariance:
    """A variance that returns what a test asks for."""

    information = "decodable"

    def __call__(self, latents, residual):
        return RETURN["value"](residual)


class DerivedVariance(PlainVariance, Variance):
    """The same with a base class."""


class DerivedMean(PlainMean, Mean):
    """The same mean with a base class."""


def use(axis, part):
    """Evaluate a cell with a part of this module on an axis."""
    entries = {"mean": ["codec"], "variance": ["codec"]}
    entries[axis] = {"mine": {"use": f"{__name__}:{part.__name__}"}}
    return evaluate(LATENTS, entries["mean"], entries["variance"], ["rounding", "test-channel"])


def test_frozen_dataclasses_work():
    array = use("mean", Frozen)
    assert np.isfinite(array["bits"]).all()
    assert set(array["kind"].values.ravel()) == {"achievable", "upper bound on R(D)"}
    assert np.isfinite(use("variance", FrozenVariance)["bits"]).all()


@pytest.mark.parametrize("axis, adapt", [("mean", adapt_mean), ("variance", adapt_variance)])
@pytest.mark.parametrize("information", ["Genie", "oracle", "", None, 3])
def test_unknown_information_is_refused_when_the_estimator_is_built(axis, adapt, information):
    """A misspelled genie would otherwise be labelled achievable."""
    bases = {"mean": (DerivedMean, PlainMean), "variance": (DerivedVariance, PlainVariance)}
    for base in bases[axis]:
        part = type("Part", (base,), {"information": information})()
        message = f"{axis} 'm': {information!r} is not a valid information; expected one of: "
        with pytest.raises(InputError, match=f"{message}'decodable', 'genie'"):
            adapt("m", part)


@pytest.mark.parametrize(
    "information, kind", [("decodable", "achievable"), ("genie", "genie-aided")]
)
def test_valid_information_becomes_the_kind_of_the_cell(monkeypatch, information, kind):
    for part in (PlainMean, DerivedMean):
        monkeypatch.setattr(PlainMean, "information", information)
        label = use("mean", part)["kind"].sel(quantizer="rounding").item()
        assert label.startswith(kind)


class CausalWithoutRadius(PlainMean, Mean, CausalEstimator):
    def predict(self, context, initial, channels, positions):
        return initial


class CausalWithOtherParameters(CausalWithoutRadius):
    radius = 1

    def predict(self, context, initial):
        return initial


class ClaimsToBeCausal(PlainMean):
    causal = True


class ClaimsToBeFitted(PlainMean):
    fitted = True


class DerivedButClaimsToBeCausal(PlainMean, Mean):
    causal = True


class HasAFit(PlainMean):
    def fit(self, images): ...


class CausalWithoutMean(PlainMean, CausalEstimator):
    radius = 1

    def predict(self, context, initial, channels, positions):
        return initial


class FittedWithoutMean(PlainMean, FittedEstimator):
    def fit(self, images, means=None): ...

    def state(self): ...

    def load_state(self, state): ...


class NotCallable:
    information = "decodable"


class MeanWithOtherParameters:
    information = "decodable"

    def __call__(self, latents, residual): ...


@pytest.mark.parametrize(
    "part, message",
    [
        (CausalWithoutRadius, "mean 'm' is causal and has radius None; expected 1, 2, 3, ..."),
        (CausalWithOtherParameters, r"has predict\(context, initial\); expected predict\("),
        (ClaimsToBeCausal, "is causal, .*; expected a subclass of Mean and CausalEstimator"),
        (ClaimsToBeFitted, "is fitted, .*; expected a subclass of Mean and FittedEstimator"),
        (DerivedButClaimsToBeCausal, "is causal, .*; expected a subclass of Mean and CausalEst"),
        (HasAFit, "is fitted, .*; expected a subclass of Mean and FittedEstimator"),
        (CausalWithoutMean, "is causal, .*; expected a subclass of Mean and CausalEstimator"),
        (FittedWithoutMean, "is fitted, .*; expected a subclass of Mean and FittedEstimator"),
        (NotCallable, r"mean 'm' has no method '__call__'; expected __call__\(latents\)"),
        (
            MeanWithOtherParameters,
            r"has __call__\(latents, residual\); expected __call__\(latents\)",
        ),
    ],
)
def test_mistakes_in_a_mean_are_found_when_it_is_built(part, message):
    with pytest.raises(InputError, match=message):
        adapt_mean("m", part())


@pytest.mark.parametrize("radius", [0, -1, 1.5, "2"])
def test_radius_must_be_a_positive_integer(radius):
    part = type("Part", (CausalWithoutRadius,), {"radius": radius})()
    with pytest.raises(InputError, match=f"has radius {radius!r}; expected 1, 2, 3, ..."):
        adapt_mean("m", part)


def test_class_instead_of_an_instance_is_refused():
    with pytest.raises(InputError, match="mean 'm' is the class Frozen; expected an instance"):
        adapt_mean("m", Frozen)


def test_estimator_of_another_axis_is_refused():
    with pytest.raises(InputError, match=r"expected __call__\(latents\)"):
        adapt_mean("m", ChannelVariance())


def test_transmitter_must_write_and_read():
    part = PlainVariance()
    part.transmitter = SimpleNamespace(index=None)
    with pytest.raises(
        InputError, match="variance 'v' has the transmitter SimpleNamespace; expected"
    ):
        adapt_variance("v", part)
    part.transmitter = ChannelVariance()
    assert adapt_variance("v", part).transmitter is part.transmitter


@pytest.mark.parametrize("part", [PlainMean, DerivedMean])
@pytest.mark.parametrize(
    "value, message",
    [
        (lambda latents: latents.mean[:1], r"a tensor of shape \(1, 6, 5\); expected \(2, 6, 5\)"),
        (lambda latents: latents.mean.long(), "a tensor of torch.int64; expected a floating-point"),
        (lambda latents: latents.mean.numpy(), "a ndarray; expected a torch.Tensor"),
        (lambda latents: None, "a NoneType; expected a torch.Tensor"),
        (lambda latents: latents.mean * torch.nan, "numbers that are not finite"),
    ],
)
def test_invalid_mean_is_refused_when_it_is_first_called(monkeypatch, part, value, message):
    monkeypatch.setitem(RETURN, "value", value)
    with pytest.raises(InputError, match=f"mean 'mine' returned {message}"):
        use("mean", part)


def negative(residual):
    variance = residual.square()
    variance[1, 2, 3] = -0.25
    return variance, 0.0


@pytest.mark.parametrize("part", [PlainVariance, DerivedVariance])
@pytest.mark.parametrize(
    "value, message",
    [
        (lambda r: (r.square()[:1], 0), r"a tensor of shape \(1, 6, 5\); expected \(2, 6, 5\)"),
        (lambda r: (r.square().long(), 0), "a tensor of torch.int64; expected a floating-point"),
        (negative, "-0.25; expected finite numbers >= 0"),
        (lambda r: (r * torch.nan, 0), "nan; expected finite numbers >= 0"),
        (lambda r: (r.square() / 0, 0), "inf; expected finite numbers >= 0"),
        (lambda r: r.square(), r"a Tensor; expected a tuple \(variance, bits\)"),
        (lambda r: (r.square(), -8), "-8 bits; expected a finite number >= 0"),
        (lambda r: (r.square(), torch.nan), "nan bits; expected a finite number >= 0"),
        (lambda r: (r.square(), r), "a Tensor as bits; expected a number"),
        (lambda r: (r.square(), None), "a NoneType as bits; expected a number"),
    ],
)
def test_invalid_variance_is_refused_when_it_is_first_called(monkeypatch, part, value, message):
    """In particular, negative and NaN variances never become numbers."""
    monkeypatch.setitem(RETURN, "value", value)
    with pytest.raises(InputError, match=f"variance 'mine' returned {message}"):
        use("variance", part)


@pytest.mark.parametrize(
    "value",
    [
        lambda r: (torch.ones_like(r).float(), 0),
        lambda r: (torch.ones_like(r).requires_grad_(), torch.tensor(0.0)),
        lambda r: (torch.ones_like(r[:, :1, :1]).expand_as(r), np.float32(0)),
    ],
)
def test_variances_of_other_types_are_accepted(monkeypatch, value):
    monkeypatch.setitem(RETURN, "value", value)
    assert np.isfinite(use("variance", PlainVariance)["bits"]).all()


@pytest.mark.parametrize(
    "axis, part, name, value",
    [
        ("mean", PlainMean, "mean", lambda latents: latents.mean.mul_(0.5)),
        ("variance", PlainVariance, "residual", lambda r: (r.square_(), 0.0)),
    ],
)
def test_change_of_the_input_in_place_is_refused(monkeypatch, axis, part, name, value):
    """The input is shared with other cells, which would silently get other numbers."""
    monkeypatch.setitem(RETURN, "value", value)
    with pytest.raises(InputError, match=f"{axis} 'mine' changed {name} in place"):
        use(axis, part)


class CausalVariance(PlainVariance, Variance, CausalEstimator):
    """A causal variance with a base class works."""

    radius = 1

    def predict(self, context, initial, channels, positions):
        return initial


def test_causal_variance_is_used(monkeypatch):
    monkeypatch.setitem(RETURN, "value", lambda r: (torch.ones_like(r), 0.0))
    causal, plain = (use("variance", part)["bits"] for part in (CausalVariance, PlainVariance))
    np.testing.assert_allclose(causal, plain, rtol=1e-6)


class PeekingMean:
    """Claims to be decodable, but uses the latents."""

    information = "decodable"

    def __call__(self, latents):
        return 0.5 * latents.y


class PeekingVariance:
    """Claims to be decodable and to transmit nothing, but uses the residuals."""

    information = "decodable"

    def __call__(self, latents, residual):
        return residual.square().mean((1, 2), keepdim=True).expand(residual.shape), 0


class RandomMean:
    """Cannot be reproduced by a decoder."""

    information = "decodable"

    def __call__(self, latents):
        return latents.mean + torch.rand_like(latents.mean)


@pytest.mark.parametrize(
    "section, name",
    [("mean", "PeekingMean"), ("mean", "RandomMean"), ("variance", "PeekingVariance")],
)
def test_a_genie_that_claims_to_be_decodable_is_refused(section, name):
    user = {name: {"use": f"{__name__}:{name}"}}
    means = user if section == "mean" else ["codec"]
    variances = user if section == "variance" else ["codec"]
    with pytest.raises(InputError, match=f"{section} '{name}' depends on the latents .*'genie'"):
        evaluate(LATENTS, means, variances, ["rounding"])
