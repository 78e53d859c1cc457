"""Checkpoints: every format loads, and what does not fit is named."""

import argparse

import pytest
import safetensors.torch
import torch
from small_models import IMAGE, QUALITY, adapt, bits_of, small_model, wholes_of

from rdpipe.codecs import EMBEDDED
from rdpipe.codecs.compressai import from_checkpoint, from_training
from rdpipe.codecs.compressai.checkpoint import (
    ARCHITECTURES,
    architecture_of,
    fetch,
    fold,
    load_model,
    read_state,
)
from rdpipe.core.errors import InputError
from rdpipe.training.model import FAMILIES, VariableRateModel


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth.tar"])
def test_every_format_loads(model, architecture, suffix, tmp_path):
    file, state = tmp_path / f"q{QUALITY}{suffix}", model.state_dict()
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if suffix == ".pth.tar" else state, file)
    pattern = str(tmp_path / ("q{quality}" + suffix))
    codec = from_checkpoint(QUALITY, architecture, pattern, "cpu")
    assert bits_of(wholes_of(codec)) == bits_of(wholes_of(adapt(model)))


def prefixed(prefix):
    """Return a function that adds a prefix to all names."""
    return lambda state: {prefix + name: value for name, value in state.items()}


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3, "loss": torch.tensor(1.5), "optimizer": OPTIMIZER},
        lambda s: {"model_state_dict": s, "epoch": 1},
        lambda s: {"model": s},
        lambda s: {"net": s},
        lambda s: {"weights": s, "optimizer": OPTIMIZER},
        lambda s: {"state_dict": s, "ema_state_dict": {k: 2 * v for k, v in s.items()}},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("model."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        prefixed("model.module._orig_mod."),
        prefixed("module.model."),
        prefixed("lightning.codec."),
        lambda s: {
            k.replace("g_a.", "g_a._orig_mod.").replace("h_s.", "h_s.module."): s[k] for k in s
        },
        lambda s: {"net": prefixed("model._orig_mod.")(s)},
    ],
)
def test_weights_are_found_as_training_scripts_save_them(wrap, tmp_path):
    state = small_model("mbt2018-mean").state_dict()
    torch.save(wrap(state), tmp_path / "a.pt")
    read = read_state(tmp_path / "a.pt")
    assert list(read) == list(state) and all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "wrap, message",
    [
        (lambda s: {"model": s, "net": s}, "several state dicts: model, net; expected one"),
        (lambda s: {"raw": s, "ema": s, "step": 1}, "several state dicts: raw, ema; expected one"),
        (
            lambda s: {**prefixed("model.")(s), **prefixed("ema.")(s)},
            "several networks: ema.g_a, model.g_a; expected one",
        ),
        (lambda s: {**s, **prefixed("module.")(s)}, "with and without the prefix of a wrapper"),
        (lambda s: {"args": {"lr": 1}, "epoch": 3}, "is not a state dict.*; found: args, epoch"),
        (
            lambda s: {**prefixed("model.")(s), "metric.total": torch.zeros(1)},
            "unexpected metric.total",
        ),
        (
            lambda s: {"args": argparse.Namespace(lr=1), "state_dict": s},
            "found: argparse.Namespace",
        ),
        (lambda s: {"g_s.0.weight": s["g_s.0.weight"]}, "mbt2018-mean: missing g_a.0.weight$"),
    ],
)
def test_checkpoint_without_exactly_one_network_is_refused(wrap, message, tmp_path):
    torch.save(wrap(small_model("mbt2018-mean").state_dict()), tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "a.pt"), "cpu")


@pytest.mark.parametrize("name", ["cheng2020-anchor-checkerboard", "elic2022-official"])
def test_layout_of_later_versions_of_compressai_is_renamed(name, tmp_path):
    state = small_model(name).state_dict()
    later = {
        k.replace("hyper.entropy_bottleneck", "z.entropy_bottleneck").replace("hyper.h_", "h_"): v
        for k, v in state.items()
    }
    assert {"latent_codec.h_a.0.weight", "latent_codec.z.entropy_bottleneck.quantiles"} <= set(
        later
    )
    weights = load_model(name, later, "test").state_dict()
    parameters = dict(small_model(name).named_parameters())
    assert all(torch.equal(weights[parameter], state[parameter]) for parameter in parameters)


def test_home_is_expanded_in_the_name_of_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(small_model("mbt2018-mean").state_dict(), tmp_path / "q2.pt")
    assert from_checkpoint(2, "mbt2018-mean", "~/q{quality}.pt", "cpu").compress(IMAGE)
    with pytest.raises(InputError, match=f"{tmp_path}/q3.pt: cannot read"):
        from_training(3, "~/q{quality}.pt")


def test_folded_gains_do_not_change_the_transforms():
    torch.manual_seed(0)
    network = VariableRateModel(8, 12, [0.01, 0.1]).eval()
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


@pytest.mark.parametrize("mean, variance", FAMILIES)
def test_architecture_of_trained_weights_is_that_of_the_family(mean, variance):
    state = VariableRateModel(8, 12, [0.01], mean, variance).state_dict()
    assert ARCHITECTURES[architecture_of(state)][0] is FAMILIES[mean, variance]


def test_unknown_architecture_is_refused(model):
    with pytest.raises(InputError, match="unknown architecture 'mbt2018-men'.*mbt2018-mean"):
        load_model("mbt2018-men", model.state_dict(), "x")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.pt: cannot read"):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "absent.pt"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
@pytest.mark.parametrize("name", ["a.pt", "a.pth.tar", "a.safetensors"])
def test_damaged_file_is_named(content, name, tmp_path):
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


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda s: s.pop("h_s.0.weight"), "missing h_s.0.weight"),
        (
            lambda s: s.update({"h_s.0.weight": torch.zeros(3, 3)}),
            "do not fit mbt2018-mean.*h_s.0.weight",
        ),
        (
            lambda s: s["g_a.0.bias"].fill_(float("nan")),
            "g_a.0.bias has values that are not finite",
        ),
        (lambda s: s.update(extra="text"), "is not a state dict"),
    ],
)
def test_wrong_weights_are_named(damage, message, tmp_path):
    state = small_model("mbt2018-mean").state_dict()
    damage(state)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    "written, read", [("mbt2018", "mbt2018-mean"), ("mbt2018-mean", "bmshj2018-factorized")]
)
def test_weights_of_another_architecture_are_refused(written, read, tmp_path):
    """Even if they contain all weights of the architecture."""
    torch.save(ARCHITECTURES[written][0](8, 8).state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"do not fit {read}"):
        from_checkpoint(1, read, str(tmp_path / "a.pt"), "cpu")


def test_weights_with_gains_are_not_a_plain_model(tmp_path):
    network = VariableRateModel(8, 12, [0.01, 0.1])
    torch.save(dict(network.named_parameters()), tmp_path / "a.pt")
    with pytest.raises(InputError, match="unexpected log_gain, log_inverse_gain"):
        from_checkpoint(1, "mbt2018-mean", str(tmp_path / "a.pt"), "cpu")


def test_without_a_network_the_error_names_the_file_to_provide(monkeypatch, tmp_path):
    """The file is used as soon as it is there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    urls = {"mbt2018-mean": {"mse": {3: "http://127.0.0.1:9/mbt2018-mean-3-723404a8.pth.tar"}}}
    monkeypatch.setattr("compressai.zoo.image.model_urls", urls)
    file = tmp_path / "hub" / "checkpoints" / "mbt2018-mean-3-723404a8.pth.tar"
    with pytest.raises(InputError, match=f"without a network, put that file at {file}"):
        from_checkpoint(3, "mbt2018-mean", pretrained=True)
    torch.save(small_model("mbt2018-mean").state_dict(), file)
    assert from_checkpoint(3, "mbt2018-mean", device="cpu", pretrained=True).compress(IMAGE)
    with pytest.raises(
        InputError, match="no pretrained mbt2018-mean of quality 9; expected one of: 3"
    ):
        fetch("mbt2018-mean", 9)
    with pytest.raises(InputError, match="metric 'psnr'; .*mse"):
        fetch("mbt2018-mean", 3, "psnr")
    with pytest.raises(InputError, match="no pretrained 'elic2022-official'"):
        fetch("elic2022-official", 3)
    with pytest.raises(InputError, match="either a checkpoint or pretrained"):
        from_checkpoint(3, "mbt2018-mean")


def test_embedded_weights_are_small_and_float16():
    files = list(EMBEDDED.glob("*"))
    assert {file.suffix for file in files} == {".safetensors"}
    assert sum(file.stat().st_size for file in files) < 25e6
    for file in files:
        assert {value.dtype for value in read_state(file).values()} == {torch.float16}
