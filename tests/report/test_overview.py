"""The bar at the top of the page: its parts add up, and its words hold at the edges."""

import re

import numpy as np
import pandas as pd
import pytest
from small_ladder import with_refined_latents, without_bitstream
from small_page import make_page, make_tables, without_intervals

from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.overview import overview


def views_of(tables, **replaced):
    """Return the overview of some tables, with other columns in the ladder."""
    points = tables["points"][tables["points"]["role"] == CurveRole.CODEC]
    ladder = tables["ladder"][tables["ladder"]["limit"] == "decodable"].assign(**replaced)
    return overview(points, ladder, tables["codes"], tables["available"])


def with_rates(*shares):
    """Return the rungs of a codec with one quality and one bit/pixel, with other rates."""
    tables = make_tables(qualities=(1,))
    ladder = tables["ladder"]
    ladder = ladder[(ladder["limit"] == "decodable") & (ladder["rung"] < len(shares))]
    total = 100 * (np.array(shares) - 1)
    rungs = ladder[ladder["quality"].notna()].assign(
        bpp=shares, total=total, total_low=total - 1, total_high=total + 1
    )
    return tables | {"ladder": rungs}


def test_parts_and_the_rest_make_the_whole_rate(tables):
    for view in views_of(tables):
        percents = [part["percent"] for part in view["parts"]]
        assert sum(percents) + view["rest"]["percent"] == pytest.approx(100)
        ends = [part["start"] + part["length"] for part in view["parts"]]
        assert ends[-1] == pytest.approx(1 - view["rest"]["length"])
        assert [part["start"] for part in view["parts"]] == pytest.approx([0, *ends[:-1]])


def test_only_steps_that_change_something_are_parts_and_only_real_codes_are_solid(tables):
    view = views_of(tables)[0]
    shown = [(part["name"], part["realizable"]) for part in view["parts"]]
    assert shown == [
        ("entropy coder", True),
        ("prior", True),
        ("quantization", False),
        ("jointly trained transforms", False),
    ]


def test_sentence_has_the_rate_the_interval_and_what_exists_today(tables):
    assert views_of(tables)[1]["text"] == (
        "2.000 bpp at 30.00 dB. At the same PSNR, at least 20.0 % of the bits of these images are"
        " avoidable with retrained transforms; of images like these, 18.0 to 22.0 % (95 % interval)"
        ". A decoder and encoder that exist"
        " today save 1.2 % (1.0 to 1.5 %) on average over the curve, in real bytes, with variance"
        " calibrated, rounding."
    )


def test_lengths_are_those_of_codec_code_and_bound(tables):
    first, second = views_of(tables)
    names = [(length["name"], length["bpp"]) for length in first["lengths"]]
    assert names[0] == ("codec, real bytes", 1.0)
    assert names[1] == ("best real code, variance calibrated, rounding", 0.92)
    assert names[2][0] == "upper bound on R(D), joint" and names[2][1] == pytest.approx(0.8)
    changes = [length["change"] for length in first["lengths"]]
    assert changes == ["", " (-8.0 %)", " (-20.0 %)"]
    assert len(second["lengths"]) == 2  # no code was written at the second quality
    assert [first["height"], second["height"]] == [0.5, 1.0]


def test_negative_step_costs_bits_and_stays_inside_the_bar():
    """The model needs more bits than were written, and the variance costs bits."""
    (view,) = views_of(with_rates(1.0, 1.1, 1.05, 1.06, 0.9))
    assert view["scale"] == 1.1 and view["lengths"][0]["length"] == pytest.approx(1 / 1.1)
    assert [part["percent"] for part in view["parts"]] == pytest.approx([-10, 5, -1, 16])
    for part in view["parts"]:
        assert 0 <= part["start"] < part["start"] + part["length"] <= 1 + 1e-12


def test_step_is_certain_if_its_interval_excludes_zero(tables):
    for low, high, certain in ((0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.2, False)):
        (parts, _) = (view["parts"] for view in views_of(tables, saved_low=low, saved_high=high))
        assert [part["certain"] for part in parts] == [certain] * len(parts)
    (parts, _) = (view["parts"] for view in views_of(tables, saved_low=np.nan, saved_high=np.nan))
    assert not any(part["certain"] for part in parts)


def test_codec_below_its_loose_bound_has_no_bound():
    (view,) = views_of(with_rates(1.0, 1.01, 1.02, 1.03, 1.04, 1.1))
    assert view["parts"] == [] and view["rest"]["percent"] == 100 and view["saved"] == 0
    assert "No rung of the ladder needs fewer bits at the same PSNR." in view["text"]


def test_rung_that_is_unknown_at_a_quality_is_skipped():
    (view,) = views_of(with_rates(1.0, 0.99, 0.98, np.nan, np.nan, 0.9))
    assert [part["percent"] for part in view["parts"]] == pytest.approx([1, 1, 8])


def test_genie_is_never_a_part(tables):
    kinds = tables["ladder"]["kind"].where(tables["ladder"]["rung"] == 0)
    views = views_of(tables, kind=kinds.fillna(str(BoundKind.GENIE_AIDED)))
    assert [view["parts"] for view in views] == [[], []]


def test_codec_that_codes_nothing_has_an_empty_bar():
    (view,) = views_of(with_rates(0.0, 0.0))
    assert view["parts"] == [] and view["scale"] == 1.0


@pytest.mark.parametrize(
    "images, qualities", [(["one"], (1,)), (["one"], (1, 2)), (["one", "two"], (1,))]
)
def test_page_of_one_image_or_one_quality_has_whole_sentences(images, qualities):
    tables = make_tables(images, qualities)
    if len(images) == 1:
        tables = without_intervals(tables)
    if len(qualities) == 1:
        rates = {"bd_rate": np.nan, "bd_rate_low": np.nan, "bd_rate_high": np.nan}
        tables["available"] = tables["available"].assign(**rates)
        tables["bd_rates"] = tables["bd_rates"].assign(**rates, reason="it has only one point")
    html = make_page(images, qualities, tables=tables)
    shown = re.sub("<(script|style).*?</(script|style)>", "", html, flags=re.S)
    text = re.sub("<[^>]*>", " ", shown)
    assert not re.search(r"\bnan\b|(?<![\w.])-0\.0+(?!\d)", text)
    assert not re.search(r"(?<![-+\d.])(\d[.\d]*) to \1 ", text)
    first = re.search('<p class="first">(.*?)</p>', html)[1]
    assert ("at least 20.0 %" in first) is (len(images) > 1)
    assert ("needs more images to be certain" in first) is (len(images) == 1)
    assert ("is not known over the curve" in first) is (len(qualities) == 1)


def test_nothing_measured_today_is_said(tables):
    empty = tables | {"available": tables["available"][:0], "codes": pd.DataFrame()}
    assert views_of(empty)[0]["text"].endswith("What can be saved today was not measured.")
    none = tables | {"available": tables["available"].assign(bd_rate=0.5)}
    assert "No code that could be built today" in views_of(none)[0]["text"]
    coded = tables | {"available": tables["available"].assign(kind=str(BoundKind.ACHIEVABLE))}
    assert views_of(coded)[0]["text"].endswith(
        "A decoder and encoder that could be built today (code length) save 1.2 % (1.0 to 1.5 %)"
        " on average over the curve, with variance calibrated, rounding."
    )
    unsure = tables | {"available": tables["available"].assign(bd_rate_high=0.5)}
    assert "cannot be distinguished from 0" in views_of(unsure)[0]["text"]


def test_part_after_refined_latents_says_that_the_latents_are_the_codecs_own(tables):
    refined = tables | {"ladder": with_refined_latents(tables["ladder"], "prior")}
    parts = views_of(refined)[0]["parts"]
    assert [part["note"] for part in parts] == ["", "", " (without the refined latents)", ""]
    assert "quantization (without the refined latents)" in make_page(tables=refined)


def test_codec_without_a_bitstream_has_a_code_length(tables):
    coded = tables | {"ladder": without_bitstream(tables["ladder"])}
    assert views_of(coded)[0]["lengths"][0]["name"] == "codec, code length"
    (caption,) = set(re.findall("The rate at q1, from the (.*?) down", make_page(tables=coded)))
    assert caption == "code length"
