"""The adapter agrees with CompressAI, and leaves the caller's model as it was."""

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from compressai.entropy_models import GaussianConditional
from compressai.models.video import ScaleSpaceFlow
from skimage import data
from small_models import (
    CONTEXT,
    IMAGE,
    QUALITY,
    RASTER_SCAN,
    REPRESENTATIVE,
    VARIABLE_RATE,
    adapt,
    bits_of,
    coding_model,
    latents_of,
    small_model,
    wholes_of,
    y_of,
)
from torch.nn.utils import prune

from rdpipe.codecs import EMBEDDED, bitstream
from rdpipe.codecs.bottleneck import bottleneck_moments
from rdpipe.codecs.compressai import (
    CompressAICodec,
    VariableRateCodec,
    adapt_model,
    mini_mean_scale,
)
from rdpipe.codecs.compressai.checkpoint import (
    ARCHITECTURES,
    fold,
    load_model,
    read_state,
)
from rdpipe.codecs.gain import decoder_gain
from rdpipe.codecs.structure import find_structure
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Structure
from rdpipe.core.protocols import (
    Codec,
    HasDevice,
    HasMultiple,
    SupportsCoder,
    SupportsFloat64,
    SupportsForward,
    SupportsForwardBits,
    SupportsKnownSource,
)
from rdpipe.core.running import decode_image, to_image, to_tensor, visit
from rdpipe.core.walk import Replay, Walk, ZeroWalk
from rdpipe.evaluation import evaluate

WIDE_CELLS = {"bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr"}
"""Architectures whose forward() integrates the density of z over cells that are too wide."""
UNPICKLABLE = {"elic2022-chandelier", "elic2022-official", "cheng2020-attn"}
"""Architectures that pickle refuses, because CompressAI defines classes within methods."""


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - RASTER_SCAN), indirect=True)
def test_bits_equal_those_of_forward(model, architecture):
    codec = adapt(model)
    bits, x = bits_of(wholes_of(codec)), to_tensor(codec, IMAGE)
    with torch.inference_mode():
        likelihoods = codec.model(x, **codec._options)["likelihoods"]
        forward_bits = codec.forward_bits(x)
    forward = {name: -value.double().log2().sum().item() for name, value in likelihoods.items()}
    assert bits.keys() == forward.keys()
    assert bits["y"] == pytest.approx(forward["y"], rel=1e-5)
    if "z" in bits and architecture not in WIDE_CELLS:
        assert bits["z"] == pytest.approx(forward["z"], rel=1e-5)
    if architecture in CONTEXT:
        assert forward_bits == pytest.approx(sum(forward.values()), rel=1e-6)
    else:
        assert forward_bits is None


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - RASTER_SCAN), indirect=True)
def test_decoded_image_is_that_of_forward(model):
    codec = adapt(model)
    with torch.no_grad():
        decoded = to_image(codec.forward(to_tensor(codec, IMAGE)), *IMAGE.shape[:2])
    difference = np.abs(decoded.astype(int) - decode_image(codec, Walk(), IMAGE))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(
    "architecture", [name for name in ARCHITECTURES if "factorized" not in name], indirect=True
)
def test_bits_from_mean_and_scale_equal_the_codec_bits_where_no_floor_acts(model):
    codec = adapt(model)
    array = evaluate(latents_of(codec), ["codec"], ["codec"], ["rounding"])
    assert array["bits"].item() == pytest.approx(bits_of(wholes_of(codec))["y"], rel=1e-3)


def test_own_prior_is_a_coordinate_of_the_quantizer_axis(model, architecture):
    """It has the codec's own bits, which are rounding's for a Gaussian; other grids are NaN."""
    codec = adapt(model)
    array = evaluate(latents_of(codec), ["codec", "zero"], ["codec"], ["codec", "rounding"])
    bits = array["bits"][0, :, 0]
    if "factorized" in architecture:
        assert bits[0, 0].item() == pytest.approx(bits_of(wholes_of(codec))["y"], rel=1e-6)
        assert np.isnan(bits[1, 0]) and np.isfinite(bits[:, 1]).all()
    else:
        assert (bits[:, 0] == bits[:, 1]).all()


def test_decoded_image_is_that_of_compressai(model):
    """Also if the decoder is given the rounded latents."""
    codec = adapt(model)
    decoded = codec.decompress(codec.compress(IMAGE))
    assert decoded.shape == IMAGE.shape
    assert_same_up_to_ties(decode_image(codec, Walk(), IMAGE), decoded)
    y_hats = {name: rounded(whole) for name, whole in wholes_of(codec).items()}
    replayed = decode_image(codec, Replay(y_hats), size=IMAGE.shape[:2])
    assert_same_up_to_ties(replayed, decoded)


def assert_same_up_to_ties(image, expected):
    """Check that single values differ by one level at most: float32 sums depend on the machine."""
    difference = np.abs(image.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def rounded(whole):
    """Return the decoded latent, in units of the codec."""
    return whole.offset + whole.step * whole.index


def test_latents_are_those_of_compressai(model):
    """The decoded latents, in units of the model, enter the synthesis of both."""
    codec, inputs = adapt(model), []
    stream = codec.compress(IMAGE)
    codec.model.g_s.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    codec.decompress(stream)
    decode_image(codec, Walk(), IMAGE)
    torch.testing.assert_close(*inputs)


def test_bitstream_has_the_length_of_the_code_lengths(model):
    codec = adapt(model)
    expected, stream = sum(bits_of(wholes_of(codec)).values()), codec.compress(IMAGE)
    overhead = 150 + 80 * stream[8]  # of each string, for its length and its end
    assert 8 * len(stream) == pytest.approx(expected, rel=0.05, abs=overhead)
    assert isinstance(stream, bytes)


def test_capabilities_and_structure_are_those_of_the_model(model, architecture):
    if architecture in VARIABLE_RATE:  # untrained, the correction hardly depends on scales
        with torch.no_grad():
            model.QuantABCD[-1].weight *= 100
    codec = adapt(model)
    for protocol in (
        Codec,
        HasDevice,
        HasMultiple,
        SupportsCoder,
        SupportsFloat64,
        SupportsForward,
        SupportsForwardBits,
    ):
        assert isinstance(codec, protocol)
    assert not isinstance(codec, SupportsKnownSource)
    # the synthesis of variable rates corrects latents with the predicted scales
    expected = Structure(architecture in CONTEXT, False, architecture in VARIABLE_RATE)
    assert find_structure(codec) == expected


@pytest.mark.parametrize("architecture", sorted(CONTEXT), indirect=True)
def test_initial_prediction_is_that_of_the_first_elements(model):
    """Without latents, the context model sees zeros everywhere."""
    codec, zeros = adapt(model), ZeroWalk()
    visit(codec, zeros, IMAGE)
    initial, whole = assemble(zeros.record)["y"], y_of(codec)
    assert torch.equal(initial.mean[0, 0, 0], whole.mean[0, 0, 0])
    assert not torch.equal(initial.mean, whole.mean)


@pytest.mark.parametrize("architecture", sorted(VARIABLE_RATE))
def test_class_that_does_not_support_the_model_is_refused(architecture):
    message = "has a variable rate, which CompressAICodec does not support; use rdpipe.codecs.comp"
    with pytest.raises(InputError, match=message):
        CompressAICodec(small_model(architecture), "cpu")


def test_moments_of_a_learned_density_equal_those_of_samples():
    """Samples are drawn by inversion of the cumulative density on another grid."""
    torch.manual_seed(1)
    model = ARCHITECTURES["bmshj2018-factorized"][0](8, 3)
    model.update(force=True, update_quantiles=True)
    bottleneck = model.entropy_bottleneck
    mean, scale = bottleneck_moments(bottleneck)
    x = torch.linspace(-400, 400, 400_001)
    with torch.no_grad():
        cumulative = (
            bottleneck._logits_cumulative(x.expand(3, 1, -1), True).sigmoid()[:, 0].double()
        )
    for channel in range(3):
        samples = np.interp((np.arange(1_000_000) + 0.5) / 1e6, cumulative[channel], x)
        assert mean[0, channel, 0, 0].item() == pytest.approx(np.median(samples), abs=0.01)
        deviation = np.sqrt(np.mean((samples - np.median(samples)) ** 2))
        assert scale[0, channel, 0, 0].item() == pytest.approx(deviation, rel=0.01)


def test_decoder_gain_equals_that_of_the_jacobian():
    """The Jacobian is computed column by column, and averaged over the positions of a channel."""
    torch.manual_seed(0)
    codec = CompressAICodec(ARCHITECTURES["mbt2018-mean"][0](8, 4), "cpu")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    at, synthesis = rounded(y_of(codec, image)).float()[None], codec.model.g_s
    jacobian = torch.autograd.functional.jacobian(
        lambda y: synthesis(y)[..., :64, :64], at, vectorize=True, strategy="forward-mode"
    )
    exact = jacobian.square().sum((0, 1, 2, 3)).squeeze(0).mean((1, 2))
    gains = torch.stack([decoder_gain(codec, str(i), image)["y"] for i in range(200)])
    error = gains.std(0) / 200**0.5
    assert ((gains.mean(0) - exact).abs() < 4 * error).all() and (error < 0.1 * exact).all()


def embedded_model(quality):
    """Return CompressAI's model of mini-mean-scale at a quality."""
    state = fold(read_state(EMBEDDED / "mini-mean-scale.safetensors"), quality - 1)
    return load_model("mbt2018-mean", state, "test")


def measure(codec, image):
    """Return bit/pixel and PSNR of the codec's own bitstream, with the code length beside them."""
    height, width = image.shape[:2]
    bits, stream = sum(bits_of(wholes_of(codec, image)).values()), codec.compress(image)
    error = np.square(image.astype(float) - codec.decompress(stream)).mean()
    return 8 * len(stream) / height / width, 10 * np.log10(255**2 / error), bits


def use_all(codec, image):
    """Call every method of a codec, in all walks that differ."""
    decode_image(codec, Walk(), image)
    codec.decompress(codec.compress(image))
    bitstream.decode(codec, bitstream.encode(codec, image))
    decoder_gain(codec, "a", image)
    with torch.no_grad():
        codec.forward(to_tensor(codec, image))
        codec.forward_bits(to_tensor(codec, image))


@pytest.mark.parametrize("change", ["load_state_dict", "copy_", ".data", "parameter", "layer"])
def test_changed_weights_of_the_model_give_changed_numbers(change):
    image = data.astronaut()[:192, :192]
    model, other = embedded_model(1), embedded_model(4)
    codec = adapt_model(model, device="cpu")
    assert measure(codec, image) == measure(mini_mean_scale(1, "cpu"), image)
    if change == "load_state_dict":
        model.load_state_dict(other.state_dict())
    elif change == "layer":
        for name, layer in other.named_children():
            setattr(model, name, layer)
    for name, weight in other.named_parameters():
        module, _, attribute = name.rpartition(".")
        parameter = model.get_parameter(name)
        if change == "copy_":
            with torch.no_grad():
                parameter.copy_(weight)
        elif change == ".data":
            parameter.data[...] = weight.data
        elif change == "parameter":
            setattr(model.get_submodule(module), attribute, weight)
    assert measure(codec, image) == measure(mini_mean_scale(4, "cpu"), image)


@pytest.mark.parametrize(
    "method", ["code", "compress", "decompress", "synthesis", "forward", "float64", "gain"]
)
def test_every_method_follows_changed_weights(method):
    image = data.astronaut()[:128, :128]
    model = embedded_model(1)
    codec, expected = adapt_model(model, device="cpu"), mini_mean_scale(4, "cpu")
    use_all(codec, image)
    y_hats = {name: rounded(whole) for name, whole in wholes_of(expected, image).items()}
    stream, x = expected.compress(image), to_tensor(codec, image)
    calls = {
        "code": lambda codec: y_of(codec, image).scale.numpy(),
        "compress": lambda codec: codec.compress(image),
        "decompress": lambda codec: codec.decompress(stream),
        "synthesis": lambda codec: decode_image(codec, Replay(y_hats), size=(128, 128)),
        "forward": lambda codec: codec.forward(x).numpy(),
        "float64": lambda codec: bitstream.encode(codec, image),
        "gain": lambda codec: decoder_gain(codec, "a", image)["y"].numpy(),
    }
    model.load_state_dict(embedded_model(4).state_dict())
    with torch.no_grad() if method == "forward" else torch.enable_grad():
        np.testing.assert_array_equal(calls[method](codec), calls[method](expected))


def test_copy_in_float64_computes_with_the_weights_of_its_making():
    """A bitstream is written with the same weights from beginning to end."""
    model = embedded_model(1)
    precise = adapt_model(model, device="cpu").to_float64()
    before = bitstream.encode(Precise(precise), IMAGE)
    model.load_state_dict(embedded_model(4).state_dict())
    assert bitstream.encode(Precise(precise), IMAGE) == before
    assert before == bitstream.encode(mini_mean_scale(1, "cpu"), IMAGE)


class Precise:
    """A codec that is its own copy in float64."""

    def __init__(self, codec):
        self.code, self.multiple = codec.code, codec.multiple
        self.to_float64 = lambda: self


def test_variable_rate_codec_follows_a_changed_gain():
    model = coding_model("mbt2018-mean-vbr")
    codec = adapt(model)
    before = y_of(codec).y
    with torch.no_grad():
        model.Gain[QUALITY - 1] *= 2
    codec_of_changed = adapt(copy.deepcopy(model))
    after = y_of(codec).y
    assert not torch.equal(after, before)
    assert torch.equal(after, y_of(codec_of_changed).y)


def module_state(model):
    """Return everything of a model that an adapter could change."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "attributes": {name: set(vars(module)) for name, module in model.named_modules()},
        "training": {name: module.training for name, module in model.named_modules()},
        "forward": {name: module.forward.__qualname__ for name, module in model.named_modules()},
        "modules": {name: id(module) for name, module in model.named_modules()},
        "tensors": {
            name: (id(t), t.data_ptr(), t._version, t.requires_grad, t.device, t.stride(), t.shape)
            for name, t in tensors.items()
        },
    }


@pytest.mark.parametrize("architecture", REPRESENTATIVE)
def test_model_of_the_caller_stays_as_it_was(architecture):
    torch.manual_seed(0)
    model = small_model(architecture).train()
    next(model.g_s.parameters()).requires_grad_(False)
    before = module_state(model)
    use_all(adapt(model), IMAGE)
    assert module_state(model) == before
    assert model.training and any(p.requires_grad for p in model.parameters())


def saved_and_loaded(model):
    """Return a model after ``torch.save`` and ``torch.load``."""
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "duplicate, architecture",
    [
        *((copy.deepcopy, name) for name in REPRESENTATIVE),
        *((saved_and_loaded, name) for name in REPRESENTATIVE if name not in UNPICKLABLE),
    ],
    indirect=["architecture"],
)
def test_model_of_the_caller_can_be_copied_and_saved_after_adapting(duplicate, model):
    """The copy computes with its own weights."""
    use_all(adapt(model), IMAGE)
    twin, x = duplicate(model), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(twin.g_a(x), model.g_a(x))
        next(iter(twin.g_a.parameters())).mul_(1.5)
        assert not torch.equal(twin.g_a(x), model.g_a(x))


def test_model_of_the_caller_can_be_trained_after_adapting():
    model = coding_model("mbt2018-mean").train()
    codec = adapt(model)
    before = y_of(codec).y
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    out = model(torch.rand(2, 3, 64, 64))
    (out["x_hat"].square().mean() + out["likelihoods"]["y"].log().mean().neg()).backward()
    optimizer.step()
    after = y_of(codec).y
    assert not torch.equal(after, before)
    assert torch.equal(after, y_of(adapt(copy.deepcopy(model))).y)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - UNPICKLABLE), indirect=True)
def test_copied_and_pickled_codec_computes_the_same(model):
    codec = adapt(model)
    expected = y_of(codec)
    for twin in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))):
        whole = y_of(twin)
        assert torch.equal(whole.y, expected.y) and torch.equal(whole.mean, expected.mean)


@pytest.mark.parametrize("architecture", REPRESENTATIVE, indirect=True)
def test_codec_is_not_rebuilt_while_the_weights_stay(model):
    """Also not by layers that mask their weights, or under a caller's inference mode."""
    codec = adapt(model)
    adapted = codec.model
    with torch.inference_mode():
        decode_image(codec, Walk(), IMAGE)
        bitstream.decode(codec, bitstream.encode(codec, IMAGE))
    use_all(codec, IMAGE)
    assert codec.model is adapted


@pytest.mark.parametrize("architecture", ["mbt2018-mean", "mbt2018-vbr"], indirect=True)
def test_codec_works_on_a_model_that_it_takes_over(model):
    """The numbers are those of a copy."""
    original = copy.deepcopy(model)
    codec, other = adapt_model(original, QUALITY, "cpu", copy=False), adapt(model)
    assert codec.model is original
    whole, expected = y_of(codec), y_of(other)
    assert torch.equal(whole.y, expected.y) and torch.equal(whole.scale, expected.scale)
    assert codec.compress(IMAGE) == other.compress(IMAGE)
    assert bitstream.encode(codec, IMAGE) == bitstream.encode(other, IMAGE)


def test_image_is_analyzed_once():
    """The walk and the encoders share the output, also with rdpipe's own bytes."""
    codec, calls = mini_mean_scale(2, "cpu"), []
    codec.model.g_a.transform[0].register_forward_hook(lambda *_: calls.append("g_a"))
    decode_image(codec, Walk(), IMAGE)
    codec.decompress(codec.compress(IMAGE))
    bitstream.encode(codec, IMAGE)
    assert calls == ["g_a"]


def test_image_with_one_channel_is_refused():
    with pytest.raises(InputError, match="the image has 1 channels; expected 3"):
        y_of(mini_mean_scale(1, "cpu"), np.zeros((64, 64, 1), np.float32))


@pytest.mark.parametrize(
    "image, message",
    [
        (
            IMAGE / 255,
            "the image has dtype float64 and shape .70, 130, 3.; expected uint8 of shape",
        ),
        (IMAGE.astype(np.uint16), "the image has dtype uint16"),
        (IMAGE[..., 0], "the image has dtype uint8 and shape .70, 130.; expected uint8 of shape"),
        (IMAGE[..., :1], "the image has dtype uint8 and shape .70, 130, 1.; expected uint8"),
    ],
)
def test_image_of_another_type_is_refused(image, message):
    codec = mini_mean_scale(1, "cpu")
    for call in (y_of, CompressAICodec.compress, bitstream.encode):
        with pytest.raises(InputError, match=message):
            call(codec, image)


def test_codec_follows_changed_weights_after_interleaved_calls_of_two_threads():
    """The first call ends while the second one runs, unless the codec executes them in turn."""
    model, other = embedded_model(1), embedded_model(4)
    codec = adapt_model(model, device="cpu")
    first_entered, second_entered, first_left = (threading.Event() for _ in range(3))

    def first():
        with codec._current():
            first_entered.set()
            second_entered.wait(0.5)
        first_left.set()

    def second():
        assert first_entered.wait(10)
        with codec._current():
            second_entered.set()
            assert first_left.wait(10)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(first), pool.submit(second)]:
            future.result()
    model.load_state_dict(other.state_dict())
    expected = y_of(mini_mean_scale(4, "cpu")).y
    assert torch.equal(y_of(codec).y, expected)


def test_codec_gives_the_same_numbers_in_threads():
    model, other = embedded_model(1), embedded_model(4)
    codec = adapt_model(model, device="cpu")
    model.load_state_dict(other.state_dict())  # all threads find an old copy
    expected = mini_mean_scale(4, "cpu").compress(IMAGE)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.compress, [IMAGE] * 4)) == [expected] * 4


def test_hooks_of_the_caller_do_not_run_in_the_codec():
    """They stay on the caller's model, and may hold what cannot be copied."""
    model, calls = embedded_model(1), []

    class Recorder:
        def __deepcopy__(self, memo):
            raise TypeError("this object cannot be copied")

        def record(self, module, inputs, *output):
            calls.append(module)
            return 2 * output[0] if output else None

    expected = adapt_model(model, device="cpu")
    hook = Recorder().record
    for module in (model, model.g_a, model.h_s[0]):
        module.register_forward_pre_hook(hook)
    for module in (model.g_a, model.h_s[0], model.g_s):
        module.register_forward_hook(hook)
    model.g_s.register_full_backward_hook(lambda module, *_: calls.append(module))
    codec = adapt_model(model, device="cpu")
    assert measure(codec, IMAGE) == measure(expected, IMAGE)
    use_all(codec, IMAGE)
    assert not calls
    model.g_a(torch.rand(1, 3, 64, 64))
    assert calls == [model.g_a, model.g_a]


def test_hooks_that_compute_weights_stay():
    """A pruned layer computes its weight in a hook."""
    model = embedded_model(1)
    layer = model.g_a[0]
    prune.l1_unstructured(layer, "weight", 0.5)
    with torch.no_grad():
        model.g_a(torch.rand(1, 3, 64, 64))  # PyTorch cannot copy the layer before
        codec = adapt_model(model, device="cpu")
        layer.weight_orig.mul_(1.5)
    after = y_of(codec).y
    prune.remove(layer, "weight")
    assert torch.equal(after, y_of(adapt_model(model, device="cpu")).y)


def replace_layer(model):
    """Replace an activation, which has no weights."""
    model.h_s[1] = torch.nn.Identity()


def change_slope(model):
    """Change an attribute of an activation."""
    model.h_s[1].negative_slope = 0.5


@pytest.mark.parametrize("change", [replace_layer, change_slope])
def test_changed_structure_of_the_model_gives_changed_numbers(change):
    model = embedded_model(1)
    codec = adapt_model(model, device="cpu")
    before = y_of(codec).scale
    change(model)
    after = y_of(codec).scale
    assert not torch.equal(after, before)
    assert torch.equal(after, y_of(adapt_model(model, device="cpu")).scale)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "architecture", ["mbt2018-mean", "mbt2018-mean-vbr", "elic2022-official"], indirect=True
)
def test_scale_table_of_the_model_is_used(model, when):
    """A coarse table takes more bytes, those of CompressAI's own coder."""
    default = adapt(model).compress(IMAGE)
    codec = adapt(model) if when == "after" else None
    table = [0.11, 256.0]
    model.update(scale_table=table, force=True)
    codec = codec or adapt(model)
    stream = codec.compress(IMAGE)
    assert len(stream) > len(default)
    np.testing.assert_array_equal(codec.decompress(stream), adapt(model).decompress(stream))
    for module in codec.model.modules():
        if isinstance(module, GaussianConditional):
            assert torch.equal(module.scale_table, torch.tensor(table))
            assert len(module._quantized_cdf) == len(module._offset) == 2


@pytest.mark.parametrize("architecture", REPRESENTATIVE, indirect=True)
def test_default_tables_give_the_bytes_of_a_model_without_tables(model):
    tables = ("_quantized_cdf", "_cdf_length", "_offset", "scale_table")
    for module in model.modules():
        for name in tables:
            if name in dict(module.named_buffers(recurse=False)):
                setattr(module, name, torch.Tensor())
    without = adapt(model).compress(IMAGE)
    model.update(force=True)
    assert adapt(model).compress(IMAGE) == without


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda model: model.double(), "has dtype float64; expected float32"),
        (lambda model: model.half(), "has dtype float16; expected float32"),
        (lambda model: torch.nn.Linear(2, 2), "Linear is not a CompressAI model; expected a Comp"),
        (lambda model: "mbt2018", "str is not a CompressAI model; expected a CompressionModel"),
        (lambda model: ScaleSpaceFlow(), "ScaleSpaceFlow is not an image codec; expected a Compre"),
    ],
)
def test_model_that_is_not_supported_is_refused(change, message):
    model = change(small_model("mbt2018-mean"))
    for build in (adapt_model, CompressAICodec):
        with pytest.raises(InputError, match=message):
            build(model, device="cpu")
    with pytest.raises(InputError, match=message):
        VariableRateCodec(model, QUALITY, "cpu")


def test_model_whose_type_changes_after_adapting_is_refused():
    model = small_model("mbt2018-mean")
    codec = adapt(model)
    model.double()
    with pytest.raises(InputError, match="has dtype float64; expected float32"):
        y_of(codec)


def test_unknown_device_is_refused():
    for device in ("gpu", "meta", None):
        with pytest.raises(InputError, match="is not a device; expected one of: auto, cpu, cuda"):
            adapt_model(small_model("mbt2018-mean"), device=device)
    with pytest.raises(InputError, match="device 'cuda:99' is not available on this"):
        adapt_model(small_model("mbt2018-mean"), device="cuda:99")
