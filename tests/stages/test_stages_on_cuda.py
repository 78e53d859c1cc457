"""The stages run one after the other with ``device: cuda``, and have the results of the CPU."""

import numpy as np
import pytest
from small_run import SmallRun, photographs

from rdpipe.io import store

CURVE = {"channel": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}}


@pytest.fixture
def runs(tmp_path, pretend_cuda):
    """The same run on the CPU and on a pretended card."""
    runs = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        runs.append(SmallRun(folder, photographs(1), device=device))
    return runs


def test_extraction_simulation_and_fit(runs):
    tables = [run.table for run in runs]
    for name in ("latent_bits", "psnr"):
        assert np.allclose(tables[0][name], tables[1][name], rtol=1e-3)
    simulations = [store.read(run.simulate(CURVE)) for run in runs]
    assert np.allclose(simulations[0]["bits"], simulations[1]["bits"], rtol=1e-2)
    fits = [store.read(run.fit("test-channel")) for run in runs]
    assert fits[0].sizes == fits[1].sizes
