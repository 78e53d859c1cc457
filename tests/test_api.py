"""The decomposition on arrays: what is no image, or no limit, is refused."""

import numpy as np
import pytest

import rdpipe
from rdpipe.core.errors import InputError

IMAGE = np.zeros((16, 24, 3), np.uint8)


@pytest.mark.parametrize("image", [IMAGE / 255, IMAGE > 0, IMAGE.astype(np.uint16), IMAGE[:, :, 0], IMAGE[..., :1]])
def test_an_array_that_is_no_image_is_refused(image):
    with pytest.raises(InputError, match=r"'a': an array of .* an image is uint8 of shape \(height, width, 3\)"):
        rdpipe.decompose(None, {"a": image})


def test_a_limit_lacks_no_axis():
    with pytest.raises(InputError, match="limit 'l' has mean; it must have mean, variance, quantizer"):
        rdpipe.decompose(None, {"a": IMAGE}, limits={"l": {"mean": "codec"}})
