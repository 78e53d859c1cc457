"""A codec on two images at three qualities, its tables and its arrays."""

import numpy as np
import pytest
import xarray as xr
from small_curves import BITS, QUALITIES, make_array, make_curve


@pytest.fixture
def codec_curve():
    """A codec with 100, 200 and 400 bit."""
    mse = np.array([40.0, 20.0, 10.0]) * np.array([[1.0], [1.1]])
    return make_curve(BITS, mse, pixels=np.array([100, 100]))


@pytest.fixture
def tables():
    table = xr.Dataset(
        {"side_bits": ("image", [5.0, 5.0]), "pixels": ("image", [100, 100])}, {"image": ["a", "b"]}
    )
    return {q: table.assign(latent_bits=("image", BITS[:, i])) for i, q in enumerate(QUALITIES)}


@pytest.fixture
def arrays():
    return {q: make_array(BITS[:, i]) for i, q in enumerate(QUALITIES)}
