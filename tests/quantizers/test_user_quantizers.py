"""User-defined quantizers: each mistake is one clear error, when it is built or called."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian_latents import make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, LevelKind
from rdpipe.entropy.coder import Decoder, Encoder
from rdpipe.estimators.means import CodecMean
from rdpipe.estimators.variances import CodecVariance
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.claims import bound_kind
from rdpipe.quantizers.base import CodableQuantizer, Quantizer, QuantizerOutput
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel
from rdpipe.quantizers.user_quantizers import adapt_quantizer


class Plain:
    """A quantizer that codes as rounding does; tests change its attributes."""

    information = "decodable"
    level = 1.0

    def code(self, r, v, level, noise=None):
        return Rounding().code(r, v, level, noise)


class Realizable(Plain):
    """A quantizer that writes and reads as rounding does."""

    realizable = True

    def write(self, encoder, r, v, step, noise):
        return Rounding().write(encoder, r, v, step, noise)

    def read(self, decoder, v, step, noise):
        return Rounding().read(decoder, v, step, noise)


@dataclass(frozen=True)
class Frozen(Plain):
    """A quantizer whose attributes cannot be set from outside."""


class Solved(Plain):
    """The test channel as a plain class: the level is solved for."""

    level = None
    step = 1.0
    level_kind = "theta"

    def code(self, r, v, level, noise=None):
        return TestChannel().code(r, v, level, noise)


def use(part):
    """Evaluate rounding and a quantizer of this module."""
    entries = {"rounding": {}, "mine": {"use": f"{__name__}:{part.__name__}"}}
    return evaluate(make_latents(3 * normal((2, 6, 5)), scale=3.0), ["codec"], ["codec"], entries)


@pytest.mark.parametrize(
    "part, kind",
    [(Plain, "genie-aided estimate"), (Frozen, "genie-aided estimate"), (Realizable, "achievable")],
)
def test_plain_quantizer_is_genie_aided_unless_it_is_realizable(part, kind):
    array = use(part).squeeze()
    bits = array["bits"].values.tolist()
    assert bits[0] == bits[1]
    assert array["kind"].sel(quantizer="mine") == kind


def test_level_of_a_plain_quantizer_is_solved_for():
    array = use(Solved).squeeze()
    assert array["level_kind"].values.tolist() == ["step", "theta"]
    distortion = array["distortion"].values
    assert distortion[1] == pytest.approx(distortion[0], rel=1e-9)
    assert 0 < array["level"].sel(quantizer="mine") < 1


def test_user_defined_stream_is_written_and_read():
    quantizer = adapt_quantizer("q", Realizable())
    assert isinstance(quantizer, CodableQuantizer)
    r, v = normal((2, 9)), torch.ones(2, 9).double()
    encoder = Encoder()
    written = quantizer.write(encoder, r, v, 1.0)
    decoder = Decoder(encoder.to_bytes())
    assert torch.equal(quantizer.read(decoder, v, 1.0), written)


@pytest.mark.parametrize("information", ["Genie", "oracle", None])
@pytest.mark.parametrize("base", [Plain, Rounding])
def test_unknown_information_is_refused_when_the_quantizer_is_built(base, information):
    part = type("Part", (base,), {"information": information})()
    with pytest.raises(InputError, match=f"quantizer 'q': {information!r} is not a valid info"):
        adapt_quantizer("q", part)


def changed(base=Plain, **attributes):
    """Return an instance of a class with other attributes."""
    return type("Part", (base,), attributes)()


class NoCode:
    information = "decodable"
    level = 1.0


class NoLevel:
    information = "decodable"

    def code(self, r, v, level, noise=None): ...


class SolvedRounding(Rounding):
    """Rounding without a step of its own."""

    def __init__(self):
        super().__init__()
        self.level = None


class NotCodable(Quantizer):
    """A quantizer with a base class that says that it is realizable."""

    information = "decodable"
    level = step = 1.0
    realizable = True

    def code(self, r, v, level, noise=None): ...

    def write(self, encoder, r, v, step, noise): ...

    def read(self, decoder, v, step, noise): ...


@pytest.mark.parametrize(
    "part, message",
    [
        (NoLevel(), "has no attribute 'level'; expected a positive number or None"),
        (changed(level=0.0), "has level 0.0; expected a positive number or None"),
        (changed(level=-1), "has level -1; expected a positive number or None"),
        (changed(level="1"), "has level '1'; expected a positive number or None"),
        (changed(level=float("nan")), "has level nan; expected a positive number or None"),
        (changed(level=None), "has level None and step None; expected a positive step"),
        (changed(level=None, step=-1.0), "has level None and step -1.0; expected a positive step"),
        (
            changed(level_kind="Theta"),
            "'Theta' is not a valid level kind; expected one of: 'theta'",
        ),
        (
            changed(TestChannel, step=0.0).__class__(step=0.0),
            "has level None and step 0.0; expected",
        ),
        (SolvedRounding(), "has level None; expected its step, a positive number"),
        (NoCode(), r"has no method 'code'; expected code\(r, v, level, noise\)"),
        (
            changed(code=lambda self, r, v: 0),
            r"has code\(r, v\); expected code\(r, v, level, noise\)",
        ),
        (
            changed(realizable=True),
            r"has no method 'write'; expected write\(encoder, r, v, step, no",
        ),
        (
            changed(realizable=True, write=Realizable.write),
            r"has no method 'read'; expected read\(decoder, v, step, noise\)",
        ),
        (NotCodable(), "has realizable True, but its class says otherwise; expected a subclass of"),
        (
            changed(fitted=True),
            "is fitted, .*; expected a subclass of Quantizer and FittedEstimator",
        ),
        (changed(fit=lambda self: 0), "is fitted, .*; expected a subclass of Quantizer and Fitted"),
    ],
)
def test_mistakes_are_found_when_the_quantizer_is_built(part, message):
    with pytest.raises(InputError, match=f"quantizer 'q'(:|) {message}"):
        adapt_quantizer("q", part)


class Returns(Plain):
    """A quantizer that returns what a test asks for."""

    change = staticmethod(lambda output: output)

    def code(self, r, v, level, noise=None):
        return Returns.change(Rounding().code(r, v, level, noise))


def replaced(**parts):
    """Return a function that changes parts of an output."""
    return lambda output: QuantizerOutput(
        **{**vars(output), **{name: f(getattr(output, name)) for name, f in parts.items()}}
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (replaced(bits=lambda x: x * torch.nan), r"\(bits\) returned numbers that are not finite"),
        (replaced(bits=torch.sum), r"\(bits\) returned a tensor of shape \(\); expected \(2, 30\)"),
        (replaced(residual=lambda x: x[0]), r"\(residual\) returned a tensor of shape \(30,\)"),
        (
            replaced(residual=lambda x: x.numpy()),
            r"\(residual\) returned a ndarray; expected a torch",
        ),
        (replaced(distortion=lambda x: -x), "returned negative distortion; expected numbers"),
        (
            lambda output: (output.bits, output.distortion),
            "returned a tuple without bits; expected",
        ),
        (
            lambda output: SimpleNamespace(bits=output.bits),
            "returned a SimpleNamespace without distortion",
        ),
    ],
)
def test_invalid_output_is_refused_when_the_quantizer_is_first_called(monkeypatch, change, message):
    monkeypatch.setattr(Returns, "change", staticmethod(change))
    with pytest.raises(InputError, match=f"quantizer 'mine' {message}"):
        use(Returns)


def test_change_of_the_residuals_in_place_is_refused(monkeypatch):
    class InPlace(Plain):
        def code(self, r, v, level, noise=None):
            return super().code(r.mul_(0.5), v, level, noise)

    quantizer = adapt_quantizer("q", InPlace())
    r = normal((2, 3))
    with pytest.raises(InputError, match="quantizer 'q' changed r in place"):
        quantizer.code(r, torch.ones_like(r), 1.0, torch.zeros_like(r))


@pytest.mark.parametrize("method", ["write", "read"])
def test_invalid_result_of_a_stream_is_refused(method):
    part = changed(Realizable, **{method: lambda self, coder, *arguments: torch.zeros(1)})
    quantizer, r = adapt_quantizer("q", part), normal((2, 3))
    v = torch.ones_like(r)
    arguments = (None, r, v, 1.0) if method == "write" else (None, v, 1.0)
    message = rf"quantizer 'q' \({method}\) returned a tensor of shape \(1,\); expected \(2, 3\)"
    with pytest.raises(InputError, match=message):
        getattr(quantizer, method)(*arguments)


def test_attributes_of_a_plain_quantizer_are_kept():
    quantizer = adapt_quantizer("q", changed(elementwise=True, uses_own_prior=True))
    assert quantizer.elementwise and quantizer.uses_own_prior
    assert quantizer.level_kind is LevelKind.STEP and quantizer.step == quantizer.level == 1.0
    assert not quantizer.reproduces_codec and quantizer.weights is None


def test_results_of_plain_and_derived_quantizers_are_equal():
    bits = use(Plain)["bits"].squeeze()
    assert np.array_equal(bits.sel(quantizer="mine"), bits.sel(quantizer="rounding"))


@pytest.mark.parametrize("claims", [False, True])
def test_a_quantizer_that_is_not_codable_is_a_bound_only_if_it_claims_so(claims):
    class Free:
        information, level, rate_is_bound = "decodable", 1.0, claims

        def code(self, r, v, level, noise):
            return QuantizerOutput(torch.zeros_like(r), torch.zeros_like(r), r)

    quantizer = adapt_quantizer("free", Free())
    kind = bound_kind(CodecMean(), CodecVariance(), quantizer)
    assert kind is (BoundKind.UPPER_BOUND if claims else BoundKind.GENIE_AIDED)
