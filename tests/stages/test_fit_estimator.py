"""Fitting of estimators: only those that declare it are fitted."""

import pytest

from rdpipe.core.errors import InputError
from rdpipe.stages.fit_estimator import FitEstimatorSpec, run


def test_estimator_that_is_not_fitted_is_refused(tmp_path):
    spec = FitEstimatorSpec(axis="variance", name="channel", entry={})
    message = "variance 'channel' is a ChannelVariance; expected a FittedEstimator"
    with pytest.raises(InputError, match=message):
        run(spec, [], [], tmp_path / "fit.zarr.zip")
