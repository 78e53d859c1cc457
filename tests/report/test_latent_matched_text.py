"""Sentences on latent-matched figures."""

import numpy as np
import pandas as pd
import pytest
from small_page import LIMITS

from rdpipe.report import latent_matched_text


def test_largest_change(tables):
    changes = tables["latent_matched"]
    changes = changes[changes["limit"] == "decodable"]
    assert latent_matched_text.change_sentence(changes) == (
        "Largest latent-matched term: quantization; closing it changes the rate by -10.0 %"
        " (-11.0 to -9.0 %), at 1.250 times the codec's distortion of the latents. This is"
        " not a saving at equal PSNR."
    )
    assert latent_matched_text.change_summary(changes)["term"] == "quantization"
    worse = changes.assign(latent_matched_change=1.0)
    assert latent_matched_text.change_summary(worse)["term"] == "none"
    assert "saves nothing" in latent_matched_text.change_sentence(worse)
    unknown = changes.assign(latent_matched_change=np.nan)
    assert "two qualities" in latent_matched_text.change_sentence(unknown)


def test_genie_that_needs_more_bits_than_a_decodable_limit_is_reported(tables):
    terms = tables["latent_decomposition"]
    sentences = [latent_matched_text.genie_sentence(terms, name) for name in ("genie", "decodable")]
    assert sentences == ["", ""]
    lower = terms["bpp"] - 9.0 * ((terms["limit"] == "genie") & (terms["quality"] == 2))
    sentence = latent_matched_text.genie_sentence(terms.assign(bpp=lower), "genie")
    assert sentence.startswith("At q2 it needs more bits than “decodable”")


def test_distortion_of_the_latents_in_words(tables):
    ratio = tables["latent_decomposition"]["latent_mse_ratio"]
    equal = latent_matched_text.distortion_text(ratio * 0 + 1)
    assert equal == "at equal distortion of the latents"


def test_codec_below_its_loose_bound_is_below_and_not_a_negative_amount_above(tables):
    terms = tables["latent_decomposition"]
    terms = terms[(terms["limit"] == "decodable") & (terms["order"] == "paper")]
    ends = ["bpp", "bpp_low", "bpp_high"]
    total = terms["term"] == "total"
    loose = terms.assign(**{end: terms[end].where(~total, terms[end] - 0.234) for end in ends})
    sentence = latent_matched_text.to_limit(loose[loose["quality"] == 1], LIMITS["decodable"])
    assert sentence.startswith("0.034 bpp (0.024 to 0.044) below “decodable” (upper bound")
    curve = latent_matched_text.over_the_curve(tables["points"], loose, "decodable")
    assert curve.startswith("At 1.000 to 2.000 bpp, the codec lies 2 to 3 % of its bits below")


@pytest.mark.parametrize(
    "share, text",
    [
        ([1.0, 2.0], "1 to 2 % of the bits lie above"),
        ([2.0, 2.2], "2 % of the bits lie above"),
        ([-2.0, -2.2], "the codec lies 2 % of its bits below"),
        ([-2.0, 5.0], "the codec lies between 2 % of its bits below and 5 % above"),
        ([], "an unknown share of the bits lies above"),
    ],
)
def test_share_above_a_limit_in_words(share, text):
    assert latent_matched_text.share_text(pd.Series(share, dtype=float)) == text
