"""What a training is not begun with."""

import pytest

from rdpipe.core.errors import InputError
from rdpipe.stages.train_codec import check_sizes


def test_an_image_smaller_than_a_crop_is_refused():
    images = [{"name": name, "width": width, "height": height} for name, width, height in
              (("a.png", 128, 300), ("b.png", 300, 127))]  # fmt: skip
    check_sizes(images[:1], 128)
    with pytest.raises(InputError, match="'b.png' has 300 x 127 pixels: crops of 128 do not fit"):
        check_sizes(images, 128)
