"""Latent-matched changes, on tables where a rate is a fixed share less."""

import numpy as np
import pandas as pd
import pytest
from small_curves import BITS, QUALITIES

from rdpipe.analysis.latent_matched import latent_matched_changes


@pytest.fixture
def changes(codec_curve):
    shares = {"coder": 0.01, "variance": 0.1, "quantization": 0.2}
    terms = pd.DataFrame(
        {
            "image": image,
            "quality": quality,
            "limit": "l",
            "order": "paper",
            "term": term,
            "latent_mse_ratio": 1 + quality / 10,
            "bpp": share * BITS[k, i] / 100,
        }
        for k, image in enumerate("ab")
        for i, quality in enumerate(QUALITIES)
        for term, share in shares.items()
    )
    frame = latent_matched_changes(codec_curve, terms)
    return frame.set_index("term")


def test_fixed_share_of_the_bits_is_the_change(changes):
    assert changes.loc["quantization"]["latent_matched_change"] == pytest.approx(-20)
    assert changes.loc["variance"]["latent_matched_change"] == pytest.approx(-10)
    low, high = changes.loc["quantization"][
        ["latent_matched_change_low", "latent_matched_change_high"]
    ]
    assert low == pytest.approx(-20) and high == pytest.approx(-20)


def test_ratio_of_latent_distortions_is_beside_the_change(changes):
    assert (changes["latent_mse_ratio_min"] == 1.1).all()
    assert (changes["latent_mse_ratio_max"] == 1.3).all()


def test_term_that_was_not_measured_has_no_change(codec_curve):
    terms = pd.DataFrame(
        {
            "image": image,
            "quality": quality,
            "limit": "l",
            "order": "paper",
            "term": "context",
            "latent_mse_ratio": 1.0,
            "bpp": np.nan,
        }
        for image in "ab"
        for quality in QUALITIES
    )
    (row,) = latent_matched_changes(codec_curve, terms).to_dict("records")
    assert np.isnan(row["latent_matched_change"])


def test_no_column_calls_a_latent_matched_change_a_bd_rate(changes):
    assert not [name for name in changes if "bd_rate" in name]
