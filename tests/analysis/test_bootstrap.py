"""Bootstrap intervals against the central limit theorem."""

import numpy as np
import pytest

from rdpipe.analysis.bootstrap import interval, resamples


def test_interval_of_a_mean_is_that_of_the_central_limit_theorem():
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values[resamples(400, 2000, 1)].mean(1))
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )
