"""The adapter against CompressAI itself: random weights, small dimensions, odd image sizes."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from rdpipe.evaluation import evaluate
from rdpipe.evaluation.cell import Cell
from rdpipe.codecs import CODECS
from rdpipe.codecs.compressai.checkpoint import (
    ARCHITECTURES,
    EMBEDDED,
    fetch,
    fold,
    load_model,
    read_state,
)
from rdpipe.codecs.compressai.adapter import (
    CompressAI,
    factorized_moments,
    from_checkpoint,
    from_gained,
    mini_mean_scale,
)
from rdpipe.training.model import Gained
from rdpipe.codecs.compressai.variable_rate import VariableRate
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import load_attribute

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 130, 3), dtype=np.uint8)
RASTER = {"mbt2018", "cheng2020-anchor", "cheng2020-attn", "mbt2018-vbr"}
"""Their forward() sees neighbours that are rounded without their means."""
CONTEXT = {"mbt2018-checkerboard", "cheng2020-anchor-checkerboard", "elic2022-official",
           "elic2022-chandelier", *RASTER}  # fmt: skip
QUALITY = 7


def small(architecture):
    """A model of random weights and few channels."""
    family, _ = ARCHITECTURES[architecture]
    if architecture.startswith("cheng"):
        return family(8)
    if architecture.startswith("elic"):
        return family(8, 12, groups=[2, 4, 6])
    own_step = {"vr_entbttlnck": True} if architecture in ("bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr") else {}
    return family(8, 12, **own_step)


def adapted(model):
    """The adapter of a model, as ``from_checkpoint`` chooses it."""
    if model.architecture.endswith("-vbr"):
        return VariableRate(model, QUALITY, "cpu")
    return CompressAI(model, "cpu")


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    """A small model whose latents spread over several steps."""
    torch.manual_seed(0)
    model = small(request.param)
    with torch.no_grad():
        last = [layer for layer in model.g_a if isinstance(layer, torch.nn.Conv2d)][-1]
        for _ in range(8):
            last.weight *= 2.5 / model.g_a(torch.rand(1, 3, 128, 128)).std()
        for layer, scales in scale_outputs(model):  # near the latents' own spread: no floor acts
            layer.bias[scales] += 2
    if not request.param.endswith("-vbr"):
        model.update(force=True, update_quantiles=True)
    model.architecture = request.param
    return model.eval()


def scale_outputs(model):
    """The layers that give scales, and which of their outputs do."""
    coders = [m for m in model.modules() if type(m).__name__ == "CheckerboardLatentCodec"]
    for coder in coders:
        layer, half = coder.entropy_parameters[-1], len(coder.entropy_parameters[-1].bias) // 2
        yield layer, slice(half) if coder["y"].chunks[0] == "scales" else slice(half, None)
    if not coders and hasattr(model, "h_s"):
        net = model.entropy_parameters if hasattr(model, "entropy_parameters") else model.h_s
        yield [layer for layer in net if hasattr(layer, "bias")][-1], slice(12)


@pytest.mark.parametrize("model", sorted(ARCHITECTURES.keys() - RASTER), indirect=True)
def test_bits_are_those_of_the_models_own_forward(model):
    codec = adapted(model)
    analysis = codec.analyse("a", IMAGE)
    with torch.inference_mode():
        likelihoods = model(codec._tensor(IMAGE), **codec.options)["likelihoods"]
    bits = {name: -value.double().log2().sum().item() for name, value in likelihoods.items()}
    assert analysis.latent_bits == pytest.approx(bits["y"], rel=1e-5)
    if not getattr(codec, "own_step", False):  # there CompressAI's cells have the wrong width
        assert analysis.side_bits == pytest.approx(bits.get("z", 0.0), rel=1e-6)
    if codec.has_context:
        assert analysis.forward_bits == pytest.approx(sum(bits.values()), rel=1e-6)


@pytest.mark.parametrize("model", sorted(RASTER - {"mbt2018-vbr"}), indirect=True)  # that rounds in line
def test_a_raster_scan_uses_the_means_of_the_real_coder(model, monkeypatch):
    codec, used = adapted(model), []
    latents = codec.analyse("a", IMAGE).latents
    quantize = model.gaussian_conditional.quantize

    def spy(inputs, mode, means):
        used.append(means[0].clone())
        return quantize(inputs, mode, means)

    monkeypatch.setattr(model.gaussian_conditional, "quantize", spy)
    codec.compress(IMAGE)
    assert torch.equal(latents.mean.flatten(1), torch.stack(used, 1))


@pytest.mark.parametrize("model", sorted(RASTER), indirect=True)
def test_what_forward_says_of_a_raster_scan_is_kept(model):
    analysis = adapted(model).analyse("a", IMAGE)
    coded = analysis.latent_bits + analysis.side_bits
    assert 0 < abs(analysis.forward_bits / coded - 1) < 0.1


@pytest.mark.parametrize(
    "model", [name for name in ARCHITECTURES if "factorized" not in name], indirect=True
)
def test_bits_from_mean_and_scale_are_the_models_where_no_floor_acts(model):
    analysis = adapted(model).analyse("a", IMAGE)
    cube = evaluate(analysis.latents, ["codec"], ["codec"], ["rounding"])
    assert cube["bits"].item() == pytest.approx(analysis.latent_bits, rel=1e-3)


def test_a_prior_that_is_no_gaussian_is_a_coordinate_of_the_quantizer_axis(model):
    """The codec's own densities; of a Gaussian codec it is rounding. Off their grid they say nothing."""
    analysis = adapted(model).analyse("a", IMAGE)
    bits = evaluate(analysis.latents, ["codec", "zero"], ["codec"], ["codec", "rounding"])["bits"][0, :, 0]
    if "factorized" in model.architecture:
        assert bits[0, 0].item() == pytest.approx(analysis.latent_bits, rel=1e-6)
        assert np.isnan(bits[1, 0]) and np.isfinite(bits[:, 1]).all()
    else:
        assert (bits[:, 0] == bits[:, 1]).all()


def test_rounded_latents_synthesise_the_decoders_image(model):
    codec = adapted(model)
    latents = codec.analyse("a", IMAGE).latents
    y_hat = (latents.y - latents.mean).round() + latents.mean
    with torch.no_grad():
        y_hat = codec.reconstruct(y_hat, latents.mean, latents.scale)
    decoded = codec.decompress(codec.compress(IMAGE))
    assert decoded.shape == IMAGE.shape
    np.testing.assert_array_equal(codec.synthesise(y_hat, *IMAGE.shape[:2]), decoded)


@pytest.mark.parametrize("model", sorted(ARCHITECTURES.keys() - CONTEXT), indirect=True)
def test_without_a_context_there_is_nothing_to_run_anew(model):
    assert adapted(model).recode is None


@pytest.mark.parametrize("model", sorted(CONTEXT), indirect=True)
def test_rounding_run_anew_through_the_context_is_the_codec_itself(model):
    codec = adapted(model)
    latents = codec.analyse("a", IMAGE).latents
    y = latents.y.flatten(1)

    def code(channels, positions, mean, scale):
        y_hat = (y[channels][:, positions] - mean).round() + mean
        return codec.reconstruct(y_hat, mean, scale)

    rounded = code(slice(None), slice(None), latents.mean.flatten(1), latents.scale.flatten(1))
    torch.testing.assert_close(codec.recode(IMAGE, code).flatten(1), rounded.detach())


@pytest.mark.parametrize("model", sorted(CONTEXT), indirect=True)
def test_a_context_run_anew_sees_what_the_test_channel_leaves(model):
    """The means that a cell was coded with are predicted again from its own y_hat."""
    codec = adapted(model)
    latents = codec.analyse("a", IMAGE).latents
    cell = Cell.from_spec({"means": {"codec": {}}, "variances": {"codec": {}}, "quantizers": {"test-channel": {}}},
                          {}, {"mean": "codec", "variance": "codec", "quantizer": "test-channel"})  # fmt: skip
    seen = {}

    def walk(code):
        def note(channels, positions, mean, scale):
            for position, column in zip(positions.tolist(), mean.T):
                seen[channels.start, position] = column
            return code(channels, positions, mean, scale)

        return codec.recode(IMAGE, note)

    sent = cell.send(cell.prepare(latents), 0.5, walk)
    stale = cell.send(cell.prepare(latents), 0.5)
    assert sent.bits != stale.bits and sent.bits == pytest.approx(stale.bits, rel=0.2)
    again = {}

    def from_y_hat(channels, positions, mean, scale):
        for position, column in zip(positions.tolist(), mean.T):
            again[channels.start, position] = column
        return sent.y_hat.flatten(1)[channels][:, positions]

    codec.recode(IMAGE, from_y_hat)
    assert seen.keys() == again.keys()
    assert all(torch.allclose(seen[key], again[key]) for key in seen)


def test_the_real_bitstream_is_as_long_as_the_model_says(model):
    codec = adapted(model)
    analysis = codec.analyse("a", IMAGE)
    stream = codec.compress(IMAGE)
    expected = analysis.latent_bits + analysis.side_bits
    assert 8 * len(stream) == pytest.approx(
        expected, rel=0.05, abs=150 + 80 * stream[8]  # strings, each with a length and an end
    )
    assert isinstance(stream, bytes)


def test_another_process_decodes_the_same_image(model, tmp_path):
    """From the bytes and a codec built anew from its weights."""
    safetensors.torch.save_file(dict(model.named_parameters()), tmp_path / "m.safetensors")
    codec, other = (
        from_checkpoint(QUALITY, model.architecture, str(tmp_path / "m.safetensors"), "cpu") for _ in "ab"
    )
    stream = codec.compress(IMAGE)
    np.testing.assert_array_equal(other.decompress(stream), codec.decompress(stream))


@pytest.mark.parametrize("form", [".safetensors", ".pt", ".pth.tar"])
def test_every_form_of_checkpoint_loads(model, form, tmp_path):
    file, state = tmp_path / f"q{QUALITY}{form}", model.state_dict()
    if form == ".safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == ".pth.tar" else state, file)
    codec = from_checkpoint(QUALITY, model.architecture, str(tmp_path / ("q{quality}" + form)), "cpu")
    expected = adapted(model).analyse("a", IMAGE)
    assert codec.analyse("a", IMAGE).latent_bits == expected.latent_bits


def test_moments_of_a_learned_density_by_sampling():
    """Inverse-transform samples of the density, on a grid of its own, have the same moments."""
    torch.manual_seed(1)
    model = ARCHITECTURES["bmshj2018-factorized"][0](8, 3)
    model.update(force=True, update_quantiles=True)
    bottleneck = model.entropy_bottleneck
    mean, scale = factorized_moments(bottleneck)
    x = torch.linspace(-400, 400, 400_001)
    with torch.no_grad():
        cumulative = (
            bottleneck._logits_cumulative(x.expand(3, 1, -1), True).sigmoid()[:, 0].double()
        )
    for channel in range(3):
        samples = np.interp((np.arange(1_000_000) + 0.5) / 1e6, cumulative[channel], x)
        assert mean[0, channel, 0, 0].item() == pytest.approx(np.median(samples), abs=0.01)
        spread = np.sqrt(np.mean((samples - np.median(samples)) ** 2))
        assert scale[0, channel, 0, 0].item() == pytest.approx(spread, rel=0.01)


def test_folding_the_gains_changes_nothing():
    torch.manual_seed(0)
    network = Gained(8, 12, [0.01, 0.1]).eval()
    network.log_inverse_gain.data += 0.3 * torch.randn(2, 12)
    x = torch.rand(1, 3, 64, 64)
    for rate in (0, 1):
        folded = load_model("mbt2018-mean", fold(network.state_dict(), rate), "test")
        with torch.no_grad():
            y = network.g_a(x) * network.log_gain[rate].exp()[:, None, None]
            torch.testing.assert_close(folded.g_a(x), y)
            inverse = network.log_inverse_gain[rate].exp()[:, None, None]
            torch.testing.assert_close(
                folded.g_s(y), network.g_s(y * inverse), atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("name", sorted(file.stem for file in EMBEDDED.glob("*.safetensors")))
def test_embedded_codec_spends_more_bits_for_better_images_at_each_quality(name):
    image = np.kron(IMAGE[::10, ::10], np.ones((10, 10, 1), np.uint8))  # something to compress
    sizes, errors = [], []
    for quality in (1, 2, 3, 4):
        codec = load(CODECS[name])(quality, "cpu")
        stream = codec.compress(image)
        sizes.append(len(stream))
        errors.append(np.square(image.astype(float) - codec.decompress(stream)).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_mistakes_are_named(model, tmp_path):
    with pytest.raises(InputError, match="no quality 9; it has 1 to 4"):
        mini_mean_scale(9)
    with pytest.raises(InputError, match="unknown architecture 'mbt2018-men'.*mbt2018-mean"):
        load_model("mbt2018-men", model.state_dict(), "x")
    with pytest.raises(InputError, match="absent.pt: cannot read"):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "absent.pt"))
    with pytest.raises(InputError, match="no quality 1"):
        safetensors.torch.save_file(model.state_dict(), tmp_path / "m.safetensors")
        from_gained(1, str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
@pytest.mark.parametrize("name", ["a.pt", "a.pth.tar", "a.safetensors"])
def test_damaged_checkpoints_are_named(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: cannot read this checkpoint"):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / name))


def test_code_in_a_checkpoint_is_not_executed(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"state_dict": Hostile()}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="cannot read"):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "a.pt"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("damage, match", [
    (lambda s: s.pop("h_s.0.weight"), "they lack h_s.0.weight"),
    (lambda s: s.update({"h_s.0.weight": torch.zeros(3, 3)}), "do not fit mbt2018-mean.*h_s.0.weight"),
    (lambda s: s["g_a.0.bias"].fill_(float("nan")), "g_a.0.bias holds values that are not finite"),
    (lambda s: s.update(extra="text"), "no state dict"),
])  # fmt: skip
def test_wrong_weights_are_named(damage, match, tmp_path):
    state = small("mbt2018-mean").state_dict()
    damage(state)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(InputError, match=match):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    "written, read", [("mbt2018", "mbt2018-mean"), ("mbt2018-mean", "bmshj2018-factorized")]
)
def test_weights_of_another_architecture_are_refused(written, read, tmp_path):
    """Even where all that the architecture wants is there."""
    torch.save(ARCHITECTURES[written][0](8, 8).state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"do not fit {read}"):
        from_checkpoint(1, read, str(tmp_path / "a.pt"), "cpu")


def test_weights_with_gains_are_no_plain_model(tmp_path):
    network = Gained(8, 12, [0.01, 0.1])
    torch.save(dict(network.named_parameters()), tmp_path / "a.pt")
    with pytest.raises(InputError, match="they have log_gain, log_inverse_gain too"):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "a.pt"), "cpu")


def test_the_gain_is_that_of_the_decoders_jacobian():
    """Column by column: what a unit of each latent changes, averaged over a channel's positions."""
    torch.manual_seed(0)
    model = ARCHITECTURES["mbt2018-mean"][0](8, 4)
    codec = CompressAI(model.double().float(), "cpu")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    latents = codec.analyse("a", image).latents
    at = ((latents.y - latents.mean).round() + latents.mean)[None]
    jacobian = torch.autograd.functional.jacobian(lambda y: codec.model.g_s(y)[..., :64, :64], at)
    exact = jacobian.square().sum((0, 1, 2, 3)).squeeze(0).mean((1, 2))
    gains = torch.stack([codec.decoder_gain(replace(latents, name=str(i)), 64, 64) for i in range(200)])
    error = gains.std(0) / 200**0.5
    assert ((gains.mean(0) - exact).abs() < 4 * error).all() and (error < 0.1 * exact).all()


def test_pretrained_without_a_network_says_which_file_to_put_where(monkeypatch, tmp_path):
    """And finds it there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    urls = {"mbt2018-mean": {"mse": {3: "http://127.0.0.1:9/mbt2018-mean-3-723404a8.pth.tar"}}}
    monkeypatch.setattr("compressai.zoo.image.model_urls", urls)
    file = tmp_path / "hub" / "checkpoints" / "mbt2018-mean-3-723404a8.pth.tar"
    with pytest.raises(InputError, match=f"no network put that file at {file}"):
        from_checkpoint(3, "mbt2018-mean", pretrained=True)
    torch.save(small("mbt2018-mean").state_dict(), file)
    assert from_checkpoint(3, "mbt2018-mean", device="cpu", pretrained=True).compress(IMAGE)
    with pytest.raises(InputError, match="no pretrained mbt2018-mean of quality 9; it has 3"):
        fetch("mbt2018-mean", 9)
    with pytest.raises(InputError, match="metric 'psnr'; .*mse"):
        fetch("mbt2018-mean", 3, "psnr")
    with pytest.raises(InputError, match="no pretrained 'elic2022-official'"):
        fetch("elic2022-official", 3)
    with pytest.raises(InputError, match="either a checkpoint or pretrained"):
        from_checkpoint(3, "mbt2018-mean")


def test_the_embedded_weights_are_small_halves():
    files = list(EMBEDDED.glob("*"))
    assert {file.suffix for file in files} == {".safetensors"}
    assert sum(file.stat().st_size for file in files) < 25e6
    for file in files:
        assert {value.dtype for value in read_state(file).values()} == {torch.float16}
