"""Checkpoints: every format loads, and what does not fit is named."""

import pytest
import safetensors.torch
import torch
from small_models import IMAGE, QUALITY, adapt, small_model

from rdpipe.codecs.compressai import from_checkpoint
from rdpipe.codecs.compressai.checkpoint import (
    ARCHITECTURES,
    EMBEDDED,
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
    expected = adapt(model).analyse("a", IMAGE)
    assert codec.analyse("a", IMAGE).latent_bits == expected.latent_bits


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


def test_unknown_rate_is_refused():
    with pytest.raises(IndexError, match="rate 2 does not exist; expected 0 to 1"):
        fold(VariableRateModel(8, 12, [0.01, 0.1]).state_dict(), 2)


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
