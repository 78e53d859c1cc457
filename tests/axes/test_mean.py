"""Means against their definitions."""

import math

import pytest
import torch

from rdpipe.estimators.means import Accuracy, Codec, Zero
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents

Y = 3 * torch.randn((2, 300, 300), generator=torch.Generator().manual_seed(0)).double()
LATENTS = Latents("a", Y, Y + 1, torch.ones_like(Y))


def test_zero_and_codec():
    assert (Zero()(LATENTS) == 0).all()
    assert Codec()(LATENTS) is LATENTS.mean


@pytest.mark.parametrize("percent", [0, 30, 90, 99])
def test_accuracy_is_the_correlation_and_the_error_is_orthogonal(percent):
    mu, rho = Accuracy(percent)(LATENTS), percent / 100
    error = (Y - mu).square().mean() / Y.square().mean()
    assert error.item() == pytest.approx(1 - rho**2, abs=0.01)
    assert (mu * (Y - mu)).mean().item() == pytest.approx(0, abs=0.05)
    if percent:
        correlation = torch.corrcoef(torch.stack([mu.flatten(), Y.flatten()]))[0, 1].item()
        assert correlation == pytest.approx(rho, abs=0.01)
        assert math.isclose(mu.var().item(), rho**2 * Y.var().item(), rel_tol=0.03)


def test_accuracy_depends_on_the_image_not_on_when_it_is_asked():
    assert (Accuracy(50)(LATENTS) == Accuracy(50)(LATENTS)).all()
    other = Latents("b", Y, Y, Y)
    assert (Accuracy(50)(other) != Accuracy(50)(LATENTS)).any()


def test_certainty_is_refused():
    with pytest.raises(InputError, match="accuracy 100: allowed are 0 to 99"):
        Accuracy(100)
