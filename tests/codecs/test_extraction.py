"""Extraction of latents: what it measures, and what it refuses."""

import numpy as np
import pytest

from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.extraction import as_latents, extract
from rdpipe.codecs.linear import BlockTransform
from rdpipe.core.errors import InputError
from rdpipe.quantizers.test_channel import WeightedTestChannel

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_gain_is_measured_only_on_request():
    codec = mini_mean_scale(1, "cpu")
    without, arrays = (extract(codec, "a", PIXELS, gain=gain)[1] for gain in (False, True))
    assert set(arrays) - set(without) == {"gain"}
    assert arrays["gain"].shape == arrays["y"].shape[:1] and (arrays["gain"] > 0).all()
    weights = WeightedTestChannel().fit([as_latents("a", arrays)]).state()["weights"]
    np.testing.assert_allclose(weights, arrays["gain"] / arrays["gain"].mean(), rtol=1e-6)
    with pytest.raises(InputError, match="expected a codec with a method decoder_gain"):
        WeightedTestChannel().fit([as_latents("a", without)])


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        (np.ones((1, 16)), r"^'a': decoder_gain returned shape \(1, 16\); expected \(16,\)"),
        (np.full(16, np.nan), "^'a': decoder_gain returned values that are not finite"),
    ],
)
def test_unusable_gain_is_refused(gain, message):
    codec = BlockTransform(np.eye(16), np.ones(16), np.ones(4), 1.0)
    codec.decoder_gain = lambda latents, height, width: gain
    with pytest.raises(InputError, match=message):
        extract(codec, "a", np.zeros((16, 16, 1), np.float32), gain=True)
