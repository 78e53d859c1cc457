"""The check of a codec passes working codecs, and names every mistake of others."""

import copy
import re
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rdpipe.codecs.compressai import mini_context, mini_mean_scale
from rdpipe.codecs.conformance import check
from rdpipe.codecs.linear import BlockTransform
from rdpipe.codecs.sent_latents import IntegerWalk
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry
from rdpipe.core.running import decode_image, to_tensor
from rdpipe.core.walk import Walk
from rdpipe.entropy.priors import Gaussian, Mixture

IMAGE = np.kron(
    np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
)
PAST = "{} depend on decoded latents: stored {} are a genie's in every cell but the codec's own"
SMALL_CODECS = {
    "Corrected": [PAST.format("its priors", "statistics")],
    "Hierarchical": [PAST.format("its latents", "latents and statistics")],
    "MixtureRaster": [PAST.format("its priors", "statistics")],
    "FourPart": [
        PAST.format("its priors", "statistics"),
        "its image depends on side information: every cell transmits it",
    ],
    "Stepped": [
        "its latents and priors do not depend on decoded latents: they hold in every cell",
        "its image depends on side information: every cell transmits it",
    ],
    "Overfitted": [
        "its latents and priors do not depend on decoded latents: they hold in every cell",
        "its image depends on side information: every cell transmits it",
    ],
}
"""What is said of the structure of each."""


class Averages:
    """Means of 4 x 4 pixels; a small codec, of which the tests change parts.

    The parameters ``prior``, ``y`` and ``image`` are functions of what is sent and decoded.
    """

    multiple = 4

    def __init__(self, quality=1, **changes):
        self.step, self.changes = 0.05, changes
        self.weight = torch.nn.Parameter(torch.ones(1))  # its gradient is on

    def change(self, name, value):
        return self.changes[name](value) if name in self.changes else value

    def code(self, image, size, send):
        mean = torch.full((1, 3, size[0] // 4, size[1] // 4), 0.413) / self.step
        prior = self.change("prior", Gaussian(mean, torch.full_like(mean, 0.3 / self.step)))
        y = None if image is None else F.avg_pool2d(image * self.weight, 4) / self.step
        y_hat = send("y", prior, None if y is None else self.change("y", y))
        return self.change("image", F.interpolate(y_hat * self.step, scale_factor=4))


def changed(**changes):
    return lambda: Averages(**changes)


def with_prior(mean=lambda x: x, scale=lambda x: x):
    return changed(prior=lambda p: _prior(mean(p.mean), scale(p.scale)))


def _prior(mean, scale):
    prior = Gaussian(torch.zeros(1), torch.ones(1))
    prior.mean, prior.scale = mean, scale
    return prior


def raising():
    raise RuntimeError("boom")


class Stateful(Averages):
    """The latents of an image depend on the last one."""

    last = 0.0

    def code(self, image, size, send):
        shift, self.last = self.last, image.mean() if image is not None else self.last
        self.changes = {"y": lambda y: y + 0.1 * shift}
        return super().code(image, size, send)


class KeepsTheImage(Averages):
    """The decoder has the size of the mean from the encoder."""

    def code(self, image, size, send):
        if image is not None:
            self.mean = image.mean()
        mean = self.mean
        self.changes = {"image": lambda x: x + 0 * mean}
        return super().code(image, size, send)


class UsesTheImage(Averages):
    def code(self, image, size, send):
        self.changes = {"image": lambda x: x + 0.1 * image}
        return super().code(image, size, send)


class BlendsTheImage(Averages):
    """The decoded image is better at the encoder."""

    def code(self, image, size, send):
        self.changes = {} if image is None else {"image": lambda x: (x + image) / 2}
        return super().code(image, size, send)


class PriorOfTheImage(Averages):
    def code(self, image, size, send):
        level = 0.4 if image is None else image.mean()
        self.changes = {"prior": lambda p: Gaussian(p.mean + level, p.scale)}
        return super().code(image, size, send)


class SideInSomeCalls(Averages):
    def code(self, image, size, send):
        half = self.split(size)
        sent = [
            send(
                "y",
                half,
                None if image is None else F.avg_pool2d(image[:, i : i + 1], 4),
                side=i == 0,
            )
            for i in range(3)
        ]
        return F.interpolate(torch.cat(sent, 1), scale_factor=4)

    def split(self, size):
        mean = torch.full((1, 1, size[0] // 4, size[1] // 4), 0.413)
        return Gaussian(mean, torch.ones_like(mean))


class OnlySide(Averages):
    def code(self, image, size, send):
        always = lambda *args, **options: send(*args, **options, side=True)
        return super().code(image, size, always)


class MoreAtTheDecoder(Averages):
    def code(self, image, size, send):
        decoded = super().code(image, size, send)
        return decoded if image is not None else super().code(image, size, send)


class Single(Averages):
    """It computes in float32 wherever it is."""

    def code(self, image, size, send):
        self.changes = {"image": lambda x: F.conv2d(x, torch.ones(3, 1, 1, 1).float(), groups=3)}
        return super().code(image, size, send)


class Training(Averages):
    def code(self, image, size, send):
        self.changes = {"y": lambda y: y + 0.02 * torch.randn_like(y)}
        return super().code(image, size, send)


class WithCoder(Averages):
    """A bitstream of its own: the decoded image, and some more bytes."""

    bytes_of = staticmethod(lambda bits: bytes(int(bits / 8)))

    def compress(self, image):
        walk = Walk()
        decoded = decode_image(Averages(), walk, image)
        bits = sum(
            coded.part.prior.bits(coded.part.point(coded.index)).sum() for coded in walk.record
        )
        STREAMS[stream := self.bytes_of(bits.item())] = decoded
        return stream

    def decompress(self, stream):
        return STREAMS[stream]


STREAMS = {}


def forward_with(change):
    class Forward(Averages):
        def forward(self, image):
            return change(super().code(image, tuple(image.shape[2:]), Walk()))

    return Forward


def coder_with(length, change=lambda image: image):
    class Coder(WithCoder):
        bytes_of = staticmethod(lambda bits: bytes(int(length(bits) / 8)))

        def decompress(self, stream):
            return change(super().decompress(stream))

    return Coder


class NoCode:
    pass


class OldCodec:
    def analyse(self, image): ...
    def synthesise(self, y_hat, height, width): ...


class OldSignature(Averages):
    def code(self, image, send): ...


class Calling(Averages):
    """Calls send in another way."""

    def __init__(self, *arguments, **options):
        super().__init__()
        self.arguments, self.options = arguments, options

    def code(self, image, size, send):
        call = lambda name, prior, y: send(name, prior, y, *self.arguments, **self.options)
        return super().code(image, size, call)


class WrongRows(Averages):
    """The network pads, and the prior does not."""

    multiple = 1

    def code(self, image, size, send):
        padded = None if image is None else F.pad(image, (0, -size[1] % 4, 0, -size[0] % 4))
        return super().code(padded, size, send)


class OnlyCompress(Averages):
    def compress(self, image): ...


def change_one_channel(y):
    y = y.clone()
    y[:, 1] = y[:, 1].round()
    return y


MISTAKES = {
    "NoCode is not a Codec: it has no method code": NoCode,
    "OldCodec is not a Codec: it has analyse and .* wrap it in rdpipe.codecs.two_methods": OldCodec,
    "it has compress without decompress; expected both": OnlyCompress,
    r"its method is code\(image, send\); expected code\(self, image, size, send\)": OldSignature,
    r"send: too many positional arguments; expected send\(name, prior, y\), and all": (
        lambda: Calling(0.0)
    ),
    "send: got an unexpected keyword argument 'ofset'; expected .* at, offset, step, skip, side": (
        lambda: Calling(ofset=0.0)
    ),
    r"\(1, 3, 17, 25\); expected the same shape, and an attribute multiple of": WrongRows,
    "a Mixture has its mean between the points of the codec's grid; expected an offset in": changed(
        prior=lambda p: Mixture(torch.ones(1, 1, 1, 1, 1), [p])
    ),
    r"send\('y'\): y is None; expected a tensor": changed(y=lambda y: None),
    r"send\('y'\): y is a ndarray; expected a tensor": changed(y=lambda y: y.detach().numpy()),
    r"send\('y'\): y is of torch.int64; expected a floating": changed(y=lambda y: y.long()),
    r"send\('y'\): y has values that are not finite": changed(y=lambda y: y / 0),
    r"send\('y'\): y requires a gradient": changed(y=lambda y: y.clone().requires_grad_()),
    r"send\('y'\) got y of shape \(1, 2, 18, 26\) and a prior": changed(y=lambda y: y[:, :2]),
    r"send\('y'\): prior.mean is None; expected a tensor": with_prior(mean=lambda x: None),
    "prior.mean has values that are not finite": with_prior(mean=lambda x: x / 0),
    r"prior.scale must be positive; its least is 0": with_prior(scale=lambda x: 0 * x),
    "prior.scale must be positive; its least is -6": with_prior(scale=lambda x: -x),
    "prior.scale has values that are not finite": with_prior(scale=lambda x: x / 0),
    r"prior.scale \(1, 1, 18, 26\); expected \(1, channel": with_prior(scale=lambda x: x[:, :1]),
    "is 0.11 times that of scale; is prior.scale a standard deviation, in": with_prior(
        scale=lambda x: 9 * x
    ),
    "is 9.01 times that of scale; is prior.scale a standard": with_prior(scale=lambda x: x / 9),
    "latent 'y' is rounded: 100% are multiples of the step": changed(y=torch.round),
    "100% are multiples of 1/2 of the step": changed(y=lambda y: (2 * y).round() / 2),
    "100% are multiples of 1/4 of the step": changed(y=lambda y: (4 * y).round() / 4),
    "latent 'y' is rounded: 7.% are multiples of the step": changed(
        y=lambda y: torch.where(y.frac() < 0.7, y.floor(), y)
    ),
    "'y' is rounded in 1 of 3 channels": changed(y=change_one_channel),
    r"is rounded.*multiples of the step; expected y before": changed(
        y=lambda y: (y - 0.413 / 0.05).round() + 0.413 / 0.05
    ),
    "send different latents|different latents the second time .*eval mode": Training,
    "different latents (the second time|after another image was coded) .y of 'y'": Stateful,
    r"code\(None, ...\) raised AttributeError: .*no attribute 'mean' .test_conf": KeepsTheImage,
    r"code\(None, ...\) raised TypeError: .* expected all that it needs of it": UsesTheImage,
    r"code\(None, ...\) returns another image .*%.*; a decoder has no image": BlendsTheImage,
    r"sends something else than the encoder \(offset of 'y'\)": PriorOfTheImage,
    r"send\('y'\) was not called by the encoder": MoreAtTheDecoder,
    r"send\('y'\) is side information in some calls only": SideInSomeCalls,
    "code sends no latent that is not side information": OnlySide,
    r"code in float64, for bitstreams, raised RuntimeError: .* to_float64": Single,
    "decode to -?[0-9.]+ dB; expected pixels in": changed(image=lambda x: 255 * x),
    r"code returned shape \(1, 3, 36, 52\); expected that of": changed(
        image=lambda x: F.avg_pool2d(x, 2)
    ),
    "code returned torch.uint8; expected floating-point": changed(image=lambda x: x.byte()),
    "code returned pixels that are not finite": changed(image=lambda x: x / 0),
    "code of Averages returned a ndarray; expected": changed(image=lambda x: x.detach().numpy()),
    r"it raised RuntimeError: boom \(test_conformance.py, line": changed(image=lambda x: raising()),
    "forward and code: 8.*% of the values differ, by up to .* what the model's": forward_with(
        lambda x: x.flip(2)
    ),
    "in real bytes, .* they must be the same except": coder_with(lambda bits: 1.05 * bits + 1500),
    "bytes cannot be shorter: expected the likelihood": coder_with(lambda bits: 0.9 * bits),
    "decompress and code: .* expected a coder that rounds the": coder_with(
        lambda bits: bits, lambda image: image[::-1]
    ),
}


def failed(codec, image=IMAGE):
    """Yield the messages of the failed findings."""
    return (message for passed, message in check(codec, image) if not passed)


def messages(codec):
    findings = list(check(codec, IMAGE))
    assert all(finding.passed for finding in findings), findings
    return " | ".join(finding.message for finding in findings)


@pytest.mark.parametrize("name", SMALL_CODECS)
def test_small_codecs_pass_and_their_structure_is_said_in_words(name, small_codecs):
    findings = list(check(getattr(small_codecs, name)(2), np.ascontiguousarray(IMAGE[:66, :67])))
    assert all(finding.passed for finding in findings), findings
    assert [m for _, m in findings if "decoded latents" in m or "depends on" in m] == SMALL_CODECS[
        name
    ]
    assert findings[-1].message == "its image has a gradient with respect to the latents"


@pytest.mark.parametrize("make", [mini_mean_scale, mini_context])
def test_codecs_of_compressai_pass(make):
    assert "forward and code: same image" in messages(make(1, "cpu"))


@pytest.mark.parametrize("make", [Averages, coder_with(lambda bits: bits + 300)])
def test_the_codec_of_the_mistakes_passes_without_them(make):
    text = messages(make())
    assert "104 x 72: rounded latents decode to " in text
    assert "101 x 71: rounded latents decode to " in text
    assert "code(None, ...) decodes real bytes to the image" in text


@pytest.mark.parametrize("message", MISTAKES)
def test_mistake_is_named(message):
    problems = []
    for problem in failed(MISTAKES[message]()):
        problems.append(problem)
        if re.search(message, problem):
            return
    pytest.fail(f"{message!r} is not among {problems}")


def test_a_trace_of_rounding_errors_in_forward_is_no_problem():
    def one_level_in_one_value(x):
        x = x.clone()
        x[0, 0, 0, 0] += 1 / 255
        return x

    text = messages(forward_with(one_level_in_one_value)())
    assert "forward and code: 0.00% of the values differ, by up to 1 levels" in text
    assert any("by up to 2 levels" in m for m in failed(forward_with(lambda x: x + 2 / 255)()))


def bits_of(codec, image, walk):
    """Return the bits of an image when a walk decodes it."""
    codec.code(image, tuple(image.shape[2:]), walk)
    return sum(whole.bits.sum().item() for whole in assemble(walk.record).values())


class WithLikelihoods(Averages):
    """Its model's own likelihoods are those of the unchanged prior."""

    def forward_bits(self, image):
        return bits_of(Averages(), image, Walk())


def test_priors_of_other_bits_than_the_models_likelihoods_are_a_problem():
    assert "according to forward_bits (1.000 times)" in messages(WithLikelihoods())
    half = WithLikelihoods(prior=lambda p: Gaussian(p.mean, p.scale / 2.5))
    problems = list(failed(half))
    match = re.match(r"104 x 72: (\d+) bit .* priors, (\d+) .* \((.*) times\)", problems[0])
    assert float(match[3]) == pytest.approx(int(match[1]) / int(match[2]), abs=0.005)
    assert "expected a difference of 2% at most" in problems[0]
    assert len(problems) == 2  # of each size of the image


def test_forward_bits_do_not_excuse_another_image():
    class OtherImage(WithLikelihoods, forward_with(lambda x: x.flip(2))): ...

    assert any("forward and code: 8" in problem for problem in failed(OtherImage()))


class TrainedWithoutFeedback(Averages):
    """Each color is predicted from those before; the training graph rounds them to integers."""

    def code(self, image, size, send):
        mean = torch.full((1, 1, size[0] // 4, size[1] // 4), 0.413) / self.step
        y = None if image is None else F.avg_pool2d(image, 4) / self.step
        decoded = []
        for color in range(3):
            part = None if y is None else y[:, color : color + 1]
            scale = torch.full_like(mean, 0.3 / self.step)
            decoded.append(send("y", Gaussian(mean, scale), part))
            mean = (mean + decoded[-1]) / 2
        return F.interpolate(torch.cat(decoded, 1) * self.step, scale_factor=4)

    def forward(self, image):
        return self.code(image, tuple(image.shape[2:]), IntegerWalk())

    def forward_bits(self, image):
        return bits_of(self, image, IntegerWalk())


def test_only_a_context_model_may_round_without_feedback():
    text = messages(TrainedWithoutFeedback())
    assert "without the feedback of the context model" in text
    assert "according to forward_bits (1.000 times)" in text

    class OnlyBits(TrainedWithoutFeedback):
        forward = None

        def __init__(self):
            super().__init__()
            self.step = 0.3  # coarse, so that the two graphs have other bits

    image = to_tensor(OnlyBits(), IMAGE)
    usual, integers = (bits_of(OnlyBits(), image, walk) for walk in (Walk(), IntegerWalk()))
    assert abs(usual / integers - 1) > 0.02
    text = messages(OnlyBits())
    assert re.search(r"forward_bits \(1.000 times\); it rounds to integers, without the", text)

    class OtherBits(OnlyBits):
        def forward_bits(self, image):
            return 1.1 * super().forward_bits(image)

    assert any("expected a difference of 2% at most" in problem for problem in failed(OtherBits()))

    class WithoutContext(WithLikelihoods):
        def forward(self, image):
            return self.code(image, tuple(image.shape[2:]), IntegerWalk())

    assert any("forward and code: " in problem for problem in failed(WithoutContext()))


def test_a_context_model_does_not_excuse_any_other_image():
    class OtherImage(TrainedWithoutFeedback):
        def forward(self, image):
            return super().forward(image).flip(2)

    assert any("forward and code: " in problem for problem in failed(OtherImage()))


def test_zeros_and_pixels_are_not_called_rounded():
    """A channel may be without use, and some latents of a codec of pixel values are exact."""
    unused = torch.tensor([1.0, 0, 1]).view(1, 3, 1, 1)
    assert not any(
        "rounded" in m for m in failed(Averages(y=lambda y: y * unused)) if "dB" not in m
    )
    assert list(failed(Averages(), np.full_like(IMAGE, 30))) == []

    class Pixels:
        multiple = 1

        def code(self, image, size, send):
            mean = torch.full((1, 3, *size), 16.0)
            y = None if image is None else image * 255 / 8
            return send("y", Gaussian(mean, torch.full_like(mean, 9.0)), y) * 8 / 255

    noise = np.random.default_rng(0).integers(0, 256, (70, 80, 3), np.uint8)
    assert list(failed(Pixels(), noise)) == []


def test_codec_without_a_bitstream_is_no_problem():
    class OnlyDescribes(UsesTheImage):
        can_decode = False

    text = messages(OnlyDescribes())
    assert "it has no bitstream: its curve is called achievable" in text
    assert "real bytes" not in text


def test_gradient_is_reported():
    assert "its image has a gradient with respect to the latents" in messages(Averages())
    text = messages(Averages(image=lambda x: x.detach()))
    assert "no gradient of the image" in text and "refinement of latents and weighted" in text


def test_codec_of_gray_images_is_reported():
    """The check is of color images."""
    codec = BlockTransform(np.eye(64), np.ones(64), np.ones(4), 1.0)
    assert any("klt and dct expect one channel" in problem for problem in failed(codec))


def test_small_image_is_refused():
    with pytest.raises(InputError, match="the image has 1 x 3 pixels; expected at least 64"):
        list(check(Averages(), IMAGE[:3, :1]))


def test_the_codec_is_not_changed():
    codec = Averages()
    before = copy.deepcopy(vars(codec))
    list(check(codec, IMAGE))
    assert vars(codec).keys() == before.keys()
    assert torch.equal(codec.weight, before["weight"])


def test_a_factory_without_quality_is_told_that_it_comes_first():
    class NoQuality:
        def __init__(self): ...

    sys.modules[__name__].NoQuality = NoQuality
    entry = {"use": f"{__name__}:NoQuality"}
    with pytest.raises(InputError, match=r"takes \(\); expected quality as the first parameter"):
        build_entry("codec", "mine", entry, {}, 3)
