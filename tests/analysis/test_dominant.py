"""Images that make most of a mean over images."""

import numpy as np
import pandas as pd
import pytest

from rdpipe.analysis.dominant import dominant_images

POINT = {"dataset": "d", "codec": "c", "curve": "codec", "role": "codec", "kind": "achieved"}


def image_points(bpp, psnr=None, **labels):
    """Return the rows of one point; images are named by their position."""
    psnr = [30.0] * len(bpp) if psnr is None else psnr
    rows = zip("abcdef", bpp, psnr, strict=False)
    names = ("image", "bpp", "psnr")
    return pd.DataFrame(
        [{**POINT, "quality": 1, **labels, **dict(zip(names, row, strict=True))} for row in rows]
    )


@pytest.mark.parametrize(
    ("bpp", "share"),
    [
        ([1.0, 1.0, 2.1], 2.1 / 4.1),
        ([1.0, 1.0, 2.0], None),
        ([0.5, 0.5, 0.5, 144.0], 144 / 145.5),
        ([1.0, 2.9], None),  # of two images, one always makes half
        ([1.0, 3.1], 3.1 / 4.1),
        ([5.0], None),
        ([0.0, 0.0, 0.0], None),
    ],
)
def test_image_with_more_than_half_of_the_mean_rate(bpp, share):
    rows = dominant_images(image_points(bpp)).to_dict("records")
    assert [row["share"] for row in rows] == ([] if share is None else [pytest.approx(share)])
    assert all(row["quantity"] == "bpp" for row in rows)


def test_largest_share_over_all_points_is_given():
    frames = [
        image_points([1.0, 1.0, 1.0]),
        image_points([1.0, 1.0, 8.0], quality=2),
        image_points([1.0, 1.0, 18.0], quality=50, curve="jpeg", role="baseline", codec=""),
        image_points([np.nan, np.nan, np.nan], quality=3),
    ]
    (row,) = dominant_images(pd.concat(frames)).to_dict("records")
    expected = {"image": "c", "quantity": "bpp", "share": 0.9, "curve": "jpeg"}
    assert row == {**expected, "quality": 50, "points": 2}


def test_infinite_psnr_makes_the_whole_mean():
    psnr = [30.0, np.inf, 31.0]
    (row,) = dominant_images(image_points([1.0, 1.0, 1.0], psnr)).to_dict("records")
    assert (row["image"], row["quantity"], row["share"]) == ("b", "psnr", 1)
