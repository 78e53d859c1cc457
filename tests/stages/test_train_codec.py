"""What a training is refused to start with."""

import pytest

from rdpipe.core.errors import InputError
from rdpipe.stages.train_codec import check_sizes


def test_image_smaller_than_a_crop_is_refused():
    images = [
        {"name": name, "width": width, "height": height}
        for name, width, height in (("a.png", 128, 300), ("b.png", 300, 127))
    ]
    check_sizes(images[:1], 128)
    with pytest.raises(
        InputError, match="'b.png' has 300 x 127 pixels; expected at least 128 x 128"
    ):
        check_sizes(images, 128)
