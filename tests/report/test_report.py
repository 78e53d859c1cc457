"""The page and its figures, from small tables made by hand."""

import base64
import re

import numpy as np
import pytest
from conftest import EVIL, LIMITS, make_maps

from rdpipe.report import answer, figures, page, payload, pictures, savings, style, words


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_are_the_same_bytes_every_time(tables, name):
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "csv": b""}
    once, again = (figures.render(name, list(starts), tables) for _ in range(2))
    assert once == again and once.keys() == starts.keys()
    for suffix, start in starts.items():
        assert once[suffix].startswith(start) and len(once[suffix]) > 50


def test_the_workflow_declares_every_figure():
    rules = (page.TEMPLATES.parents[2] / "workflow" / "rules" / "report.smk").read_text()
    assert re.search(r'FIGURES = "(.*)"\.split', rules).group(1).split() == list(figures.FIGURES)


def test_a_genie_is_marked_in_every_figure(tables):
    for name in ("bounds", "savings"):
        assert b"genie-aided estimate, not a bound" in figures.render(name, ["svg"], tables)["svg"]
    assert b"element (genie)" in figures.render("gaps", ["svg"], tables)["svg"]


@pytest.mark.parametrize("styles", [style.STYLES, style.WEB_STYLES])
def test_kinds_differ_in_more_than_colour(styles):
    looks = [tuple(map(str, one.values())) for one in styles.values()]
    assert len(set(looks)) == len(looks)
    assert styles.keys() == words.KINDS.keys()
    assert not {"open", "white"} & set(str(styles["achieved"]).split("-"))


def test_nothing_from_outside_becomes_markup(html):
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert "\\u003cscript\\u003ealert(1)" in html  # inside the JSON


def test_json_leaves_a_script_element_alone():
    text = payload.to_json({"</script>&": [float("nan"), 1 / 3, True, None, "\u2028"]})
    assert text == '{"\\u003c/script\\u003e\\u0026":[null,0.3333333,true,null,"\\u2028"]}'


def test_the_page_is_one_file(html):
    own = html[: html.index("<script>")]
    assert not re.search(r"(src|href)=[\"']?(http|//)", own) and "@import" not in own
    assert len(html) < 6e6


def test_the_answer_comes_first_in_words(html):
    assert "c at q1 on d: 1.000 bpp at 29.00 dB." in html
    assert "0.250 bpp (0.240 to 0.260) above “decodable” (upper bound on R(D))" in html
    terms = "side information 0.000, variance 0.050 (0.040 to 0.060), quantization 0.200"
    assert terms in html and "context -0.010 (-0.020 to 0.000)" in html
    assert "Of variance and context it says nothing: it has the codec's own." in html.replace("&#39;", "'")
    # total 0.25 of 1 and of 2 bit/pixel
    assert "12 to 25 % of the bits lie above" in html
    assert "its rate is" not in html
    assert "the rate of this limit is -12.3 % (BD-rate; 95 % interval -14.0 to -11.0 %)" in html


def test_the_largest_lever_and_what_is_available(tables):
    levers = tables["levers"][tables["levers"]["limit"] == "decodable"]
    assert answer.largest_lever(levers) == (
        "Largest lever: quantization; closing it is worth 10.0 % "
        "BD-rate at equal distortion of the latents (9.0 to 11.0 %); of that, 25 % is available to a real decoder today: "
        "codec/codec/trellis saves 2.5 % (2.0 to 3.0 %) by its code length, the best of those measured "
        "on these images."
    )
    none = levers.assign(available="", available_bd_rate=0.0)
    assert "none is available to a real decoder" in answer.largest_lever(none)
    untried = levers.assign(available="", available_bd_rate=np.nan)
    assert "no other real code on its axis is in the config" in answer.largest_lever(untried)
    assert answer.summary(levers.assign(bd_rate=1.0))["term"] == "none"
    assert "two qualities" in answer.largest_lever(levers.assign(bd_rate=np.nan))


def test_a_genie_that_needs_more_bits_than_a_decoder_says_so(tables):
    terms = tables["decomposition"]
    assert answer.no_better(terms, "genie") == answer.no_better(terms, "decodable") == ""
    lower = terms["bpp"] - 9.0 * ((terms["limit"] == "genie") & (terms["quality"] == 2))
    said = answer.no_better(terms.assign(bpp=lower), "genie")
    assert said.startswith("At q2 it needs more bits than “decodable”")


def test_savings_at_equal_psnr(tables):
    saved = savings.savings(tables["points"], tables["image_points"], {"resamples": 40, "seed": 0})
    saved = saved.set_index(["curve", "quality"])
    assert saved.loc["codec/codec/test-channel"]["saved"].to_numpy() == pytest.approx([0.2, 0.2])
    one = saved.loc["codec/codec/test-channel", 1]
    assert one["saved_low"] <= one["saved"] <= one["saved_high"]
    assert np.isnan(saved.loc["theirs", 1]["saved_low"])  # of published curves only averages are known
    far = tables["points"].assign(psnr=lambda t: t["psnr"] + 9 * (t["curve"] == "jpeg"))
    again = savings.savings(far, tables["image_points"], {"resamples": 2, "seed": 0})
    assert "jpeg" not in set(again["curve"])


def test_maps_are_bit_per_pixel_within_the_image():
    root, groups = make_maps(("one", "two"), 1, size=(50, 60))
    maps = pictures.maps_of(root, groups, LIMITS)
    assert maps["names"][:2] == ["bits spent", "quantization gap, to decodable"]
    one = maps["images"][0]
    assert (one["rows"], one["columns"]) == (4, 4)  # 5 columns of 16 reach into the padding
    assert one["down"] == pytest.approx(64 / 50) and one["across"] == pytest.approx(64 / 60)
    values = np.frombuffer(base64.b64decode(one["values"]), np.uint8)
    values = values.reshape(len(maps["names"]), 4, 4)
    low, high = maps["ends"][0]
    spent = groups[0]["bits"].values[0, :, :4] / 256
    assert low + values[0] / 255 * (high - low) == pytest.approx(np.minimum(spent, high), abs=high / 400)


def test_maps_are_coarser_where_there_are_many():
    assert pictures.pooled(np.arange(6.0).reshape(2, 3), 2).tolist() == [[2.0, 3.5]]
    root, groups = make_maps(("one",), 1)
    fine, coarse = (pictures.maps_of(root, groups, LIMITS, pool)["images"][0] for pool in (1, 2))
    assert (coarse["rows"], coarse["columns"]) == (2, 3)
    assert coarse["down"] == fine["down"] and coarse["across"] > fine["across"]


def test_images_are_made_smaller_until_they_fit():
    root, groups = make_maps(("one",), 1, size=(400, 400))
    files = [groups[0]["original"].values.tobytes()] * 3
    size = len(files[0])
    assert len(pictures.shrink(files, budget=3 * size)(files[0])) == pytest.approx(size * 4 / 3, abs=40)
    assert 3 * len(pictures.shrink(files, budget=size)(files[0])) * 3 / 4 < 1.01 * size


def test_what_is_missing_is_said(tables):
    points = tables["points"]
    points.loc[
        (points["quality"] == 2) & (points["curve"] == "codec/codec/test-channel"), "bpp"
    ] = np.nan
    content = page.run_content("d", "c", tables, LIMITS)
    assert content["unreached"] == [{"curve": "codec/codec/test-channel", "quality": 2}]


def test_tables_show_the_numbers(html):
    for shown in (
        "1.0000",
        "0.9429",
        "no common range",
        "images left out",
        "+0.4000",
        "+0.0123",
        "+0.0111",
        "0.00240 bit/pixel at q1, 0.00480 bit/pixel at q2",
        "1.250",
        "1.125",
        "0123abcd",
        "map_latents",
        "f/water.pdf",
        "2601.09254",
    ):
        assert shown in html, shown
