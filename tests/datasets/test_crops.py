"""Crops for training."""

import numpy as np
from small_training import FILES

from rdpipe.training.crops import Crops


def test_a_crop_is_a_pure_function_of_seed_and_index():
    first, second = Crops(FILES, 64, 5), Crops(FILES, 64, 5)
    late = second[9]
    assert all(np.array_equal(first[i], second[i]) for i in range(5))
    assert np.array_equal(first[9], late) and not np.array_equal(first[8], late)
    assert first[0].shape == (3, 64, 64) and first[0].dtype == np.uint8
    assert not np.array_equal(Crops(FILES, 64, 6)[9], late)
