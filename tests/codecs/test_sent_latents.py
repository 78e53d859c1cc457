"""What a codec sends: its comparison, and whether it was rounded."""

import re

import pytest
import torch

from rdpipe.codecs.sent_latents import RepeatingWalk, find_difference, find_rounding
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.walk import Walk
from rdpipe.entropy.priors import Gaussian

SHAPE = (1, 4, 8, 8)
Y = 5 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def sent(y=Y, mean=0.3, scale=5.0, name="y", **options):
    """Return the record of a walk with one part."""
    walk = Walk()
    mean, scale = (torch.full(y.shape, value) for value in (mean, scale))
    walk(name, Gaussian(mean, scale), y, **options)
    return walk.record


def rounding(y, **options):
    return find_rounding(assemble(sent(y, **options))["y"])


@pytest.mark.parametrize("step", [1.0, 0.25, torch.full(SHAPE, 3.0)])
@pytest.mark.parametrize("origin", [0.0, 0.3])
@pytest.mark.parametrize(
    "parts, grid", [(1, "the step"), (2, "1/2 of the step"), (4, "1/4 of the step")]
)
def test_rounding_is_found_on_every_grid(parts, grid, origin, step):
    length = step / parts
    y = origin + length * ((Y - origin) / length).round()
    assert rounding(y, step=step) == f"latent 'y' is rounded: 100% are multiples of {grid}"
    assert rounding(Y, step=step) is None


def test_rounding_of_a_share_or_of_a_channel_is_found():
    most, single = Y.clone(), Y.clone()
    most[:, :, :6] = most[:, :, :6].round()
    single[:, 2] = single[:, 2].round()
    assert "multiples of the step" in rounding(most)
    assert rounding(single) == "latent 'y' is rounded in 1 of 4 channels"


def test_exact_zeros_and_single_elements_are_not_called_rounded():
    y = torch.where(torch.arange(4).view(1, 4, 1, 1) % 2 == 0, Y, 0.0)
    assert rounding(y, mean=2.7) is None
    assert rounding(torch.full((1, 1, 3, 3), 4.0)) is None


def test_elements_that_are_not_coded_do_not_count():
    at = torch.zeros(SHAPE, dtype=torch.bool)
    at[..., ::2] = True
    assert rounding(torch.where(at, Y, Y.round()), at=at) is None
    assert "100%" in rounding(torch.where(at, Y.round(), Y), at=at)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"y": Y + 0.01}, "y of 'y'"),
        ({"mean": 0.35}, "prior.mean of 'y'"),
        ({"scale": 5.1}, "prior.scale of 'y'"),
        ({"step": 1.1}, "step of 'y'"),
        ({"offset": 0.35}, "offset of 'y'"),
        ({"name": "x"}, r"'y' of shape \(1, 4, 8, 8\) and 'x' of"),
        ({"y": Y[:, :3]}, r"and 'y' of \(1, 3, 8, 8\)"),
    ],
)
def test_differences_are_named(change, message):
    fields = ("y", "offset", "step")
    first, second = sent(offset=0.3), sent(**{"offset": 0.3} | change)
    assert re.search(message, find_difference(first, second, fields))
    assert find_difference(first, first, fields) is None


def test_rounding_errors_are_no_difference():
    assert find_difference(sent(), sent(Y + 1e-5, 0.3 * (1 + 1e-6)), ("y", "offset")) is None


def test_parts_are_counted():
    assert find_difference(sent(), 2 * sent(), ()) == "1 parts and 2 parts"


def test_repeating_walk_decodes_what_was_sent():
    record, walk = sent(), RepeatingWalk(sent())
    prior = record[0].part.prior
    expected = record[0].part.point(record[0].index).float()
    assert torch.equal(walk("y", prior), expected)
    with pytest.raises(InputError, match=r"send\('y'\) was not called by the encoder"):
        walk("y", prior)
