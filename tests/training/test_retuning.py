"""Training of codecs from their own weights: known answers, and every architecture."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import (
    ARCHITECTURES,
    IMAGE,
    REPRESENTATIVE,
    VARIABLE_RATE,
    adapt,
    coding_model,
    small_model,
)
from small_training import FILES
from torch import nn

from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.compressai.checkpoint import load_model
from rdpipe.codecs.linear import covariance, dct, klt, random_transform
from rdpipe.core.errors import InputError
from rdpipe.core.running import decode_image, run
from rdpipe.core.walk import Walk
from rdpipe.datasets import gaussian_field
from rdpipe.entropy.priors import Gaussian
from rdpipe.evaluation.cell_walk import CellOfLatent, CellWalk
from rdpipe.theory import field_rate, field_spectrum
from rdpipe.training.relaxed_walk import RelaxedWalk
from rdpipe.training.retuning import RetuningTrainer, check_trainable, make_cell, shapes_of
from rdpipe.training.spec import RetuningSpec
from rdpipe.training.trainer import train

THETA = 1 / 12
SIGMA, BLOCK, SIDE = 40.0, 4, 128
ALL = ["decoder", "encoder", "prior"]
SPEC = {
    "train": ["decoder"],
    "quantizer": "test-channel",
    "level": THETA,
    "lambdas": [0.01],
    "steps": 2,
    "batch": 1,
    "crop": 64,
    "learning_rate": 0.01,
    "seed": 0,
    "save_every": 1000,
}


def specification(**changes):
    """Return a specification with some changes."""
    values = {**SPEC, **changes}
    quantizers = {values["quantizer"]: {}}
    return RetuningSpec.from_mapping({"quantizers": quantizers, **values})


def retune(codec, folder, files=FILES, **changes):
    """Train a codec; return its weights."""
    make_trainer = partial(RetuningTrainer, codec=codec)
    return train(specification(**changes), files, folder, make_trainer)


def fields(rho, count=1):
    """Return AR(1) fields in the place of files."""
    sources = gaussian_field.find(size=SIDE, count=count, rho=rho, sigma=SIGMA, seed=5)
    return [Path(source.file) for source in sources]


def blocks_of(file):
    """Return the blocks of a field, one per column."""
    field = gaussian_field.draw(str(file))[..., 0].astype(float)
    rows = SIDE // BLOCK
    return field.reshape(rows, BLOCK, rows, BLOCK).transpose(1, 3, 0, 2).reshape(BLOCK**2, -1)


def channel(codec, weights, matrix):
    """Return the mean squared error and the rate of a linear codec with the test channel.

    Blocks have the covariance ``matrix``. All moments of y_hat = A y + noise are known.
    """
    T, S = weights["analysis"].numpy() / codec.step, weights["synthesis"].numpy() * codec.step
    v = (codec.scale.numpy() * np.exp(weights["log_factor"].numpy())) ** 2
    a, moment = np.maximum(0, 1 - THETA / v), np.diag(T @ matrix @ T.T)
    nats = np.where(v > THETA, np.log(v / THETA) + (THETA + a * moment) / v - 1, 0) / 2
    cross, auto = channel_moments(T, a, matrix)
    mse = np.trace(matrix) - 2 * np.trace(S @ cross.T) + np.trace(S @ auto @ S.T)
    return mse / len(v), nats.sum() / np.log(2) / len(v)


def channel_moments(T, a, matrix):
    """Return E[x y_hat'] and E[y_hat y_hat'] of the test channel."""
    A = np.diag(a)
    return matrix @ T.T @ A, A @ T @ matrix @ T.T @ A + np.diag(THETA * a)


def test_linear_decoder_becomes_the_wiener_solution(tmp_path):
    """The coefficients of a DCT are correlated, so the best decoder is not its transpose."""
    (file,), codec = fields(0.9), dct(1, [60.0], SIGMA, BLOCK, SIDE, rho=0.9)
    sample = blocks_of(file)
    matrix = sample @ sample.T / sample.shape[1]
    codec.network["synthesis"].mul_(0.9)
    start = codec.checkpoint()
    trained = retune(codec, tmp_path, [file], steps=300, crop=SIDE, learning_rate=0.02)
    for name in ("analysis", "log_factor"):
        assert torch.equal(trained[name], start[name])
    a = np.maximum(0, 1 - THETA / codec.scale.numpy() ** 2)
    cross, auto = channel_moments(start["analysis"].numpy() / codec.step, a, matrix)
    wiener = cross @ np.linalg.pinv(auto) / codec.step
    best, before, after = (
        channel(codec, {**start, "synthesis": torch.from_numpy(S)}, matrix)[0]
        for S in (wiener, start["synthesis"].numpy(), trained["synthesis"].numpy())
    )
    orthonormal = channel(codec, {**start, "synthesis": start["analysis"].T}, matrix)[0]
    assert best < orthonormal < before
    assert best <= after < best + 0.1 * (orthonormal - best)


@pytest.mark.parametrize("quantizer", ["rounding", "deadzone", "lattice-e8", "trellis"])
def test_linear_decoder_becomes_the_regression_on_what_a_quantizer_leaves(tmp_path, quantizer):
    (file,), codec = fields(0.9), dct(1, [60.0], SIGMA, BLOCK, SIDE, rho=0.9)
    image = gaussian_field.draw(str(file))
    trained = retune(codec, tmp_path, [file], quantizer=quantizer, level=1.0, steps=200, crop=SIDE)
    y_hat = y_hat_of(codec, image, specification(quantizer=quantizer, level=1.0))
    x = blocks_of(file)
    solution = np.linalg.lstsq(y_hat.T, x.T, rcond=None)[0].T

    def error(decoder):
        return np.square(x - decoder @ y_hat).mean()

    before = error(codec.network["analysis"].detach().numpy().T * codec.step)
    after, best = error(trained["synthesis"].numpy() * codec.step), error(solution)
    assert best <= after < best + 0.2 * (before - best)


def y_hat_of(codec, image, spec):
    """Return the latents that a quantizer leaves of a field, one block per column."""
    tensor = torch.from_numpy(image)[None, None, ..., 0]
    shapes = shapes_of(codec, tensor)
    cell = make_cell(spec).at_level(spec.level)
    decoded = []

    class Recording(CellWalk):
        def decode(self, part):
            decoded.append(super().decode(part))
            return decoded[-1]

    walk = Recording({"y": CellOfLatent(cell, spec.level, 0, shapes["y"])})
    run(codec, walk, image)
    return decoded[0][0].flatten(1).detach().numpy()


@pytest.mark.parametrize("slope", [0.002, 0.02])
@pytest.mark.parametrize("rho", [0.5, 0.95])
@pytest.mark.parametrize("start", [klt, random_transform])
def test_joint_bound_reaches_reverse_water_filling(tmp_path, start, rho, slope):
    """On the R(D) of the blocks, dR/dD = -slope where D = 1 / (2 ln 2 slope)."""
    step = (1 / THETA / (2 * np.log(2) * slope)) ** 0.5
    codec = start(1, [step], SIGMA, BLOCK, SIDE, rho=rho)
    matrix = covariance(SIGMA**2 * field_spectrum(SIDE, rho), BLOCK)
    trained = retune(
        codec, tmp_path, fields(rho, 8), train=ALL, lambdas=[slope], steps=400, crop=SIDE
    )
    mse, rate = channel(codec, trained, matrix)
    limit = field_rate(np.linalg.eigvalsh(matrix), mse)
    assert limit <= rate < 1.05 * limit
    if start is random_transform:
        mse, rate = channel(
            codec, random_transform(1, [step], SIGMA, BLOCK, SIDE, rho=rho).checkpoint(), matrix
        )
        assert rate > 1.1 * field_rate(np.linalg.eigvalsh(matrix), mse)


def test_relaxed_walk_has_rate_and_distortion_of_the_simulated_channel():
    codec, image = mini_mean_scale(2, "cpu"), np.repeat(np.repeat(IMAGE, 2, 0), 2, 1)
    relaxed, walk = RelaxedWalk("test-channel", THETA), Walk()
    with torch.no_grad():
        first = decode_image(codec, relaxed, image)
    run(codec, walk, image)
    side = sum(
        part.part.prior.bits(part.part.point(part.index)).sum()
        for part in walk.record
        if part.part.side
    )
    (part,) = (coded.part for coded in walk.record if not coded.part.side)
    cell = make_cell(specification())
    simulated = CellWalk({"y": CellOfLatent(cell, THETA, 0, tuple(part.y.shape[1:]))})
    second = decode_image(codec, simulated, image)
    torch.testing.assert_close(simulated.bits, (relaxed.bits - side).item(), rtol=0.02, atol=0)
    errors = [np.square(image - decoded.astype(float)).mean() for decoded in (first, second)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def changed_parts(codec, before, after):
    """Return the parts of a codec whose weights differ, and the parameters that do not."""
    names = [name.replace(".transform.", ".") for name, _ in codec.network.named_parameters()]
    return {codec.part_of(name) for name in names if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoder_of_every_architecture_is_retuned_and_opens_in_compressai(tmp_path, architecture):
    model = coding_model(architecture)
    model(torch.zeros(1, 3, 64, 64))  # masked convolutions set their weights to 0
    codec, before = adapt(model), model.state_dict()
    own_bytes = codec.compress(IMAGE)
    trained = retune(codec, tmp_path)
    assert changed_parts(codec, before, trained) == {"decoder"}
    opened = load_model(architecture, trained, "here")
    if architecture not in VARIABLE_RATE:
        opened = small_model(architecture)
        opened.load_state_dict(dict(trained))
    retuned = adapt(opened.eval())
    loaded = adapt(model)
    loaded.load_checkpoint(trained)
    assert retuned.compress(IMAGE) == own_bytes == loaded.compress(IMAGE)
    picture = loaded.decompress(own_bytes)
    np.testing.assert_array_equal(picture, retuned.decompress(own_bytes))
    assert (picture != adapt(model).decompress(own_bytes)).any()


@pytest.mark.parametrize("architecture", REPRESENTATIVE[:-1])
def test_all_parts_are_trained_and_open_in_compressai(tmp_path, architecture):
    model = coding_model(architecture)
    codec, before = adapt(model), model.state_dict()
    trained = retune(codec, tmp_path, train=ALL, quantizer="rounding", level=1.0)
    assert changed_parts(codec, before, trained) == {*ALL, None}  # None: solved for
    opened = small_model(architecture)
    opened.load_state_dict(dict(trained))
    loaded = adapt(model)
    loaded.load_checkpoint(trained)
    stream = loaded.compress(IMAGE)
    np.testing.assert_array_equal(
        loaded.decompress(stream), adapt(opened.eval()).decompress(stream)
    )


def test_checkpoint_is_read_by_from_state_dict(tmp_path):
    model = coding_model("mbt2018-mean")
    trained = retune(adapt(model), tmp_path)
    opened = type(model).from_state_dict(dict(trained)).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        codec = adapt(model)
        codec.load_checkpoint(trained)
        torch.testing.assert_close(opened(x)["x_hat"], codec.forward(x))


def test_interrupted_training_gives_the_same_weights(tmp_path):
    """Stopped after the first of two states, it continues with a codec that is new."""
    whole = retune(mini_mean_scale(1, "cpu"), tmp_path / "whole", steps=4)
    with pytest.raises(KeyboardInterrupt):
        train(
            specification(steps=4, save_every=2),
            FILES,
            tmp_path / "parts",
            partial(StoppedTrainer, codec=mini_mean_scale(1, "cpu")),
        )
    state = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)
    assert state["step"] == 2
    again = retune(mini_mean_scale(1, "cpu"), tmp_path / "parts", steps=4)
    assert all(torch.equal(value, whole[name]) for name, value in again.items())


class StoppedTrainer(RetuningTrainer):
    """A trainer that is interrupted in its fourth step."""

    def step(self, batch):
        if self.step_count == 3:
            raise KeyboardInterrupt
        return super().step(batch)


class UserCodec(nn.Module):
    """A small codec of a user with one latent."""

    multiple, device = 8, "cpu"

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 8, 8), nn.ConvTranspose2d(4, 3, 8, 8)
        self.log_scale = nn.Parameter(torch.zeros(4))

    def code(self, image, size, send):
        y = None if image is None else 10 * self.down(image)
        scale = self.log_scale.exp()[:, None, None].expand(1, -1, size[0] // 8, size[1] // 8)
        return self.up(send("y", Gaussian(torch.zeros_like(scale), scale), y))

    @property
    def network(self):
        return self

    def part_of(self, weight):
        return {"down": "encoder", "up": "decoder"}.get(weight.partition(".")[0], "prior")

    def checkpoint(self):
        return {name: value.detach().clone() for name, value in self.state_dict().items()}

    def load_checkpoint(self, weights):
        self.load_state_dict(weights)


@pytest.mark.parametrize("parts", [["decoder"], ["prior"], ALL])
def test_codec_of_a_user_is_trained(tmp_path, parts):
    codec = UserCodec()
    before = codec.checkpoint()
    after = retune(codec, tmp_path, train=parts)
    assert changed_parts(codec, before, after) == set(parts)


class NormalizingCodec(UserCodec):
    """A codec whose analysis has running means."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(self.down, nn.BatchNorm2d(4))


@pytest.mark.parametrize("parts, changed", [(["decoder"], False), (ALL, True)])
def test_running_means_change_only_where_weights_are_trained(tmp_path, parts, changed):
    codec = NormalizingCodec()
    before = codec.checkpoint()
    after = retune(codec, tmp_path, train=parts)
    differs = [not torch.equal(before[n], after[n]) for n in before if "running" in n]
    assert differs == [changed, changed]


@pytest.mark.parametrize(
    "make, changes, message",
    [
        (lambda: object(), {}, "object cannot be trained; expected a codec of CompressAI"),
        (UserCodec, {"crop": 63}, "crop 63 is not a size of images of UserCodec; expected 64"),
        (UserCodec, {"train": ALL, "quantizer": "lattice-e8"}, "'lattice-e8' has no gradient"),
        (UserCodec, {"quantizer": "lattice-e9"}, "unknown quantizer 'lattice-e9'; did you mean"),
        (
            partial(adapt, coding_model("mbt2018-vbr")),
            {"train": ALL},
            "VariableRateCodec has no weights of its encoder and prior to train",
        ),
        (
            partial(adapt, coding_model("bmshj2018-factorized")),
            {"train": ALL},
            "latent 'y' has a Learned prior; expected a Gaussian for the test channel",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, make, changes, message):
    codec = make()
    with pytest.raises(InputError, match=message):
        retune(check_trainable(codec, specification(**changes)), tmp_path, **changes)
