"""Sentences on latent-matched figures."""

import numpy as np

from rdpipe.report import latent_matched_text


def test_largest_change(tables):
    changes = tables["latent_matched"]
    changes = changes[changes["limit"] == "decodable"]
    assert latent_matched_text.change_sentence(changes) == (
        "Largest latent-matched term: quantization; closing it changes the rate by -10.0 %"
        " (-11.0 to -9.0 %), at 1.250 to 1.250 times the codec's distortion of the latents. This is"
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
    assert latent_matched_text.ratio_range(ratio) == "1.250"
