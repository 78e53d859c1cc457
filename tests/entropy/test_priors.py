"""Densities against scipy, CompressAI and mpmath."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats

import rdpipe.codecs.compressai  # noqa: F401 - before compressai
from rdpipe.core.errors import InputError
from rdpipe.entropy.priors import (
    OUTLIER,
    Gaussian,
    Laplace,
    Learned,
    Logistic,
    Mixture,
    Prior,
    Table,
)

# isort: split
from compressai.entropy_models import EntropyBottleneck

RNG = np.random.default_rng(0)
SHAPE = (1, 3, 4, 5)
MEAN = torch.from_numpy(RNG.normal(0, 3, SHAPE))
SCALE = torch.from_numpy(np.exp(RNG.normal(0, 1, SHAPE)))
STANDARD = {
    Gaussian: stats.norm(),
    Laplace: stats.laplace(scale=1 / math.sqrt(2)),
    Logistic: stats.logistic(scale=math.sqrt(3) / math.pi),
}
"""The densities with standard deviation 1."""


def bottleneck_logits(channels=3):
    """Return CompressAI's bottleneck with random weights, and the logits of its density."""
    torch.manual_seed(0)
    bottleneck = EntropyBottleneck(channels, init_scale=4)
    with torch.no_grad():
        for name, parameter in bottleneck.named_parameters():
            if name != "quantiles":
                parameter += 0.3 * torch.randn_like(parameter)

    def logits(x):
        by_channel = x.transpose(0, 1)
        values = bottleneck._logits_cumulative(
            by_channel.reshape(channels, 1, -1).to(bottleneck.quantiles.dtype), stop_gradient=True
        )
        return values.reshape(by_channel.shape).transpose(0, 1).detach()

    return bottleneck, logits


def table():
    probabilities = torch.from_numpy(RNG.dirichlet(np.full(9, 0.5), 3)).clamp(min=1e-6)
    return Table(probabilities / probabilities.sum(1, keepdim=True), -3, SHAPE)


def learned():
    logits = bottleneck_logits()[1]
    return Learned.from_logits(logits, SHAPE)


def mixture():
    weights = torch.from_numpy(RNG.dirichlet([1, 1, 1], SHAPE)).movedim(-1, 0)
    return Mixture(
        weights, [Gaussian(MEAN, SCALE), Laplace(-MEAN, SCALE), Logistic(MEAN, 1 + SCALE)]
    )


PRIORS = {
    "Gaussian": lambda: Gaussian(MEAN, SCALE),
    "Gaussian with least": lambda: Gaussian(MEAN, SCALE, 1e-3),
    "Laplace": lambda: Laplace(MEAN, SCALE),
    "Logistic": lambda: Logistic(MEAN, SCALE),
    "Mixture": mixture,
    "Learned": learned,
    "Table": table,
    "joined": lambda: Gaussian(MEAN[:, :1], SCALE[:, :1]).join(
        [Gaussian(MEAN[:, :1], SCALE[:, :1]), mixture(), table()]
    ),
}


@pytest.fixture(params=PRIORS)
def prior(request):
    return PRIORS[request.param]()


def points(prior):
    """Return integers near the mean of each element."""
    noise = torch.from_numpy(np.random.default_rng(1).normal(0, 2, prior.mean.shape))
    return (prior.mean.double() + noise).round().clamp(-3, 5)


@pytest.mark.parametrize("kind", STANDARD)
def test_tails(kind):
    x = MEAN + SCALE * torch.from_numpy(RNG.uniform(-12, 12, SHAPE))
    t = ((x - MEAN) / SCALE).numpy()
    everywhere, prior = torch.ones(SHAPE, dtype=torch.bool), kind(MEAN, SCALE)
    np.testing.assert_allclose(prior.log_tail(x, everywhere), STANDARD[kind].logsf(t), rtol=1e-12)
    np.testing.assert_allclose(prior.log_tail(x, ~everywhere), STANDARD[kind].logcdf(t), rtol=1e-12)
    assert STANDARD[kind].std() == pytest.approx(1)
    assert prior.is_gaussian is (kind is Gaussian)


@pytest.mark.parametrize("kind", STANDARD)
def test_float32_parameters_are_used_as_they_are(kind):
    mean, scale = MEAN.float(), SCALE.float()
    x = points(kind(mean, scale))
    expected = kind(mean.double(), scale.double()).bits(x)
    np.testing.assert_allclose(kind(mean, scale).bits(x), expected, rtol=1e-6)


@pytest.mark.parametrize("step", [1.0, 0.25, 3.0])
@pytest.mark.parametrize("kind", STANDARD)
def test_bits(kind, step):
    prior = kind(MEAN, SCALE)
    noise = torch.from_numpy(np.random.default_rng(1).uniform(-3, 3, SHAPE))
    x, density = (MEAN + SCALE * noise).round(), STANDARD[kind]
    low, high = ((x + sign * step / 2 - MEAN) / SCALE for sign in (-1, 1))
    expected = -np.log2(density.cdf(high) - density.cdf(low))
    np.testing.assert_allclose(prior.bits(x, step), expected, rtol=1e-6, atol=1e-10)
    steps = torch.full(SHAPE, step)
    torch.testing.assert_close(prior.bits(x, steps), prior.bits(x, step))


TAILS = {
    Gaussian: lambda t: mpmath.erfc(t / mpmath.sqrt(2)) / 2,
    Laplace: lambda t: mpmath.exp(-mpmath.sqrt(2) * t) / 2,
    Logistic: lambda t: 1 / (1 + mpmath.exp(t * mpmath.pi / mpmath.sqrt(3))),
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("distance", [5, 40, 700, 3000])
@pytest.mark.parametrize("kind", TAILS)
def test_bits_far_in_the_tails(kind, distance, sign):
    """With 60 digits; the probabilities themselves underflow."""
    mean, scale = 0.5, 0.75
    with mpmath.workprec(60 * 4 + 12 * distance * (kind is not Gaussian)):
        near, far = ((distance + edge - mean) / mpmath.mpf(scale) for edge in (-0.5, 0.5))
        expected = -mpmath.log(TAILS[kind](near) - TAILS[kind](far), 2)
    prior = kind(*(torch.tensor([x], dtype=torch.float64) for x in (sign * mean, scale)))
    bits = prior.bits(torch.tensor([float(sign * distance)])).item()
    assert bits == pytest.approx(float(expected), rel=1e-11)


def test_mixture_is_the_sum_of_its_components():
    prior = mixture()
    x = MEAN + torch.from_numpy(RNG.normal(0, 3, SHAPE))
    for upper in (True, False):
        flags = torch.full(SHAPE, upper)
        expected = sum(
            weight * component.log_tail(x, flags).exp()
            for weight, component in zip(prior.weights, prior.components, strict=True)
        )
        torch.testing.assert_close(prior.log_tail(x, flags).exp(), expected)


def test_moments_of_a_mixture_are_those_of_its_density():
    weights = [0.2, 0.5, 0.3]
    components = [stats.norm(-1, 2), stats.norm(3, 0.5), stats.norm(0, 1)]
    parts = [Gaussian(*(torch.tensor([m]) for m in (d.mean(), d.std()))) for d in components]
    prior = Mixture(torch.tensor(weights)[:, None], parts)
    density = lambda x: sum(w * d.pdf(x) for w, d in zip(weights, components, strict=True))
    mean = integrate.quad(lambda x: x * density(x), -20, 20)[0]
    variance = integrate.quad(lambda x: (x - mean) ** 2 * density(x), -20, 20)[0]
    assert prior.mean.item() == pytest.approx(mean) and not prior.is_gaussian
    assert prior.scale.item() == pytest.approx(math.sqrt(variance))


def test_learned_density_is_that_of_compressai():
    bottleneck, logits = bottleneck_logits()
    prior = Learned.from_logits(logits, SHAPE)
    x = points(prior).float()
    likelihood = bottleneck._likelihood(x.transpose(0, 1).reshape(3, 1, -1))[0].detach()
    expected = -likelihood.double().log2().view(3, *SHAPE[2:])[None]
    np.testing.assert_allclose(prior.bits(x), expected, atol=2e-4)


@pytest.mark.parametrize("narrow", [1.0, 5.0])
def test_moments_of_a_learned_density(narrow):
    """Of a channel that is narrower than the step, too."""
    bottleneck, logits = bottleneck_logits()
    bottleneck.double()
    prior = Learned.from_logits(lambda x: logits(narrow * x), SHAPE)
    for channel in range(3):

        def cumulative(x, channel=channel):
            everywhere = torch.full((1, 3, 1), narrow * x, dtype=torch.float64)
            return torch.sigmoid(logits(everywhere))[0, channel].item()

        # by parts: E X and E X^2 from the tails
        tails = [
            (lambda x: 1 - cumulative(x), lambda x: cumulative(-x)),
            (lambda x: 2 * x * (1 - cumulative(x)), lambda x: 2 * x * cumulative(-x)),
        ]
        first, second = (
            [integrate.quad(tail, 0, 60, limit=200)[0] for tail in pair] for pair in tails
        )
        mean = first[0] - first[1]
        scale = math.sqrt(sum(second) - mean**2)
        assert prior.mean[0, channel, 0, 0].item() == pytest.approx(mean, abs=0.01 * scale)
        assert prior.scale[0, channel, 0, 0].item() == pytest.approx(scale, rel=0.01)
    assert prior.mean.shape == prior.scale.shape == SHAPE


def test_table_against_direct_sums():
    prior = table()
    symbols, x = np.arange(-3, 6), points(prior)
    for channel, p in enumerate(prior.probabilities.numpy()):
        mean = (p * symbols).sum()
        variance = (p * (symbols - mean) ** 2).sum()
        np.testing.assert_allclose(prior.mean[0, channel], mean)
        np.testing.assert_allclose(prior.scale[0, channel], math.sqrt(variance))
        values = x[0, channel].numpy().astype(int)
        np.testing.assert_allclose(prior.bits(x)[0, channel], -np.log2(p[values + 3]), rtol=1e-6)
        for edge in np.arange(-4.5, 7.5):
            place = torch.full(SHAPE, edge, dtype=torch.float64)
            for upper, expected in ((True, p[symbols > edge]), (False, p[symbols < edge])):
                tail = prior.log_tail(place, torch.full(SHAPE, upper))[0, channel]
                np.testing.assert_allclose(tail.exp(), expected.sum(), rtol=1e-9)


def test_least_probability_bounds_the_bits():
    prior = Gaussian(MEAN, SCALE, least=1e-9)
    bits, free = (p.bits(MEAN + 50 * SCALE) for p in (prior, Gaussian(MEAN, SCALE)))
    assert (bits == -math.log2(1e-9)).all() and free.min() > 1000


def test_selected_elements_are_those_of_the_whole(prior):
    x = points(prior)
    upper = torch.from_numpy(np.random.default_rng(2).random(x.shape) < 0.5)
    for index in (
        torch.tensor([7, 0, 7, 40]),
        torch.arange(x.numel())[::3],
        torch.tensor([], dtype=torch.long),
    ):
        selected = prior.select(index)
        pick = lambda values, index=index: values.flatten()[index]
        assert torch.equal(selected.mean, pick(prior.mean))
        assert torch.equal(selected.scale, pick(prior.scale))
        edges = x - 0.5
        expected = pick(prior.log_tail(edges, upper))
        tails = selected.log_tail(pick(edges), pick(upper))
        torch.testing.assert_close(tails, expected)
        torch.testing.assert_close(selected.bits(pick(x)), pick(prior.bits(x)))
        again = torch.arange(len(index)).flip(0)[::2]
        torch.testing.assert_close(
            selected.select(again).bits(pick(x)[again]), pick(prior.bits(x))[again]
        )


@pytest.mark.parametrize("others", PRIORS)
def test_joined_elements_are_those_of_the_parts(prior, others):
    parts = [prior, PRIORS[others](), prior]
    joined = prior.join(parts)
    x = torch.cat([points(part).flatten() for part in parts])
    upper = torch.from_numpy(np.random.default_rng(2).random(x.shape) < 0.5)
    sizes = [part.mean.numel() for part in parts]
    for name in ("mean", "scale"):
        expected = torch.cat([getattr(part, name).flatten() for part in parts])
        torch.testing.assert_close(getattr(joined, name).flatten(), expected, check_dtype=False)
    expected = torch.cat([part.bits(points(part)).flatten() for part in parts])
    torch.testing.assert_close(joined.bits(x), expected)
    tails = [
        part.log_tail(edges.view(part.mean.shape), flags.view(part.mean.shape)).flatten()
        for part, edges, flags in zip(
            parts, (x - 0.5).split(sizes), upper.split(sizes), strict=True
        )
    ]
    torch.testing.assert_close(joined.log_tail(x - 0.5, upper), torch.cat(tails))


def test_steps_of_joined_parts_may_differ():
    parts = [Gaussian(MEAN, SCALE), mixture()]
    steps = torch.cat([torch.full((60,), 0.5), torch.full((60,), 2.0)])
    x = torch.cat([MEAN.flatten() + 1, MEAN.flatten()])
    expected = [parts[0].bits(MEAN + 1, 0.5).flatten(), parts[1].bits(MEAN, 2.0).flatten()]
    torch.testing.assert_close(parts[0].join(parts).bits(x, steps), torch.cat(expected))


def test_tails_of_the_index_are_a_distribution(prior):
    """They fall, and differ from the prior by the probability of an outlier only."""
    offset, step = torch.full(prior.mean.shape, 0.5, dtype=torch.float64), 1.0
    if "Table" in type(prior).__name__ or "Joined" in type(prior).__name__:
        offset = torch.zeros_like(offset)
    log_tail = prior.index_log_tail(offset, step)
    yes = torch.ones(prior.mean.shape, dtype=torch.bool)
    for flags in (yes, ~yes):
        tails = [log_tail(torch.full(flags.shape, float(m)).double(), flags) for m in range(1, 9)]
        assert all((b < a).all() for a, b in pairwise(tails))
        for m, tail in enumerate(tails, 1):
            edge = offset + (m - 0.5 if flags.all() else 0.5 - m)
            expected = (1 - OUTLIER) * prior.log_tail(edge, flags).exp() + OUTLIER / (2 * m + 1)
            torch.testing.assert_close(tail.exp(), expected)


def test_weights_of_a_mixture_may_broadcast():
    """As weights of the shape of the elements, also for some elements and for several parts."""
    mean = torch.arange(6.0).view(1, 2, 3)
    parts = [Gaussian(mean, mean + 1), Laplace(mean + 2, mean + 1)]
    weights = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1)
    broadcast, full = (Mixture(w, parts) for w in (weights, weights.expand(2, 1, 2, 3).clone()))
    index = torch.tensor([4, 1])
    for first, second in (
        (broadcast, full),
        (broadcast.select(index), full.select(index)),
        (broadcast.join([broadcast, broadcast]), full.join([full, full])),
    ):
        assert torch.equal(first.mean, second.mean) and torch.equal(first.scale, second.scale)
        x = first.mean + 0.3
        assert torch.equal(first.bits(x), second.bits(x))


GAUSSIANS = [Gaussian(torch.zeros(3), torch.ones(3))] * 2


@pytest.mark.parametrize(
    "weights, message",
    [
        (torch.full((2, 1), 0.4), "the weights sum to 0.8; expected 1"),
        (torch.full((2, 1), math.nan), "the weights sum to nan; expected 1"),
        (torch.full((2, 4), 0.5), r"have shape \(2, 4\); expected \(2, 3\), or a shape that"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        Mixture(weights, GAUSSIANS)


def test_table_that_is_no_distribution_is_refused():
    with pytest.raises(InputError, match="the probabilities of a channel sum to 1.1; expected 1"):
        Table(torch.tensor([[0.5, 0.6]]), 0, (1, 1, 2, 2))


@pytest.mark.parametrize("density", STANDARD)
def test_symmetry_changes_no_probability_and_no_gradient(density):
    """Against the tails on the side of each element; also at the mean, and where one underflows."""
    distances = torch.tensor([0.0, 1e-9, 0.3, -0.3, 2.0, -7.0, 40.0, -300.0], dtype=torch.float64)
    prior = density(torch.full_like(distances, 0.1), torch.full_like(distances, 0.9))
    values, gradients = [], []
    for log_probability in (prior.log_probability, Prior.log_probability.__get__(prior)):
        x = (distances + 0.1).requires_grad_()
        value = log_probability(x, 0.73)
        value[value.isfinite()].sum().backward()
        values.append(value.detach())
        gradients.append(x.grad)
    assert torch.allclose(*values, rtol=1e-13, atol=1e-14)
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)
