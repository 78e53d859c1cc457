"""Warnings of images that make most of a mean."""

import pandas as pd
import pytest

from rdpipe.report import dominant_text
from rdpipe.report.dominant_text import dominant_sentences

POINT = {"dataset": "d", "codec": "c", "curve": "codec", "role": "codec", "quality": 1}


def test_no_warning_of_images_that_make_half_or_less(tables):
    assert dominant_sentences(tables["image_points"]) == []


def test_warning_names_image_share_and_point():
    rows = [
        {**POINT, "image": i, "bpp": b, "psnr": 30.0} for i, b in (("a", 1), ("b", 1), ("1x1", 98))
    ]
    assert dominant_sentences(pd.DataFrame(rows)) == [
        "1x1 alone makes up to 98 % of the mean bit/pixel (codec, q1): means, BD-rates"
        " and intervals say little about the other images."
    ]


def test_infinite_psnr_has_its_own_warning():
    rows = [{**POINT, "image": i, "bpp": 1, "psnr": p} for i, p in (("a", 30), ("b", float("inf")))]
    rows += [{**row, "quality": 2} for row in rows]
    (text,) = dominant_sentences(pd.DataFrame(rows))
    assert text.startswith("b has an infinite PSNR (codec, q1, and 1 more): the mean PSNR is inf")


@pytest.mark.parametrize(("shown", "sentences"), [(1, 2), (2, 3), (3, 3)])
def test_only_the_first_images_are_named(monkeypatch, shown, sentences):
    monkeypatch.setattr(dominant_text, "SHOWN", shown)
    rows = [{**POINT, "image": name, "bpp": 1, "psnr": float("inf")} for name in ("a", "b", "c")]
    assert len(dominant_sentences(pd.DataFrame(rows))) == sentences
