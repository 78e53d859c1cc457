"""The relaxed choice among points of E8, against the nearest point and Gumbel's distribution."""

import pytest
import torch

from rdpipe.core.rng import generator
from rdpipe.quantizers.lattice import LatticeE8, near_e8, nearest_e8
from rdpipe.refinement.lattice import SHARPNESS, RelaxedLattice, relaxed_e8


def points(count=300):
    return 3 * torch.randn((count, 8), generator=generator("points")).double()


def test_temperature_0_is_the_nearest_point():
    assert torch.equal(relaxed_e8(points(), 0.0, generator("any")), nearest_e8(points()))


def test_relaxed_choice_becomes_the_nearest_point():
    x = nearest_e8(points()) + 0.1 * torch.randn((300, 8), generator=generator("near")).double()
    relaxed = relaxed_e8(x, 0.05, generator("cold"))
    assert (relaxed - nearest_e8(x)).abs().max() < 1e-3


def test_largest_weight_has_the_probabilities_of_the_logits():
    """The largest of logits with Gumbel noise is a draw from their softmax."""
    x, temperature = points(1), 0.5
    near = near_e8(x)[:, 0]
    expected = torch.softmax(-SHARPNESS * (x - near).square().sum(-1) / temperature, 0)
    drawn = relaxed_e8(x.expand(20000, 8), temperature, generator("draws"))
    # at a low temperature of the weights the convex combination would be the drawn point itself
    nearest = (drawn[None] - near[:, None]).square().sum(-1).argmin(0)
    shares = torch.bincount(nearest, minlength=8) / 20000
    torch.testing.assert_close(shares.double(), expected, rtol=0, atol=0.06)


def test_hard_choice_has_the_bits_and_residuals_of_the_quantizer():
    v = torch.linspace(0.05, 4, 83, dtype=torch.float64)
    r = v.sqrt() * torch.randn(83, generator=generator("r")).double()
    residual, bits = RelaxedLattice(0.9, {}).code("y", r, v, 0.0, generator("unused"))
    expected = LatticeE8(0.9).code(r[:, None], v[:, None], 0.9)
    torch.testing.assert_close(residual, expected.residual[:, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(bits, expected.bits[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_gradients_are_those_of_differences(temperature):
    v = torch.linspace(0.02, 30, 40, dtype=torch.float64).requires_grad_()
    r = torch.randn(40, generator=generator("r")).double().requires_grad_()
    gains = {"y": [1.5, 1.4, 1.3, 1.2, 1.1, 1.0, 1.0]}
    lattice = RelaxedLattice(1.0, gains)

    def value(r, v):
        residual, bits = lattice.code("y", r, v, temperature, generator("same"))
        return residual.square().sum() + bits.sum()

    gradients = torch.autograd.grad(value(r, v), (r, v))
    h = 1e-6
    for number, gradient in enumerate(gradients):
        assert gradient.isfinite().all()
        for index in (1, 17, 33):
            moved = [r.detach().clone(), v.detach().clone()]
            moved[number][index] += h
            above = value(*moved).item()
            moved[number][index] -= 2 * h
            difference = (above - value(*moved).item()) / (2 * h)
            assert gradient[index].item() == pytest.approx(difference, rel=1e-4, abs=1e-4)
