"""The relaxed rounding, and bits with gradients, against direct computations."""

import numpy as np
import pytest
import torch
from scipy import stats

from rdpipe.core.errors import InputError
from rdpipe.core.rng import generator
from rdpipe.core.walk import Walk
from rdpipe.entropy.priors import Gaussian, Laplace
from rdpipe.refinement.walk import RefiningWalk, differentiable_bits, relaxed_round

SHAPE = (1, 2, 3, 4)


def test_temperature_0_is_rounding():
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)
    assert torch.equal(relaxed_round(x, 0.0, generator("any")), x.round())


def test_relaxed_rounding_lies_between_the_neighbors_and_prefers_the_nearer():
    x = torch.full((20000,), 2.2, dtype=torch.float64)
    rounded = relaxed_round(x, 0.5, generator("draws"))
    assert ((rounded >= 2) & (rounded <= 3)).all()
    # P(upper neighbor) is the logistic function of the difference of the logits
    upper = stats.logistic.cdf((np.arctanh(0.2) - np.arctanh(0.8)) / 0.5)
    assert (rounded > 2.5).double().mean().item() == pytest.approx(upper, abs=0.01)


def test_relaxed_rounding_becomes_a_rounding():
    x = torch.rand(1000, dtype=torch.float64, generator=generator("x")) * 10
    x = x[((x % 1) - 0.5).abs() > 0.1]
    rounded = relaxed_round(x, 0.02, generator("cold"))
    assert (rounded - x.round()).abs().max() < 1e-3


@pytest.mark.parametrize("prior", [Gaussian, Laplace])
def test_bits_are_those_of_the_prior_and_their_gradient_is_a_difference(prior):
    mean = torch.zeros(7, dtype=torch.float64)
    density = prior(mean, mean + 0.8)
    x = torch.tensor([-4.0, -1.3, -0.2, 0.0, 0.7, 2.5, 9.0], dtype=torch.float64)
    assert torch.equal(differentiable_bits(density, x, 1.0), density.bits(x, 1.0))
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(differentiable_bits(density, leaf, 1.0).sum(), leaf)
    h = 1e-5
    expected = (density.bits(x + h) - density.bits(x - h)) / (2 * h)
    known = x != 0  # the sides of the interval change there
    torch.testing.assert_close(gradient[known], expected[known], rtol=1e-5, atol=1e-7)


def test_gradients_are_finite_where_probabilities_underflow():
    prior = Gaussian(torch.zeros(3, dtype=torch.float64), torch.full((3,), 1e-3).double(), 1e-9)
    leaf = torch.tensor([0.0, 80.0, -1e6], dtype=torch.float64, requires_grad=True)
    bits = differentiable_bits(prior, leaf, 1.0)
    (gradient,) = torch.autograd.grad(bits.sum(), leaf)
    assert bits.isfinite().all() and gradient.isfinite().all()


def test_given_elements_are_coded_as_the_codec_codes_its_own():
    y = torch.randn(SHAPE, generator=generator("y"))
    prior = Gaussian(torch.full(SHAPE, 0.3), torch.full(SHAPE, 1.5))
    usual, walk = Walk(), RefiningWalk({"y": y}, generator("unused"))
    assert torch.equal(walk("y", prior), usual("y", prior, y))
    edges = (y - 0.3).round().numpy()[..., None] + [-0.5, 0.5]
    masses = np.diff(stats.norm.cdf(edges / 1.5))
    assert walk.bits.item() == pytest.approx(-np.log2(masses).sum(), rel=1e-9)


def test_elements_that_are_not_coded_have_no_bits():
    y, prior = torch.ones(SHAPE), Gaussian(torch.zeros(SHAPE), torch.ones(SHAPE))
    walk = RefiningWalk({"y": y}, generator("unused"))
    y_hat = walk("y", prior, skip=torch.ones(SHAPE, dtype=torch.bool))
    assert walk.bits.item() == 0 and (y_hat == 0).all()


def test_divergence_of_the_channel_is_that_of_two_normal_densities():
    y, theta = torch.randn(SHAPE, generator=generator("y")).double() * 2, 0.3
    scale = torch.linspace(0.3, 2.0, y.numel()).view(SHAPE).double()  # 0.3^2 < theta: nothing sent
    prior = Gaussian(torch.full(SHAPE, 0.5).double(), scale)
    walk = RefiningWalk({"y": y}, generator("noise"), theta=theta)
    y_hat = walk("y", prior)
    v, r, sent = scale.square(), y - 0.5, scale.square() > theta
    a = 1 - theta / v
    channel = torch.distributions.Normal((a * r)[sent], (theta * a)[sent].sqrt())
    target = torch.distributions.Normal(torch.zeros_like(v[sent]), (v - theta)[sent].sqrt())
    nats = torch.distributions.kl_divergence(channel, target).sum()
    assert walk.bits.item() == pytest.approx(nats.item() / np.log(2), rel=1e-9)
    assert (y_hat[~sent] == 0.5).all()


def test_latent_that_is_not_given_is_refused():
    walk = RefiningWalk({"z": torch.zeros(SHAPE)}, generator("unused"))
    with pytest.raises(InputError, match=r"send\('y'\): expected one of the latents 'z'"):
        walk("y", Gaussian(torch.zeros(SHAPE), torch.ones(SHAPE)))
