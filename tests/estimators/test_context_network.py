"""The context network: what it learns, and what it sees."""

import numpy as np
import pytest
import torch
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.estimators.context_network import NetworkMean
from rdpipe.estimators.means import CodecMean
from rdpipe.estimators.variances import CodecVariance
from rdpipe.quantizers.scalar import Rounding

WHITE = torch.arange(32)[:, None].add(torch.arange(32)) % 2 == 1
"""White positions of a checkerboard."""


def checkerboard_field(seed):
    """Return latents whose white positions are the mean of their independent black neighbors."""
    y = 20 * normal((2, 32, 32), seed)
    around = torch.nn.functional.pad(y, (1, 1, 1, 1))
    mean_of_four = (
        around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + around[:, 1:-1, 2:]
    ) / 4
    return make_latents(torch.where(WHITE, mean_of_four, y))


@pytest.fixture(scope="module")
def trained():
    """Return a network that is trained on such fields."""
    images = [checkerboard_field(seed) for seed in range(8)]
    state = NetworkMean(groups=1, width=24, steps=400).fit(images).state()
    return NetworkMean(groups=1, width=24, steps=400).load_state(state)


def test_network_learns_the_dependence_on_neighbors(trained):
    image = checkerboard_field(99)
    residual = make_cell(trained, CodecVariance(), Rounding()).prepare(image).residual
    before, after = (values[:, WHITE].square().mean().item() for values in (image.y, residual))
    assert before == pytest.approx(100, rel=0.2) and after < 0.1 * before
    torch.testing.assert_close(residual[:, ~WHITE], image.y[:, ~WHITE], atol=3.0, rtol=0)


def test_network_sees_only_decoded_elements(trained):
    cell = make_cell(trained, CodecVariance(), Rounding())
    y = checkerboard_field(5).y
    changed = y.clone()
    changed[:, 3, 4] += 50  # white, decoded last
    first, second = (
        cell.code(cell.prepare(make_latents(values)), 1.0).y_hat for values in (y, changed)
    )
    different = (first != second).nonzero()
    assert set(map(tuple, different.tolist())) == {(0, 3, 4), (1, 3, 4)}


def test_network_begins_as_the_codec_mean():
    estimator = NetworkMean(groups=2, width=4, steps=1)
    image = make_latents(normal((4, 6, 6)), mean=0.3)
    state = estimator.fit([image]).state()
    assert all(np.isfinite(array).all() for array in state.values())
    state["4_weight"][:], state["4_bias"][:] = 0, 0
    estimator.load_state(state)
    cells = [make_cell(mean, CodecVariance(), Rounding()) for mean in (estimator, CodecMean())]
    first, second = (cell.code(cell.prepare(image), 1.0) for cell in cells)
    assert first.bits == pytest.approx(second.bits, rel=1e-12)


@pytest.mark.parametrize("setting", ["groups", "width", "steps"])
def test_settings_must_be_positive_integers(setting):
    with pytest.raises(InputError, match=f"network: {setting} is 0; expected 1, 2, 3, ..."):
        NetworkMean(**{setting: 0})
