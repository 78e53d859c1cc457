"""What extraction asks of a codec, and refuses from it."""

import numpy as np
import pytest

from rdpipe.quantizers.test_channel import WeightedTestChannel
from rdpipe.codecs.compressai.adapter import mini_mean_scale
from rdpipe.codecs.linear import BlockTransform
from rdpipe.core.errors import InputError
from rdpipe.stages.extract_latents import extract
from rdpipe.stages.inputs import as_latents

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_the_decoders_gain_is_found_where_it_is_asked_for():
    codec = mini_mean_scale(1, "cpu")
    without, found = (extract(codec, "a", PIXELS, gain=wanted)[1] for wanted in (False, True))
    assert set(found) - set(without) == {"gain"}
    assert found["gain"].shape == found["y"].shape[:1] and (found["gain"] > 0).all()
    weights = WeightedTestChannel().fit([as_latents("a", found)])["weights"]
    np.testing.assert_allclose(weights, found["gain"] / found["gain"].mean(), rtol=1e-6)
    with pytest.raises(InputError, match="a codec must have a decoder_gain"):
        WeightedTestChannel().fit([as_latents("a", without)])


@pytest.mark.parametrize("wrong", [np.ones((1, 16)), np.full(16, np.nan)])
def test_a_gain_that_is_none_is_refused(wrong):
    codec = BlockTransform(np.eye(16), np.ones(16), np.ones(4), 1.0)
    codec.decoder_gain = lambda latents, height, width: wrong
    with pytest.raises(InputError, match="^'a': decoder_gain (has shape|holds values that are not finite)"):
        extract(codec, "a", np.zeros((16, 16, 1), np.float32), gain=True)
