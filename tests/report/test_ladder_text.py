"""The ladder and the terms at equal pictures, in words and on the page."""

import re

import numpy as np
import pytest
from small_ladder import ladder_table, with_refined_latents
from small_page import EVIL, KINDS, RUN, make_page, make_tables

from rdpipe.report import ladder_text, page


@pytest.fixture
def ladder(tables):
    return page.of_limit(tables["ladder"], "decodable")


def without_joint(ladder):
    return ladder[ladder["term"] != "transforms"]


def section(html):
    return re.search(r'<section id="ladder".*?</section>', html, re.S)[0].replace("&#39;", "'")


def rows_of(html, table):
    """Return the text of the cells of a table, by row."""
    start = html.index(table)
    body = re.search(r"<tbody>(.*?)</tbody>", html[start:], re.S)[1]
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]


def test_upper_bound_says_at_least_how_much_is_avoidable_and_where(ladder):
    assert ladder_text.answer_sentence(ladder) == (
        "At equal PSNR, over the curve: at least 20.0 % of the bits of these images are avoidable"
        " with retrained transforms; of images like these, 18.0 to 22.0 % (95 % interval). Step by"
        " step, each of the bits that remain: entropy coder 0.5 %, prior 0.2 %, quantization 11.7"
        " %, jointly trained transforms 8.7 %. This is an upper bound on R(D)."
    )
    sentence = ladder_text.answer_sentence(without_joint(ladder))
    saved = "at least 12.3 % of the bits of these images are avoidable"
    assert f"{saved} with the codec's own transforms; of images like these, " in sentence


def test_steps_are_those_before_the_best_rung_that_change_something(ladder):
    """The first rung, the real bytes, has no change; rungs with a remark stay."""
    curve = ladder_text.over_the_curve(ladder)
    assert np.isnan(curve["change"].iloc[0])
    assert ladder_text.step_texts(curve[:1]) == []
    assert ladder_text.step_texts(curve[3:5]) == []
    small = curve.assign(change=-0.04)
    assert ladder_text.step_texts(small[2:3]) == []  # the prior
    assert ladder_text.step_texts(curve.assign(change=0.3)[2:3]) == ["prior -0.3 %"]


def test_refined_latents_are_named_if_the_best_rung_has_them(ladder):
    sentence = ladder_text.answer_sentence(with_refined_latents(ladder, "transforms"))
    assert "avoidable with retrained transforms and refined latents; of images" in sentence
    before = ladder_text.answer_sentence(with_refined_latents(ladder, "prior"))
    assert "avoidable with retrained transforms; of images" in before
    assert "quantization (without the refined latents) 11.7 %, jointly" in before


def test_test_channel_after_a_retuned_decoder_has_the_decoder_of_the_codec(ladder):
    retuned = ladder.replace({"term": {"prior": "decoder"}})
    texts = ladder_text.step_texts(ladder_text.over_the_curve(retuned))
    assert "quantization (without the retuned decoder) 11.7 %" in texts
    both = ladder_text.over_the_curve(with_refined_latents(retuned, "decoder"))
    texts = ladder_text.step_texts(both)
    assert "quantization (without the refined latents and the retuned decoder) 11.7 %" in texts


def test_retuned_decoder_is_claimed_only_if_the_last_rung_that_changes_has_it(ladder):
    retuned = ladder.replace({"term": {"prior": "decoder"}})
    channel = ladder_text.over_the_curve(without_joint(retuned))
    assert "with the codec's own transforms; of images" in ladder_text.claim(channel)
    rungs = ladder_text.over_the_curve(without_joint(retuned)).assign(total_high=-0.1)
    last = ladder_text.claim(rungs[rungs["term"] != "quantization"])
    assert "with the codec's own transforms, a retuned decoder; of images" in last
    whole = ladder_text.claim(ladder_text.over_the_curve(retuned))
    assert "with retrained transforms; of images" in whole


def test_rung_with_the_own_latents_again_says_so(ladder):
    rows = ladder_text.ladder_rows(with_refined_latents(ladder, "prior"))
    remarks = [row["remark"] for row in rows if row["term"] == "quantization"]
    assert remarks == ["without the refined latents"]


def test_cost_of_refinement_is_said(ladder):
    rows = ladder_text.ladder_rows(with_refined_latents(ladder, "quantization"))
    remarks = [row["remark"] for row in rows if row["term"] == "quantization"]
    assert remarks == ["adds 12.5 s per megapixel to the encoder"]


def test_index_of_the_table_does_not_matter(ladder):
    """As in a table of several codecs, joined without a new index."""
    sentence = ladder_text.answer_sentence(ladder)
    assert ladder_text.answer_sentence(ladder.set_axis([0] * len(ladder))) == sentence


def test_measure_that_is_equal_is_said():
    similar = page.of_limit(ladder_table(RUN, (1, 2), measure="ms-ssim"), "decodable")
    assert ladder_text.answer_sentence(similar).startswith("At equal MS-SSIM, over the curve: ")


def test_ladder_without_a_saving(ladder):
    worse = ladder.assign(total=ladder["total"].abs())
    assert ladder_text.answer_sentence(worse) == (
        "At equal PSNR, over the curve: no rung of the ladder needs fewer bits than the codec."
    )


def test_unknown_ladder_says_why(ladder):
    columns = ["log_rate", "change", "total"]
    nothing = ladder.assign(**dict.fromkeys(columns, np.nan))
    assert ladder_text.answer_sentence(nothing) == (
        "At equal PSNR, the ladder is not known over the curve: it needs positive rates, and"
        " another quality of the picture at each point of the codec."
    )
    unknown = nothing.assign(log_rate=ladder["log_rate"].where(ladder["rung"] < 2))
    assert ladder_text.answer_sentence(unknown) == (
        "At equal PSNR, the ladder is not known over the curve: “codec/codec/rounding” does not"
        " reach the codec's quality everywhere."
    )


def test_genie_is_never_the_answer(tables):
    sentence = ladder_text.answer_sentence(page.of_limit(tables["ladder"], "genie"))
    assert sentence == (
        "At equal PSNR, over the curve: the best rung, “rounding”, changes the rate by"
        " -0.7 % (95 % interval -2.7 to +1.3 %). This saving cannot be distinguished from 0 with"
        " these images. Step by step, each of the bits that remain: entropy coder 0.5 %, prior"
        " 0.2 %. This is achievable."
    )


def test_achievable_rung_is_no_bound(ladder):
    codes = ladder[ladder["rung"].between(1, 2)]
    codes = codes.assign(total=-3.0, total_low=-4.0, total_high=-2.0)
    sentence = ladder_text.answer_sentence(codes)
    saved = "3.0 % of the bits of these images can be saved with the codec's own transforms"
    assert f"{saved}; of images like these, 2.0 to 4.0 % (95 % interval)." in sentence
    assert "at least" not in sentence and sentence.endswith("This is achievable.")


def test_saving_without_an_interval_is_not_claimed(ladder):
    sentence = ladder_text.answer_sentence(ladder.assign(total_low=np.nan, total_high=np.nan))
    assert "“joint”, changes the rate by -20.0 % (no 95 % interval)." in sentence
    assert "needs more images to be certain" in sentence and "at least" not in sentence


def test_saving_below_a_tenth_of_a_percent(ladder):
    small = without_joint(ladder)
    small = small.assign(total=small["total"] / 1000, total_low=-0.02, total_high=-0.01)
    assert "some, but less than 0.1 %, of the bits of these images are avoidable" in (
        ladder_text.answer_sentence(small)
    )


def test_answer_comes_first(tables, html):
    sentence = ladder_text.answer_sentence(page.of_limit(tables["ladder"], "decodable"))
    shown = html.replace("&#39;", "'")
    assert f'<p class="bound">{sentence}</p>' in shown
    assert shown.index(sentence) < shown.index('<section id="ladder"')


def test_rungs_on_the_page(html):
    rows = rows_of(section(html), "The ladder to “decodable”, at equal PSNR")
    assert rows[0][:6] == ["real bytes", "", "achieved", "", "", ""]
    assert rows[0][6:] == ["not measured", "1.0000", "0.0000", "2.0000", "0.0000", ""]
    assert rows[3][6] == "0.75" and rows[5][6] == "not measured"
    name = 'rounding<br> <small class="dim">(codec/codec/rounding)</small>'
    assert rows[3][:3] == [name, "variance", "achievable"]
    assert rows[3][3] == "0.00 %" and rows[3][-1] == "not measured: the limit has the codec's own"
    assert rows[5][3:6] == ["-11.72 %", "-12.22 to -11.22", "-12.34 %"]
    assert rows[6][:3] == ["joint", "jointly trained transforms", "upper bound on R(D)"]
    assert len(rows) == 8


def test_genie_rungs_are_marked_on_the_page(html):
    rows = rows_of(section(html), "The ladder to “genie”")
    assert [row[2] for row in rows[3:]] == ["genie-aided estimate, not a bound"] * 3
    assert section(html).count('<tr class="genie">') == 3


def test_text_of_a_rung_does_not_become_markup(html):
    shown = section(html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; would need +1.50 %</td>" in shown
    tables = make_tables(["one"])
    evil = {column: {"joint": EVIL} for column in ("name", "label")}
    tables["ladder"] = tables["ladder"].replace(evil)
    html = make_page(["one"], tables=tables)
    assert EVIL not in html
    assert '<th class="text" scope="row">&lt;script&gt;alert(1)&lt;/script&gt;</th>' in html


def test_terms_on_the_page_add_up_and_say_what_was_not_measured(html):
    shown = section(html)
    rows = {row[0]: row for row in rows_of(shown, "and “decodable”, at equal PSNR")}
    assert rows["variance"][1:4] == rows["context"][1:4] == ["not measured", "", ""]
    assert rows["quantization"][1] == "12.47" and rows["total"][1] == "13.17"
    assert rows["quantization"][4:7] == ["0.1164", "0.1064 to 0.1264", "0.1164"]
    genie = {row[0]: row for row in rows_of(shown, "and “genie”, at equal PSNR")}
    assert genie["variance"][1] == "50.38" and genie["variance"][3] == "58.53"
    for rows_of_limit in (rows, genie):
        values = [row[1] for row in rows_of_limit.values() if row[1] != "not measured"]
        *terms, total = map(float, values)
        assert sum(terms) == pytest.approx(total, abs=0.02)


def test_term_that_is_unknown_over_the_curve_was_measured_nevertheless(tables):
    terms = page.of_limit(tables["decomposition"], next(iter(KINDS)))
    unknown = terms.assign(log_rate=np.nan)
    absent = {row["term"]: row["absent"] for row in ladder_text.term_rows(unknown)}
    assert absent["total"] == "unknown" and absent["variance"] == "not measured"
