"""The order of coding, and what causal estimators see."""

import pytest
import torch
from gaussian_latents import make_cell, make_latents, normal
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.core.errors import InputError
from rdpipe.estimators.base import CausalEstimator, Mean, Variance
from rdpipe.estimators.causal import CausalContext, channel_blocks, residuals, traverse, waves
from rdpipe.estimators.means import CodecMean, LinearCausalMean
from rdpipe.estimators.variances import CausalWindowVariance, CodecVariance
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel


@given(
    st.integers(1, 9), st.integers(1, 7), st.integers(1, 8), st.integers(1, 4), st.integers(0, 3)
)
def test_waves_visit_every_element_once(channels, rows, columns, groups, radius):
    count = torch.zeros(channels, rows * columns)
    for part, positions in waves((channels, rows, columns), groups, radius):
        count[part, positions] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_wave_depends_only_on_earlier_waves(radius):
    rows, columns = 6, 9
    number = torch.empty(rows * columns)
    for i, (_, positions) in enumerate(waves((1, rows, columns), 1, radius)):
        number[positions] = i
    number = number.view(rows, columns)
    for i in range(rows):
        for j in range(columns):
            past = [(i, j - k) for k in range(1, radius + 1)]
            past += [
                (i - k, j + d) for k in range(1, radius + 1) for d in range(-radius, radius + 1)
            ]
            assert all(number[p] < number[i, j] for p in past if p[0] >= 0 and 0 <= p[1] < columns)


def test_blocks_cover_all_channels():
    for shape in ((1, 1), (7, 10_000), (3, 100_000)):
        array = torch.zeros(shape)
        blocks = list(channel_blocks(array))
        assert torch.cat([array[block] for block in blocks]).shape == array.shape


def test_context_is_zero_where_nothing_is_decoded():
    context = CausalContext(torch.ones(2, 3, 4), 2)
    context.move_to(torch.tensor([5]))
    context.update(slice(1, 2), torch.tensor([[3.0]]).double(), torch.tensor([[2.0]]).double())
    context.move_to(torch.tensor([5, 6, 10, 0]))
    energy = context.gather(context.normalized_energy, slice(0, 2), [(0, 0), (0, -1), (-1, -1)])
    assert energy[1].tolist() == [[4, 0, 0], [0, 4, 0], [0, 0, 4], [0, 0, 0]]
    assert (energy[0] == 0).all() and context.decoded.sum() == 1


@pytest.mark.parametrize("quantizer", [Rounding(), TestChannel()])
@pytest.mark.parametrize("causal", ["mean", "variance"])
def test_nothing_depends_on_elements_that_are_coded_later(quantizer, causal):
    """Causal estimators see the output of the quantizer: a later change alters no earlier y_hat."""
    y = 5 * normal((4, 7, 8), 5)
    mean, variance = CodecMean(), CodecVariance()
    if causal == "mean":
        mean = LinearCausalMean(groups=2).fit([make_latents(y)])
    else:
        variance = CausalWindowVariance(5, towards="codec")
    cell = make_cell(mean, variance, quantizer)
    changed = y.clone()
    changed[2:, 3, 4] += 50
    first, second = (
        cell.code(cell.prepare(make_latents(values)), 0.1).y_hat for values in (y, changed)
    )
    order = list(waves(y.shape, mean.groups if causal == "mean" else 1, 2))
    current = next(
        i for i, (channels, p) in enumerate(order) if channels.stop > 2 and 3 * 8 + 4 in p
    )
    for channels, positions in order[:current]:
        assert torch.equal(
            first.flatten(1)[channels, positions], second.flatten(1)[channels, positions]
        )
    assert not torch.equal(first, second)


class West(Mean, CausalEstimator):
    """The decoded value to the left, or what a test wants instead."""

    information = "decodable"
    radius = 1
    groups = 1

    def __init__(self, change=lambda value: value):
        self.change = change

    def __call__(self, latents):
        return torch.zeros_like(latents.y)

    def predict(self, context, initial, channels, positions):
        west = context.gather(context.deviation, channels, [(0, -1)])[..., 0]
        return self.change(initial + west)


class Energy(Variance, CausalEstimator):
    """A constant variance, or what a test wants instead."""

    information = "decodable"
    radius = 1

    def __init__(self, value):
        self.value = value

    def __call__(self, latents, residual):
        return torch.ones_like(residual), 0.0

    def predict(self, context, initial, channels, positions):
        return torch.full_like(initial, self.value)


def test_residuals_of_a_causal_mean_are_those_that_rounding_leaves():
    y = 4 * normal((2, 4, 5), 1)
    rounded, expected = torch.zeros_like(y), torch.zeros_like(y)
    for j in range(5):
        mu = rounded[:, :, j - 1] if j else torch.zeros(2, 4).double()
        expected[:, :, j] = y[:, :, j] - mu
        rounded[:, :, j] = mu + expected[:, :, j].round()
    torch.testing.assert_close(residuals(West(), y, 0 * y), expected)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: x * torch.nan, "West.predict returned numbers that are not finite"),
        (
            lambda x: x[:1, :1] * torch.ones(3, 1),
            r"West.predict returned a tensor of shape \(3, 1\)",
        ),
        (lambda x: x.numpy(), "West.predict returned a ndarray; expected a torch.Tensor"),
        (lambda x: x.long(), "West.predict returned a tensor of torch.int64"),
    ],
)
def test_invalid_prediction_of_a_causal_mean_is_refused(change, message):
    cell = make_cell(West(change), CodecVariance(), Rounding())
    with pytest.raises(InputError, match=message):
        cell.code(cell.prepare(make_latents(normal((2, 3, 4)))), 1.0)


@pytest.mark.parametrize("value", [-1.0, torch.nan, torch.inf])
def test_invalid_prediction_of_a_causal_variance_is_refused(value):
    cell = make_cell(CodecMean(), Energy(value), Rounding())
    with pytest.raises(InputError, match=f"Energy.predict returned {value:g}; expected finite"):
        cell.code(cell.prepare(make_latents(normal((2, 3, 4)))), 1.0)


def test_predicted_variance_of_zero_has_finite_bits():
    cell = make_cell(CodecMean(), Energy(0.0), Rounding())
    assert cell.code(cell.prepare(make_latents(normal((2, 3, 4)))), 1.0).bits > 0


class Ordered(West):
    """A causal mean with an order of its own."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def decoding_order(self, shape):
        return iter(self.order)


EVEN, ODD = torch.arange(0, 12, 2), torch.arange(1, 12, 2)


@pytest.mark.parametrize(
    "order, visited",
    [
        ([(slice(0, 2), EVEN)], "visits 12 elements, 12 of them different"),
        ([(slice(0, 2), EVEN), (slice(0, 2), EVEN)], "visits 24 elements, 12 of them different"),
        ([(slice(0, 1), EVEN), (slice(0, 1), ODD)], "visits 12 elements, 12 of them different"),
    ],
)
def test_order_that_does_not_visit_every_element_once_is_refused(order, visited):
    """Otherwise y_hat would contain whatever was in memory."""
    y = normal((2, 3, 4))
    with pytest.raises(InputError, match=f"{visited}; expected each of the 24 elements once"):
        residuals(Ordered(order), y, 0 * y)


def test_order_of_a_causal_variance_is_used():
    class OrderedEnergy(Energy):
        def decoding_order(self, shape):
            return iter([(slice(0, 2), EVEN), (slice(0, 2), ODD)])

    visited = []

    def code_step(channels, positions, mu, v):
        visited.append(positions)
        return torch.zeros_like(mu)

    zero = torch.zeros(2, 3, 4).double()
    traverse(None, OrderedEnergy(1.0), zero, zero + 1, code_step)
    assert torch.equal(visited[0], EVEN) and torch.equal(visited[1], ODD)
