"""An estimator declares that it uses side information if, and only if, it does."""

from dataclasses import replace

import pytest
import torch
from gaussian_latents import make_cell, normal

from rdpipe.core.axes import axis_named
from rdpipe.core.latents import Latents
from rdpipe.core.plugins import build_entry
from rdpipe.estimators.base import FittedEstimator
from rdpipe.estimators.means import ZeroMean
from rdpipe.estimators.transmitted import ChannelVariance
from rdpipe.quantizers.test_channel import TestChannel

NUMBERS = {"accuracy": 90, "block": 4, "window": 3, "relative-window": 3}
"""The numbers of the families of estimators."""
SMALL = {"groups": 1, "width": 4, "steps": 2}
"""Arguments of the context network."""


def make_image(seed):
    """Return latents whose residuals are correlated in a column, with predictions of a codec."""
    white = normal((3, 13, 12), seed)
    mean = 2 * normal(white.shape, 100 + seed)
    y = mean + 3 * (white + 0.9 * white.roll(1, 2))
    scale = 1 + white.abs().roll(2, 1)
    return Latents(f"image {seed}", y, mean, scale, hyper=mean + 0.5, hyper_scale=2 * scale)


def with_other_predictions(image):
    """Return the same latents, as a codec predicts them from other side information."""
    mean, scale = image.mean + normal(image.y.shape, 7), 1.3 * image.scale.flip(0)
    return replace(image, mean=mean, scale=scale, hyper=mean.flip(1), hyper_scale=scale.flip(1))


def registered(axis):
    """Return the name and the config entry of every registered estimator of an axis."""
    for family in axis_named(axis).registry:
        name = f"{family}-{NUMBERS[family]}" if family in NUMBERS else family
        yield axis, name, {"args": SMALL} if name == "network" else {}


@pytest.mark.parametrize(
    "axis, name, entry",
    [
        *registered("mean"),
        *registered("variance"),
        ("variance", "causal-window", {"args": {"towards": "codec"}}),
    ],
)
def test_side_information_is_used_where_other_predictions_change_the_result(axis, name, entry):
    """The other estimator of the cell uses none."""
    part = build_entry(axis, name, entry, axis_named(axis).registry)
    if isinstance(part, FittedEstimator):
        part.fit([make_image(seed) for seed in range(4)], {"mean": ZeroMean()})
    parts = (part, ChannelVariance()) if axis == "mean" else (ZeroMean(), part)
    cell = make_cell(*parts, TestChannel())
    assert cell.includes_side is part.uses_side
    image = make_image(99)
    first, second = (
        cell.code(cell.prepare(latents), 0.2) for latents in (image, with_other_predictions(image))
    )
    unchanged = first.bits == second.bits and torch.equal(first.y_hat, second.y_hat)
    assert unchanged is not part.uses_side
