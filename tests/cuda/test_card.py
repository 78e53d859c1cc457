"""What only a real card can show."""

import pytest
import torch
from small_models import IMAGE, QUALITY, REPRESENTATIVE, coding_model, y_of
from small_training import train_small

from rdpipe.codecs.compressai import adapt_model
from rdpipe.core.device import use_full_precision

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.fixture(autouse=True)
def full_precision():
    use_full_precision()


@pytest.mark.parametrize("architecture", REPRESENTATIVE)
def test_latents_are_those_of_the_cpu_and_the_same_in_two_runs(architecture):
    on_cpu, first, second = (
        y_of(adapt_model(coding_model(architecture), QUALITY, device)).y
        for device in ("cpu", "cuda", "cuda")
    )
    assert torch.equal(first, second)
    assert torch.allclose(on_cpu, first, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", REPRESENTATIVE)
def test_bytes_decode_on_the_card(architecture):
    codec = adapt_model(coding_model(architecture), QUALITY, "cuda")
    assert codec.decompress(codec.compress(IMAGE)).shape == IMAGE.shape


def test_training_resumes_on_the_card(tmp_path):
    train_small(tmp_path, steps=4, device="cuda", precision="bf16-mixed")
    weights = train_small(tmp_path, steps=8, device="cuda", precision="bf16-mixed")
    assert all(weight.isfinite().all() for weight in weights.values())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 8
