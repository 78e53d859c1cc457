"""The cards of the components say what is measured, and what is not."""

import numpy as np
import pandas as pd
import pytest
from small_ladder import with_refined_latents, without_bitstream

from rdpipe.core.axes import AXES
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.cards import COMPONENTS, cards
from rdpipe.report.labels import with_labels
from rdpipe.report.words import TERM_NAMES


def cards_of(tables, **replaced):
    """Return the cards of some tables by their first term."""
    tables = tables | replaced
    ladder = tables["ladder"][tables["ladder"]["limit"] == "decodable"]
    names = ("earned", "available", "latents")
    content = cards(ladder, *(tables[name] for name in names), "psnr")
    return {card["terms"][0]: card for card in content}


def with_codes(tables, *rows):
    """Return a table of real codes: cell, role, and change of the rate in per cent."""
    table = pd.concat([tables["available"]] * len(rows), ignore_index=True)
    codes = table.assign(
        cell=[row[0] for row in rows],
        role=[str(row[1]) for row in rows],
        bd_rate=[row[2] for row in rows],
        bd_rate_low=[row[2] - 0.5 for row in rows],
        bd_rate_high=[row[2] + 0.5 for row in rows],
    )
    return with_labels({"available": codes})["available"]


def test_every_axis_and_every_term_but_the_prior_has_a_card():
    terms = [term for component in COMPONENTS for term in component.terms]
    assert {axis.term for axis in AXES} <= set(terms)
    assert set(terms) == set(TERM_NAMES) - {"prior"} and len(terms) == len(set(terms))


def test_what_is_left_is_that_of_the_rung_with_its_interval(tables):
    first, second = cards_of(tables)["quantization"]["left"]
    assert first == {
        "quality": 1,
        "texts": [
            "11.6 % of the real bytes, 0.1164 bpp (95 % interval 0.1064 to 0.1264), as a bound"
        ],
    }
    assert second["texts"][0].startswith("11.6 % of the real bytes, 0.2328 bpp")


def test_what_was_not_measured_says_so(tables):
    by_term = cards_of(tables)
    assert by_term["variance"]["left"][0]["texts"] == ["not measured"]
    encoder = by_term["encoder"]
    assert encoder["left"][0]["texts"] == ["not measured: no curve of this run changes it"]
    assert encoder["earned"] == encoder["code"] == encoder["seconds"] == "not measured"


def test_saving_whose_interval_includes_0_is_not_claimed(tables):
    ladder = tables["ladder"]
    by_term = cards_of(tables, ladder=ladder.assign(saved_low=-0.001))
    text = by_term["quantization"]["left"][0]["texts"][0]
    assert text.endswith("as a bound; cannot be distinguished from 0 with these images")
    unknown = cards_of(tables, ladder=ladder.assign(saved_low=np.nan, saved_high=np.nan))
    text = unknown["quantization"]["left"][0]["texts"][0]
    assert "(no 95 % interval)" in text and "distinguished" not in text
    worse = cards_of(tables, ladder=ladder.assign(saved=-0.1, saved_low=-0.2, saved_high=-0.01))
    assert worse["quantization"]["left"][0]["texts"][0].startswith("costs bits: -10.0 % of")
    nowhere = cards_of(tables, ladder=ladder.assign(saved=np.nan, remark=""))
    assert "does not reach this quality" in nowhere["quantization"]["left"][0]["texts"][0]


def test_rung_that_saves_nothing_is_not_a_saving(tables):
    texts = cards_of(tables)["decoder"]["left"][0]["texts"]
    assert len(texts) == 2 and texts[1].startswith("nothing shown: ")


def test_codes_belong_to_the_one_term_that_they_change(tables):
    codes = with_codes(
        tables,
        ("codec/codec/rounding", CurveRole.CELL, -0.2),
        ("codec/codec/rounding/calibrated", CurveRole.CELL, -4.0),
        ("zero/codec/rounding/calibrated", CurveRole.CELL, -4.0),
        ("codec/codec/lattice-e8/calibrated", CurveRole.CELL, -5.0),
        ("codec/codec/trellis", CurveRole.CELL, -3.0),
        ("linear-causal/calibrated/rounding", CurveRole.CELL, -9.0),
        ("better", CurveRole.REFINED, -7.0),
    )
    by_term = cards_of(tables, available=codes)
    assert by_term["quantization"]["code"] == (
        "E8 lattice, calibrated saves 5.0 % (4.5 to 5.5 %), real bytes"
    )
    assert by_term["encoder"]["code"].startswith("better saves 7.0 %")
    assert by_term["coder"]["code"].startswith("rounding saves 0.2 %")
    assert "cannot be distinguished from 0" in by_term["coder"]["code"]
    assert by_term["context"]["code"] == "not measured"
    costs = with_codes(tables, ("zero/codec/rounding", CurveRole.CELL, 3.0))
    assert cards_of(tables, available=costs)["context"]["code"] == (
        "mean zero, rounding costs 3.0 % (2.5 to 3.5 %), real bytes"
    )
    assert by_term["variance"]["code"] == by_term["context"]["code"] == "not measured"


def test_earned_is_against_the_cells_without(tables):
    by_term = cards_of(tables)
    variance = by_term["variance"]["earned"]
    assert variance.startswith("of the bits needed without it, against one transmitted variance")
    assert variance.endswith(": 20.0 % (17.5 to 22.5 %)")
    assert by_term["context"]["earned"] == "not measured"
    assert by_term["side"]["earned"].startswith("costs 6.2 % of the bits")
    undefined = tables["earned"].assign(bd_rate=float("nan"), reason="no common range of PSNR")
    text = cards_of(tables, earned=undefined)["variance"]["earned"]
    assert text.endswith(": is not defined over the curve (no common range of PSNR)")
    partly = cards_of(tables, earned=tables["earned"].assign(overlap=0.25))["variance"]["earned"]
    assert partly.endswith("(17.5 to 22.5 %) over only 25 % of the codec's PSNR range")


@pytest.mark.parametrize("kind, word", [(BoundKind.ACHIEVED, "today"), (BoundKind.GENIE_AIDED, "")])
def test_kind_of_a_rung_is_said(tables, kind, word):
    by_term = cards_of(tables, ladder=tables["ladder"].assign(kind=str(kind)))
    text = by_term["quantization"]["left"][0]["texts"][0]
    assert text.endswith(word or "genie-aided estimate, not a bound")


def test_codec_without_latents_that_are_coded(tables):
    empty = tables["latents"].assign(side_bits=0.0, latent_bits=0.0)
    assert cards_of(tables, latents=empty)["side"]["earned"] == "nothing is coded"


def test_cost_of_refinement_is_on_the_card_of_the_encoder(tables):
    ladder = tables["ladder"].replace({"term": {"quantization": "encoder"}})
    ladder = ladder.assign(refinement_seconds=12.5 * (ladder["term"] == "encoder"))
    by_term = cards_of(tables, ladder=ladder)
    assert by_term["encoder"]["seconds"] == "adds 12.5 s per megapixel to the encoder"


def test_time_of_the_best_real_code_is_on_its_card(tables):
    """The rung of the quantization is a bound; the code that exists has a time."""
    codes = with_codes(
        tables,
        ("codec/codec/lattice-e8/calibrated", CurveRole.CELL, -5.0),
        ("codec/codec/trellis/calibrated", CurveRole.CELL, -3.0),
    ).assign(encoder_seconds=[2.5, 0.5])
    by_term = cards_of(tables, available=codes)
    assert by_term["quantization"]["seconds"] == "2.5 s per megapixel for the whole encoder"


def test_time_of_another_code_is_not_that_of_the_best(tables):
    """Two refined codecs, of which the first rung is not the better one."""
    codes = with_codes(tables, ("better", CurveRole.REFINED, -7.0))
    codes = codes.assign(encoder_seconds=np.nan)
    ladder = tables["ladder"].replace({"term": {"quantization": "encoder"}})
    ladder = ladder.assign(refinement_seconds=12.5 * (ladder["term"] == "encoder"))
    assert cards_of(tables, ladder=ladder, available=codes)["encoder"]["seconds"] == "not measured"
    of_code = ladder.assign(name="better: codec/codec/rounding")
    seconds = cards_of(tables, ladder=of_code, available=codes)["encoder"]["seconds"]
    assert seconds == "adds 12.5 s per megapixel to the encoder"


def test_quantization_after_refined_latents_says_that_the_latents_are_the_codecs_own(tables):
    by_term = cards_of(tables, ladder=with_refined_latents(tables["ladder"], "prior"))
    text = by_term["quantization"]["left"][0]["texts"][0]
    assert text.endswith("as a bound, without the refined latents")


def test_codec_without_a_bitstream_has_a_code_length(tables):
    by_term = cards_of(tables, ladder=without_bitstream(tables["ladder"]))
    assert by_term["quantization"]["left"][0]["texts"][0].startswith("11.6 % of the code length, ")


def test_real_code_is_compared_with_the_bytes_of_the_codec(html):
    compared = "against the codec's own real bytes, coder included</dt>"
    assert html.count(f"best real code that changes this, over the curve, {compared}") == len(
        COMPONENTS
    )
