"""Training on a pretended CUDA device: the numbers of the CPU, and a host that hardly waits."""

import pytest
import torch
from pretended_cuda import counting, pretend_cuda
from small_spec import SPEC
from small_training import FILES, train_small

from rdpipe.core.errors import InputError
from rdpipe.training.crops import Crops
from rdpipe.training.model import FAMILIES, QUANTIZERS
from rdpipe.training.spec import TrainingSpec
from rdpipe.training.trainer import CHECK_EVERY, Trainer, make_fabric, train

COMBINATIONS = [
    {"mean": mean, "variance": variance, "quantizer": quantizer}
    for mean, variance in FAMILIES
    for quantizer in QUANTIZERS
    if (variance, quantizer) != ("factorized", "test-channel")
]
BATCH = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)


def spec_of(**changes):
    return TrainingSpec.from_mapping(SPEC | changes)


def losses(folder, spec):
    """Return the losses of three steps, and of one that a second trainer makes from the state."""
    folder.mkdir()
    trainer = Trainer(spec, folder, Crops(FILES, spec.crop, spec.seed))
    values = [trainer.step(BATCH)["loss"].item() for _ in range(3)]
    trainer.save()
    return [*values, Trainer(spec, folder).step(BATCH)["loss"].item()]


@pytest.mark.parametrize("axes", COMBINATIONS, ids=lambda axes: "-".join(axes.values()))
def test_every_combination_trains_and_resumes_with_the_numbers_of_the_cpu(
    tmp_path, axes, pretend_cuda
):
    on_cpu, on_cuda = (
        losses(tmp_path / device, spec_of(device=device, **axes)) for device in ("cpu", "cuda")
    )
    assert on_cuda == on_cpu


def test_stage_of_a_training_moves_to_the_card_and_back(tmp_path, pretend_cuda):
    folders = [tmp_path / name for name in ("cpu", "moved")]
    expected = train_small(folders[0], steps=4)
    train_small(folders[1], steps=2, device="cuda")
    weights = train_small(folders[1], steps=4, device="cpu")
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


@pytest.mark.parametrize("axes", COMBINATIONS[-3:], ids=lambda axes: "-".join(axes.values()))
def test_host_waits_at_most_twice_per_step(tmp_path, axes, pretend_cuda):
    trainer = Trainer(spec_of(device="cuda", **axes), tmp_path)
    trainer.step(BATCH)  # the first step decomposes the preconditioners
    for _ in range(CHECK_EVERY + 1):
        with counting() as counts:
            trainer.step(BATCH)
        assert counts.syncs <= 2, counts.where


def test_mixed_precision_trains(tmp_path, pretend_cuda):
    assert train_small(tmp_path, steps=2, device="cuda", precision="bf16-mixed")


@pytest.mark.parametrize(
    "cards, device, expected",
    [
        (0, "auto", "cpu"),
        (1, "auto", "cuda:0"),
        (1, "cpu", "cpu"),
        (1, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_training_is_on_the_requested_device(cards, device, expected):
    with pretend_cuda(cards):
        assert make_fabric(spec_of(device=device)).device == torch.device(expected)


@pytest.mark.parametrize(
    "cards, changes, message",
    [
        (0, {"device": "cuda"}, "device 'cuda' is not available .*: auto, cpu$"),
        (2, {"device": "cuda:9"}, "'cuda:9' is not available .*: auto, cpu, cuda:0, cuda:1$"),
        (2, {"device": "cuda:1", "devices": 2}, "device 'cuda:1' is one card; .* devices 2"),
        (1, {"device": "cuda", "devices": 2}, "training: devices 2: "),
    ],
)
def test_device_that_is_not_there_is_refused(cards, changes, message):
    with pretend_cuda(cards), pytest.raises(InputError, match=message):
        make_fabric(spec_of(**changes))


def test_densities_have_their_width_before_the_model_is_distributed(tmp_path, monkeypatch):
    """Processes get the numbers of the first one when the model is distributed, not later."""
    spec, distributed = spec_of(mean="zero", variance="factorized", steps=1), []
    monkeypatch.setattr(
        "lightning_fabric.Fabric.setup",
        lambda fabric, model, _: distributed.append(model.entropy_bottleneck.matrices[0].clone()),
    )
    for crops in (None, Crops(FILES, spec.crop, spec.seed)):
        with pytest.raises(TypeError):  # there is no model to go on with
            Trainer(spec, tmp_path, crops)
    untrained, wide = distributed
    assert not torch.equal(untrained, wide)


def test_scalars_and_state_of_a_whole_training(tmp_path, pretend_cuda):
    with counting() as counts:
        assert train(spec_of(device="cuda", steps=6), FILES, tmp_path) is not None
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 6
    assert counts.kernels > 6000
