"""The page, from small hand-made tables."""

import base64
import gzip
import re

import numpy as np
from plotly.offline import get_plotlyjs
from small_page import EVIL, LIMITS, make_page, make_tables, without_intervals

from rdpipe.report import page


def section(html: str, name: str) -> str:
    """Return the source of one section of the page."""
    return re.search(rf'<section id="{name}".*?</section>', html, re.S)[0].replace("&#39;", "'")


def test_text_from_outside_does_not_become_markup(html):
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert "\\u003cscript\\u003ealert(1)" in html  # inside the JSON


def test_page_is_one_file(html):
    static = html[: html.index("<script>")]
    assert not re.search(r"(src|href)=[\"']?(http|//)", static) and "@import" not in static
    assert len(html) < 2.5e6


def test_library_of_the_charts_is_complete_in_the_page(html):
    packed = re.search('<script type="text/plain" id="plotly">(.*?)</script>', html, re.S)[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_answer_comes_first_in_words(html):
    first = "1.000 bpp at 29.00 dB. At the same PSNR, at least 20.0 % of the bits of these images"
    first += " are avoidable"
    assert html.index(first) < html.index('<section id="curves"')
    curves = section(html, "curves")
    assert "the rate of this limit is -12.3 % (BD-rate; 95 % interval -14.0 to -11.0 %)" in curves
    assert "its rate is" not in html[: html.index('class="explained"')]
    assert "Where c on d loses its bits, and which bounds on the rate are known." in html


def test_answer_says_only_what_holds_at_equal_psnr(html):
    answer = section(html, "answer")
    assert "the best upper bound on R(D), “joint”, has a BD-rate of -20.0 %" in answer
    assert "Available today: 1.25 % (1.00 to 1.50 %) in real bytes" in answer
    without = re.sub("<button[^>]*>Genie-aided estimates</button>, and curves", "", answer)
    assert "genie" not in without
    assert "latent-matched" not in answer.lower() and "distortion" not in answer
    assert 'data-chart="levers"' in answer and 'data-chart="waterfall"' not in answer


def test_latent_matched_figures_have_a_section_of_their_own_and_are_no_bd_rates(html):
    matched = section(html, "latent-matched")
    assert html.index('<section id="answer"') < html.index('<section id="latent-matched"')
    assert not re.search("bd.?rate", matched, re.I)
    assert "not at equal PSNR" in matched and "available" not in matched
    for chart in ("waterfall", "changes", "stacks"):
        assert f'data-chart="{chart}"' in matched
    assert "0.200 bpp (0.190 to 0.210) above “decodable” (upper bound on R(D))" in matched
    assert "prior -0.010 (-0.020 to 0.000), side information 0.000, quantization 0.200" in matched
    terms = "side information 0.000, variance 0.050 (0.040 to 0.060), quantization 0.200"
    assert terms in matched and "above “genie” (genie-aided estimate, not a bound)" in matched
    # context is never measured; variance only to the genie
    assert matched.count("<td>not measured</td>") == 2 * 3
    assert (
        "This limit keeps the codec's own variance and context model, so it cannot show losses"
        " there." in matched
    )
    # the totals are 0.2 and 0.25 of 1 and of 2 bit/pixel
    assert "10 to 20 % of the bits lie above" in matched
    assert "12 to 25 % of the bits lie above" in matched
    # the ratio of latent distortions is beside the sentences, the tables and the comparison
    assert "at 1.250 times the codec's distortion of the latents" in matched
    assert matched.count("<td>1.250</td>") >= 6


def test_missing_point_is_reported(tables):
    points = tables["points"]
    points.loc[
        (points["quality"] == 2) & (points["curve"] == "codec/codec/test-channel"), "bpp"
    ] = np.nan
    content = page.run_content("d", "c", tables, LIMITS)
    assert content["unreached"] == [{"label": "test channel", "quality": 2}]


def test_tables_show_the_numbers(html):
    for shown in (
        "1.0000",
        "0.9429",
        "<td>not defined: no common range of PSNR</td>",
        "images left out",
        "alert(1)&lt;/script&gt; is a copy</li>",
        "+0.4000",
        "+0.0123",
        "+0.0111",
        "0.00240 bit/pixel at q1, 0.00480 bit/pixel at q2",
        "1.250",
        '<td class="text">same picture</td><td>29.00</td>',
        '<td class="text">PSNR</td><td>29.00</td><td>0.9300</td><td></td>',
        "0123abcd",
        "map_latents",
        "f/water.pdf",
        "2601.09254",
    ):
        assert shown in html, shown


def test_bd_rates_have_their_reason_and_their_common_range(tables, html):
    content = page.run_content("d", "c", tables, LIMITS)
    rows = {row["curve"]: row for row in content["bd_rates"]}
    assert rows["jpeg"]["undefined"] == "not defined: no common range of PSNR"
    assert "only 25 %" in rows["codec/element/test-channel"]["common_range"]
    curves = section(html, "curves")
    assert "-55.0 %, over only 25 % of the codec's PSNR range" in curves
    assert "<td>88 %</td>" in curves and "the curve: 1 dominated point left out" in curves


def test_image_that_makes_most_of_a_mean_is_flagged(tables, html):
    assert page.run_content("d", "c", tables, LIMITS)["warnings"] == []
    points = tables["image_points"]
    points.loc[points["image"] == "one", "bpp"] *= 100
    (text,) = page.run_content("d", "c", tables, LIMITS)["warnings"]
    assert text.startswith("one alone makes up to 99 % of the mean bit/pixel (")


def test_one_image_has_no_intervals():
    tables = without_intervals(make_tables(["one"]))
    html = make_page(["one"], tables=tables)
    static = re.sub("<script.*?</script>", "", html, flags=re.S)
    assert not re.search(r"\bnan\b", static)
    assert "has a BD-rate of -20.0 % (no 95 % interval)" in static
    assert "0.200 bpp above “decodable”" in static


def test_bd_rates_have_the_images_won_and_a_large_interpolation_error():
    tables = make_tables()
    rates = tables["bd_rates"]
    tables["bd_rates"] = rates.assign(interpolation_error=0.5 * (rates["curve"] == "joint"))
    table = section(make_page(tables=tables), "curves")
    row = re.search(r'<th class="text" scope="row">joint</th>.*?</tr>', table, re.S)[0]
    assert "<td>1 of 2</td>" in row and "another interpolation changes it by 0.50 points" in row
    assert table.count("another interpolation") == 1


def test_table_of_bd_rates_has_every_measure(html):
    table = section(html, "curves")
    for name in ("PSNR", "PSNR of the mean MSE", "MS-SSIM"):
        assert f'<th scope="col">BD-rate, {name}</th>' in table
    row = re.search(r'<th class="text" scope="row">joint</th>.*?</tr>', table, re.S)[0]
    assert ["-20.0 %", "-19.8 %", "-17.0 %"] == re.findall(r"<td>(-\d+\.\d %)</td>", row)
    assert "<td>28.90</td><td>12.00</td>" in table  # of a point


def test_page_of_a_run_at_equal_similarity():
    tables = make_tables()
    tables["ladder"] = tables["ladder"].assign(matched_at="ms-ssim")
    html = make_page(tables=tables)
    answer = section(html, "answer")
    assert "“joint”, has a BD-rate of -17.0 %" in answer and "equal PSNR" not in answer
    assert '<th scope="col">BD-rate, MS-SSIM</th>' in section(html, "curves")
    assert "at equal MS-SSIM" in section(html, "compare")
    assert page.run_content("d", "c", tables, LIMITS)["payload"]["measure"] == "MS-SSIM"


def test_config_and_command_are_verbatim(html):
    provenance = html[html.index('<section id="provenance"') :]
    assert "root: &lt;script&gt;alert(1)&lt;/script&gt; xargs -0\n" in provenance
    assert "&lt;/script&gt;&#39; -0</code>" in provenance


def test_every_word_that_is_explained_is_on_the_page(html):
    marked = set(re.findall(r'popovertarget="([^"]+)"', html))
    explained = set(re.findall(r'id="([^"]+)" popover>', html))
    assert marked == explained and len(explained) >= 12


def test_gaps_by_content_are_on_the_page(html):
    """The test channel has 0.8 of the bits of rounding, times 1, 0.9 and 0.8."""
    table = html[html.index("<h3>By content</h3>") :]
    table = table[: table.index("</table>")]
    heads, rows = table.split("</thead>")
    head = re.findall(r"<th[^>]*>([^<]*)</th>", heads)
    gap = "quantization gap, to decodable, % of the bits there"
    assert gap in head and any(text.endswith("(genie-aided, not a bound)") for text in head)
    shown = [re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in rows.split("<tr ")[1:]]
    of_first = [dict(zip(head, row, strict=True)) for row in shown if row[1] == "1"]
    assert [row["content"] for row in of_first] == ["smooth", "texture", "edges"]
    assert [row["area, %"] for row in of_first] == ["50", "30", "20"]
    assert [row["bits, %"] for row in of_first] == ["20", "50", "30"]
    assert [row[gap].strip() for row in of_first] == ["20.0", "28.0", "36.0"]
