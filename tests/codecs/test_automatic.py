"""Codecs of modules that hooks see, against codecs of the same modules that are written by hand."""

import numpy as np
import pytest
import torch
from community_modules import (
    STYLES,
    Halves,
    HandWritten,
    Hierarchy,
    Hyperprior,
    Slices,
    ste_round,
)
from compressai.entropy_models import GaussianConditional, GaussianMixtureConditional
from extracting import extract
from torch import nn

from rdpipe.codecs import CODECS
from rdpipe.codecs.automatic import AutomaticCodec, automatic
from rdpipe.codecs.gain import decoder_gain
from rdpipe.codecs.structure import find_structure
from rdpipe.codecs.tracing import trace
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry, load_attribute
from rdpipe.core.protocols import Codec
from rdpipe.core.running import decodes, run, to_tensor
from rdpipe.core.walk import Coded, Walk

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 130, 3), dtype=np.uint8)
ARRAYS = ("y", "mean", "scale", "index", "bits")


class DoubleStep(Walk):
    """Rounds to every second point of the grid."""

    def decode(self, part):
        self.record.append(Coded(part, 2 * (part.index() / 2).round()))
        return part.point(self.record[-1].index)


class OffGrid(Walk):
    """Adds noise to the elements before quantization."""

    def decode(self, part):
        noise = torch.rand(part.shape, generator=torch.Generator().manual_seed(len(self.record)))
        self.record.append(Coded(part, part.index()))
        return part.y.double() + noise - 0.5


def adapt(module, **args):
    return AutomaticCodec(module, "cpu", **args)


def refusal(module):
    with pytest.raises(InputError) as error:
        adapt(module)
    return str(error.value)


@pytest.fixture(params=STYLES, ids=lambda style: style.__name__)
def style(request):
    return request.param


@pytest.fixture
def module(style):
    return style()


@pytest.fixture
def hand_written(style):
    return STYLES[style](style())


def test_the_image_and_the_bits_are_those_of_the_forward_pass(module):
    codec, walk = adapt(module), Walk()
    decoded = run(codec, walk, IMAGE)
    x = to_tensor(codec, IMAGE)
    with torch.no_grad():
        output = module(x)
        assert torch.equal(decoded, codec.forward(x))
    bits = {name: whole.bits.sum().item() for name, whole in assemble(walk.record).items()}
    if isinstance(output, tuple):
        expected = output[0].item()
    else:
        assert torch.equal(decoded, output["x_hat"])
        expected = sum(-x.double().log2().sum().item() for x in output["likelihoods"].values())
    assert sum(bits.values()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make_walk", [Walk, DoubleStep, OffGrid])
def test_any_quantizer_gives_what_hand_written_code_gives(module, hand_written, make_walk):
    ours, theirs = make_walk(), make_walk()
    decoded, expected = run(adapt(module), ours, IMAGE), run(hand_written, theirs, IMAGE)
    torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-5)
    assert [c.part.name for c in ours.record] == [c.part.name for c in theirs.record]
    ours, theirs = assemble(ours.record), assemble(theirs.record)
    assert ours.keys() == theirs.keys()
    for name, whole in ours.items():
        assert whole.side is theirs[name].side
        for field in ARRAYS:
            actual, desired = getattr(whole, field), getattr(theirs[name], field)
            torch.testing.assert_close(actual, desired, rtol=1e-4, atol=1e-4)


def test_the_gain_is_that_of_hand_written_code(module, hand_written):
    ours, theirs = (decoder_gain(codec, "a", IMAGE) for codec in (adapt(module), hand_written))
    assert ours.keys() == theirs.keys()
    for name, gain in ours.items():
        assert (gain > 0).all()
        torch.testing.assert_close(gain, theirs[name], rtol=1e-4, atol=0.0)


def test_priors_and_latents_follow_the_past_where_they_do(module, hand_written):
    ours, theirs = find_structure(adapt(module)), find_structure(hand_written)
    assert ours[:2] == theirs[:2]


@pytest.mark.parametrize(("style", "passes"), [(Slices, 1), (Hierarchy, 1), (Halves, 2)])
def test_a_pass_starts_again_only_where_elements_are_rounded_early(monkeypatch, style, passes):
    codec, calls = adapt(style()), []

    def count(*args):
        calls.append(args)
        return trace(*args)

    monkeypatch.setattr("rdpipe.codecs.automatic.trace", count)
    run(codec, Walk(), IMAGE)
    assert len(calls) == 1
    run(codec, DoubleStep(), IMAGE)
    assert len(calls) == 1 + passes


def test_extraction_has_an_achievable_curve(style):
    row, arrays = extract(adapt(style()), "a", IMAGE)
    assert not row["real"]
    assert row["bytes"] == np.ceil((row["latent_bits"] + row["side_bits"]) / 8)
    assert (row["side_bits"] > 0) is (style is not Hierarchy)
    for latent in arrays.values():
        assert all(np.isfinite(latent[field]).all() for field in latent)


def test_it_is_a_codec_that_does_not_decode():
    codec = adapt(Hyperprior())
    assert isinstance(codec, Codec)
    assert not decodes(codec)
    with pytest.raises(InputError, match="the codec of Hyperprior got no image; expected one"):
        codec.code(None, (64, 64), Walk())


def test_no_hook_remains_after_an_error():
    class Broken(Hyperprior):
        broken = False

        def code_y(self, y, side):
            if self.broken:
                raise ZeroDivisionError
            return super().code_y(y, side)

    codec = adapt(Broken())
    codec.model.broken = True
    with pytest.raises(ZeroDivisionError):
        run(codec, Walk(), IMAGE)
    for model in codec.model.modules():
        assert not model._forward_hooks
        assert not model._forward_pre_hooks


def test_sides_are_extended_as_asked():
    walk = Walk()
    decoded = run(adapt(Hyperprior(), multiple=128, least=200), walk, IMAGE)
    assert decoded.shape == (1, 3, 256, 256)
    assert assemble(walk.record)["y"].y.shape[1:] == (16, 16)


class OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.round()

    @staticmethod
    def backward(context, gradient):
        return gradient


def rounding_with(round_y):
    """Return a module that rounds outside of its entropy model, with a function."""

    class Module(Hyperprior):
        def code_y(self, y, side):
            mean, scale = self.means_and_scales(side)
            _, likelihood = self.gaussian_conditional(y, scale, mean)
            return round_y(y - mean) + mean, likelihood

    return Module()


@pytest.mark.parametrize(
    "round_y",
    [
        torch.round,
        lambda x: torch.round(input=x),
        lambda x: x.clone().round_(),
        lambda x: torch.round(x, out=torch.empty_like(x)),
        lambda x: x + (x.round() - x).detach(),
        ste_round,
        OwnFunction.apply,
    ],
)
def test_every_way_to_round_is_seen(round_y):
    ours, theirs = adapt(rounding_with(round_y)), HandWritten(Hyperprior())
    decoded, expected = run(ours, DoubleStep(), IMAGE), run(theirs, DoubleStep(), IMAGE)
    torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-5)


def test_a_gradient_that_autograd_does_not_have_is_an_error():
    with pytest.raises(InputError, match="round.. is called without gradients"):
        decoder_gain(adapt(rounding_with(OwnFunction.apply)), "a", IMAGE)
    row, arrays = extract(adapt(rounding_with(OwnFunction.apply)), "a", IMAGE)
    assert "gain" not in arrays["y"]
    assert row["latent_bits"] > 0


@pytest.mark.parametrize(
    "round_y",
    [
        lambda x: torch.floor(x + 0.5),
        lambda x: x.round().int().float(),
        lambda x: x,
    ],
)
def test_a_rounding_that_is_not_seen_is_refused(round_y):
    message = refusal(rounding_with(round_y))
    assert "elements of shape (1, 6, 8, 8) that GaussianConditional codes have no effect" in message
    assert "Write `code` for this model instead (docs/howto/codec.md)" in message


def test_random_numbers_are_refused():
    message = refusal(rounding_with(lambda x: x.round() + 0.1 * torch.rand_like(x)))
    assert "rounds what no entropy model codes, or draws random numbers" in message


def test_a_grid_that_is_not_that_of_the_entropy_model_is_refused():
    class Integers(Hyperprior):
        def code_y(self, y, side):
            mean, scale = self.means_and_scales(side)
            _, likelihood = self.gaussian_conditional(y, scale, mean)
            return y.round(), likelihood

    assert "rounds what no entropy model codes" in refusal(Integers())


def test_likelihoods_of_its_own_are_refused():
    class OwnLikelihood(Hyperprior):
        def code_y(self, y, side):
            mean, scale = self.means_and_scales(side)
            y_hat = torch.round(y - mean) + mean
            density = torch.distributions.Normal(mean, scale)
            return y_hat, density.cdf(y_hat + 0.5) - density.cdf(y_hat - 0.5)

    assert "rounds what no entropy model codes" in refusal(OwnLikelihood())


def test_a_module_without_entropy_models_is_refused():
    class Plain(nn.Conv2d):
        pass

    assert refusal(Plain(3, 3, 1)).startswith(
        "Plain: its forward pass calls no entropy model of CompressAI; expected"
    )


def test_other_likelihoods_are_refused():
    class Mixed(Hyperprior):
        def code_y(self, y, side):
            y_hat, likelihood = super().code_y(y, side)
            return y_hat, likelihood**1.1

    assert "bit, but the likelihoods that it returns amount to" in refusal(Mixed())


def test_several_components_are_refused():
    class TwoComponents(Hyperprior):
        def code_y(self, y, side):
            mean, scale = self.means_and_scales(side)
            y_hat, first = self.gaussian_conditional(y, scale)
            return y_hat, 0.5 * (first + self.gaussian_conditional(y, scale + 1, mean)[1])

    assert "codes a latent with several components, or twice" in refusal(TwoComponents())


class LaplaceConditional(GaussianConditional):
    def _standardized_cumulative(self, inputs):
        return torch.distributions.Laplace(0.0, 0.5**0.5).cdf(inputs)


@pytest.mark.parametrize("conditional", [LaplaceConditional(None), GaussianMixtureConditional(K=1)])
def test_other_entropy_models_are_refused(conditional):
    class Other(Hyperprior):
        def code_y(self, y, side):
            mean, scale = self.means_and_scales(side)
            weights = (torch.ones_like(y),) * isinstance(conditional, GaussianMixtureConditional)
            return conditional(y, scale, mean, *weights)

    other = Other()
    other.conditional = conditional
    name = type(conditional).__name__
    assert refusal(other).startswith(f"{name} is not a supported entropy model; expected Compress")


def test_a_module_that_is_not_causal_is_refused():
    class Circular(Hyperprior):
        def code_y(self, y, side):
            mean, scale = self.means_and_scales(side)
            y_hat = torch.round(y - mean) + mean
            scales = scale + 0.1 * y_hat.abs()  # of the elements that it codes
            return y_hat, self.gaussian_conditional(y, scales, mean)[1]

    codec = adapt(Circular())
    with pytest.raises(InputError, match="priors depend on what is rounded after them"):
        run(codec, DoubleStep(), IMAGE)


def test_calls_that_depend_on_the_image_are_refused():
    class Choosing(Hyperprior):
        def code_y(self, y, side):
            y_hat, likelihood = super().code_y(y, side)
            return (y_hat, likelihood) if self.usual else super().code_y(y, side)

    module = Choosing()
    module.usual = True
    codec = adapt(module)
    module.usual = False
    with pytest.raises(InputError, match="Choosing: what its forward pass calls depends on the im"):
        run(codec, Walk(), IMAGE)


def test_batches_of_latents_are_refused():
    class Batched(Hyperprior):
        def code_y(self, y, side):
            y, mean, scale = (x.transpose(0, 1) for x in (y, *self.means_and_scales(side)))
            return (x.transpose(0, 1) for x in self.gaussian_conditional(y, scale, mean))

    assert "codes elements of shape (6, 1, 8, 8), not of one image" in refusal(Batched())


@pytest.mark.parametrize("output", [None, {"image": torch.zeros(1)}, (torch.zeros(1),)])
def test_an_output_without_an_image_is_refused(output):
    class Silent(Hyperprior):
        def forward(self, x):
            super().forward(x)
            return output

    assert refusal(Silent()).startswith(
        f"forward of Silent returned a {type(output).__name__} without the decoded image; expected"
        " a tensor of shape (1, 3, 128, 128)"
    )


class TestFactory:
    MODEL = "community_modules:Slices"

    def test_weights_of_a_quality_are_loaded(self, tmp_path):
        module = Slices()
        with torch.no_grad():
            module.g_s.bias += 0.25
        module.entropy_bottleneck.update(force=True)
        module.gaussian_conditional.update_scale_table([0.2, 0.5, 1.0], force=True)
        state = {f"module.{name}": value for name, value in module.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": state}, tmp_path / "q2.pth.tar")
        args = {"model": self.MODEL, "checkpoint": str(tmp_path / "q{quality}.pth.tar")}
        entry = {"use": "automatic", "args": args | {"device": "cpu", "multiple": 64}}
        codec = build_entry("codec", "mine", entry, CODECS, 2)
        expected = run(adapt(module), Walk(), IMAGE)
        assert torch.equal(run(codec, Walk(), IMAGE), expected)

    def test_keys_that_do_not_fit_are_named(self, tmp_path):
        state = Slices().state_dict()
        state["g_x.weight"] = state.pop("g_s.bias")
        torch.save(state, tmp_path / "a.pt")
        message = "these weights do not fit Slices; missing: g_s.bias; unexpected: g_x.weight"
        with pytest.raises(InputError, match=message):
            automatic(1, self.MODEL, str(tmp_path / "a.pt"), "cpu")

    def test_shapes_that_do_not_fit_are_named(self, tmp_path):
        state = Slices().state_dict() | {"g_s.bias": torch.zeros(4)}
        torch.save(state, tmp_path / "a.pt")
        message = "these weights do not fit Slices; another shape: g_s.bias$"
        with pytest.raises(InputError, match=message):
            automatic(1, self.MODEL, str(tmp_path / "a.pt"), "cpu")

    @pytest.mark.parametrize("name", ["OwnLoading", "CompressAIs"])
    def test_a_module_may_load_its_weights_in_its_own_way(self, name, tmp_path):
        """CompressAI's models resize the tables of their coder, and have no ``strict``."""
        model = f"community_modules:{name}"
        module = load_attribute(model)()
        with torch.no_grad():
            module.g_s.bias += 0.25
        module.entropy_bottleneck.update(force=True)
        module.gaussian_conditional.update_scale_table([0.2, 0.5, 1.0], force=True)
        torch.save(module.state_dict(), tmp_path / "a.pt")
        codec = automatic(1, model, str(tmp_path / "a.pt"), "cpu")
        expected = run(adapt(module), Walk(), IMAGE)
        assert torch.equal(run(codec, Walk(), IMAGE), expected)

    def test_the_quality_is_filled_in_in_arguments_of_the_module(self):
        codec = automatic(
            3, "community_modules:Hyperprior", device="cpu", model_args={"seed": "{quality}"}
        )
        expected = run(adapt(Hyperprior(seed=3)), Walk(), IMAGE)
        assert torch.equal(run(codec, Walk(), IMAGE), expected)

    @pytest.mark.parametrize("late", [False, True])
    def test_a_quality_that_a_module_does_not_have_is_an_error(self, late):
        """A variable rate may be out of range where it is set, or in the forward pass."""
        args = {"rate": "{quality}", "late": late}
        assert automatic(1, "community_modules:Rates", device="cpu", model_args=args)
        message = r"IndexError: .* \(community_modules.py, line"
        with pytest.raises(InputError, match=message) as error:
            automatic(9, "community_modules:Rates", device="cpu", model_args=args)
        assert "\n" not in str(error.value)

    def test_arguments_are_passed_to_the_module(self):
        args = {"seed": 3}
        codec = automatic(1, "community_modules:Hyperprior", device="cpu", model_args=args)
        expected = run(adapt(Hyperprior(seed=3)), Walk(), IMAGE)
        assert torch.equal(run(codec, Walk(), IMAGE), expected)

    def test_wrong_arguments_are_an_error(self):
        with pytest.raises(InputError, match="cannot call 'community_modules:Slices'"):
            automatic(1, self.MODEL, device="cpu", model_args={"width": 3})

    def test_what_is_no_module_is_an_error(self):
        message = "'community_modules:checkerboard' returned a Tensor; expected a torch.nn.Module"
        with pytest.raises(InputError, match=message):
            args = {"x": torch.zeros(1, 1, 2, 2)}
            automatic(1, "community_modules:checkerboard", device="cpu", model_args=args)
