"""What only a real card can show."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import IMAGE, QUALITY, REPRESENTATIVE, coding_model, y_of
from small_spec import SPEC

from rdpipe.codecs.compressai import adapt_model
from rdpipe.core.device import memory_message, use_full_precision
from rdpipe.training.card_crops import CardCrops
from rdpipe.training.crops import Crops
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import make_model, train

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


def spec_of(**changes):
    return TrainingSpec.from_mapping({**SPEC, "device": "cuda", **changes})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of noise in three sizes of grain."""
    folder, generator = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    for grain in (1, 4, 16):
        noise = torch.randint(256, (1, 3, 128 // grain, 128 // grain), generator=generator)
        pixels = torch.nn.functional.interpolate(noise.float(), size=128)[0].permute(1, 2, 0)
        Image.fromarray(pixels.byte().numpy()).save(folder / f"{grain}.png")
    return sorted(folder.iterdir())


def test_crops_of_the_card_are_those_of_the_cpu(files):
    crops = Crops(files, 64, 5)
    batch = CardCrops.load(crops, torch.device("cuda", 0)).batch(range(64)).cpu().numpy()
    differences = batch.astype(int) - np.stack([crops[i] for i in range(64)])
    assert np.abs(differences).max() <= 1 and (differences != 0).mean() < 1e-4


@pytest.mark.parametrize("architecture", REPRESENTATIVE)
def test_tables_of_the_coder_are_read_on_the_cpu(architecture):
    codec = adapt_model(coding_model(architecture), QUALITY, "cuda")
    tables = [b for name, b in codec.model.named_buffers() if name.endswith("_quantized_cdf")]
    assert tables and {table.device.type for table in tables} == {"cpu"}


@pytest.mark.parametrize("devices", [1, 2])
def test_training_resumes_on_the_card(tmp_path, files, devices):
    if torch.cuda.device_count() < devices:
        pytest.skip(f"this machine has no {devices} cards")
    for steps in (4, 8):
        spec = spec_of(steps=steps, precision="bf16-mixed", devices=devices)
        weights = train(spec, files, tmp_path)
    assert all(weight.isfinite().all() for weight in weights.values())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 8


def test_compiled_network_has_the_loss_of_the_eager_one():
    model = make_model(spec_of()).cuda().eval()
    x, rate = torch.rand(2, 3, 64, 64, device="cuda"), torch.tensor([0, 1], device="cuda")
    eager = model(x, rate)
    model.compile()
    compiled = model(x, rate)
    torch.testing.assert_close(compiled["bits"], eager["bits"], rtol=1e-3, atol=0)
    torch.testing.assert_close(compiled["x_hat"], eager["x_hat"], rtol=1e-3, atol=1e-3)


def test_memory_that_does_not_suffice_is_said():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert memory_message(error.value) is not None
