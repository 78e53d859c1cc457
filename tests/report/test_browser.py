"""The page in a real browser: it is drawn, reacts to mouse and keyboard, and is accessible.

Needs Chromium (Debian: ``apt-get install chromium``); otherwise these tests are skipped.
"""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, sync_playwright
from small_page import make_kodak_page

from rdpipe.report.words import GLOSSARY
from rdpipe.theory import reverse_waterfill

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
SECTIONS = (
    "answer",
    "ladder",
    "curves",
    "latent-matched",
    "picture",
    "latents",
    "tables",
    "compare",
    "known",
    "reading",
    "provenance",
)
CHARTS = (
    "levers",
    "bounds",
    "waterfall",
    "changes",
    "stacks",
    "water",
    "channels",
    "calibration",
    "residuals",
    "filling",
    "compare",
)
POSITION = """chart => {
  const curve = chart.data.find((trace) => trace.name.includes("element"));
  const layout = chart._fullLayout, box = chart.getBoundingClientRect();
  return [
    box.x + layout.xaxis._offset + layout.xaxis.d2p(curve.x[3]),
    box.y + layout.yaxis._offset + layout.yaxis.d2p(curve.y[3]),
  ];
}"""
"""Script: position of the fourth point of the genie-aided curve on the screen."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page as large as that of two codecs on Kodak at eight qualities."""
    html = make_kodak_page()
    assert len(html) < 15e6
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"Chromium does not start: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(params=[1600, 390])
def page(request, browser, file):
    """The page at a width; a message on the console or a request over the network is an error."""
    view = browser.new_page(viewport={"width": request.param, "height": 900})
    problems = []

    def check_request(sent):
        if not sent.url.startswith(("file:", "data:", "blob:")):
            problems.append(sent.url)

    view.on("console", lambda message: problems.append(message.text))
    view.on("pageerror", lambda error: problems.append(str(error)))
    view.on("request", check_request)
    view.goto(file.as_uri())
    drawn(view, "levers")
    yield view
    assert problems == []
    view.close()


def drawn(page, chart):
    """Scroll to a chart, wait until it is drawn, and return it."""
    element = page.locator(f'[data-chart="{chart}"]:visible').first
    element.scroll_into_view_if_needed()
    element.locator(".main-svg").first.wait_for()
    return element


def show_genie(page):
    page.locator("#curves .run:visible").get_by_label("codec/element/test-channel").check()


def select_image(page, name):
    page.select_option("#image", str(int(name[5:]) - 1))


def shown_images(page):
    script = "select => [...select.options].map((option) => option.textContent.split(':')[0])"
    return page.locator("#image").evaluate(script)


def traces(chart):
    return chart.evaluate("chart => chart.data.map((trace) => [...(trace.y || [])])")


def test_every_section_and_chart_is_drawn_and_fits(page):
    for section in SECTIONS:
        page.locator(f"#{section}").scroll_into_view_if_needed()
        assert page.locator(f"#{section} h2:visible").count() == 1
    for chart in CHARTS:
        box = drawn(page, chart).bounding_box()
        assert box["width"] > 300 and box["height"] > 200
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hovering_over_a_curve_shows_its_name_kind_and_interval(page):
    chart = drawn(page, "bounds")
    show_genie(page)
    for neighbor in ("jpeg", "theirs", "codec/codec/test-channel"):
        page.locator("#curves .run:visible").get_by_label(neighbor).uncheck()
    chart.scroll_into_view_if_needed()
    x, y = chart.evaluate(POSITION)
    page.mouse.move(x, y)
    page.mouse.move(x + 1, y)
    label = chart.locator(".hovertext")
    label.first.wait_for()
    text = label.first.text_content()
    assert "codec/element/test-channel" in text and "genie-aided estimate, not a bound" in text
    assert "bpp at 32.00 dB" in text and "95 % interval" in text


def test_levers_are_at_equal_psnr_without_genies(page):
    names, saved = drawn(page, "levers").evaluate("chart => [chart.data[0].y, chart.data[0].x]")
    assert names == ["joint", "test channel", "rounding"]
    assert saved == pytest.approx([20, 12.34, 0.7])
    title = drawn(page, "changes").evaluate("chart => chart.layout.xaxis.title.text")
    assert "equal latent distortion" in title and "BD" not in title


def test_genie_is_dotted_and_hollow(page):
    script = (
        "chart => chart.data.map((trace) => [trace.name, trace.line.dash, trace.marker.symbol])"
    )
    chart = drawn(page, "bounds")
    assert "codec/element/test-channel" not in [name for name, *_ in chart.evaluate(script)]
    show_genie(page)
    looks = chart.evaluate(script)
    assert ["codec/element/test-channel", "dot", "diamond-open"] in looks
    # two of the six curves are achieved
    assert len({(dash, symbol) for _, dash, symbol in looks}) == 5


def test_codec_bound_and_baselines_have_their_names_at_their_curves(page):
    script = "chart => chart.layout.annotations.map((note) => note.text)"
    names = drawn(page, "bounds").evaluate(script)
    assert {"the codec", "rounding", "jpeg", "theirs"} <= set(names)
    first = page.locator("#curves .run:visible [data-legend] label").first
    assert "BD-rate -55.0 %" in first.inner_text()


def test_quality_limit_and_codec_can_be_selected(page):
    assert page.locator(".first:visible").inner_text().startswith("4.000 bpp at 32.00 dB. At the")
    page.select_option("#quality", "7")
    assert page.locator(".first:visible").inner_text().startswith("7.000 bpp")
    page.select_option("#limit", "genie")
    matched = page.locator("#latent-matched").inner_text()
    assert "above “genie” (genie-aided estimate, not a bound)" in matched
    assert "genie" not in page.locator("#answer .answer:visible").inner_text()
    page.select_option("#run", "1")
    assert page.locator("#answer h2:visible").inner_text().startswith("other on d")
    page.locator(".qualities:visible").get_by_role("button", name="q2").click()
    assert page.locator("#quality").input_value() == "2"
    assert page.locator(".first:visible").inner_text().startswith("2.000 bpp")
    assert page.locator("#curves .run:visible").count() == 1
    drawn(page, "bounds")


def test_link_has_the_selection_and_restores_it(page):
    page.select_option("#run", "1")
    page.select_option("#quality", "7")
    page.locator("#curves .run:visible").locator('[data-option="rate"]').select_option("log")
    page.locator("#picture").scroll_into_view_if_needed()
    page.locator("#map-pane-canvas").wait_for()
    select_image(page, "kodim07")
    assert "quality=7" in page.url and "image=kodim07" in page.url
    page.reload()
    assert page.locator("#run").input_value() == "1"
    assert page.locator(".first:visible").inner_text().startswith("7.000 bpp")
    assert drawn(page, "bounds").evaluate("chart => chart.layout.xaxis.type") == "log"
    page.locator("#picture").scroll_into_view_if_needed()
    page.locator("#map-pane-canvas").wait_for()
    assert page.locator("#decoded img").get_attribute("alt").startswith("kodim07, decoded")


def test_print_has_everything(page):
    page.emulate_media(media="print")
    page.wait_for_function("window.Plotly")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("#answer .overview:visible").count() == 16
    charts = page.locator("[data-chart]")
    assert page.locator("[data-chart] > .plot-container").count() == charts.count()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#answer .overview:visible").count() == 1


def test_dark_page_has_a_dark_background_and_enough_contrast(page):
    page.emulate_media(color_scheme="dark")
    chart = drawn(page, "bounds")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    assert chart.evaluate("chart => chart.layout.paper_bgcolor") == "#15181b"
    assert chart.evaluate("chart => chart.data[0].line.color") == "#f1f3f5"  # the codec
    violations = Axe().run(page, context="#answer").response["violations"]
    assert [violation["id"] for violation in violations] == []


def test_scales_views_and_curves_of_the_bounds(page):
    chart = drawn(page, "bounds")
    controls = page.locator("#curves .run:visible")
    before = len(traces(chart))
    controls.locator('[data-option="rate"]').select_option("log")
    assert chart.evaluate("chart => chart.layout.xaxis.type") == "log"
    controls.locator('[data-option="distortion"]').select_option(label="PSNR of the mean MSE")
    assert traces(chart)[0][0] == pytest.approx(28.9)
    controls.locator('[data-option="view"]').select_option("percent")
    assert traces(chart)[1] == pytest.approx([100 * 0.2 / q for q in range(1, 9)])
    controls.locator('[data-option="distortion"]').select_option("ms_ssim")
    assert chart.evaluate("chart => chart.data[1].x") == pytest.approx([12 + q for q in range(8)])
    controls.locator('[data-option="view"]').select_option("bpp")
    assert traces(chart)[1] == pytest.approx([0.2] * 8)
    controls.locator('[data-option="view"]').select_option("curves")
    controls.get_by_label("jpeg").uncheck()
    assert len(traces(chart)) == before - 1


def test_band_around_a_curve_is_the_paired_interval(page):
    """All images lie equally far from the codec, so the interval of the difference is one point."""
    chart = drawn(page, "bounds")
    script = """chart => {
      const band = chart.data.find((trace) => trace.name === "codec/codec/rounding, interval");
      return [band.x, band.y, band.fill];
    }"""
    rates, quality, fill = chart.evaluate(script)
    expected = [q - 0.1 for q in range(1, 9)]
    assert rates == pytest.approx(expected + expected[::-1]) and fill == "toself"
    assert quality == pytest.approx([28.0 + q for q in [*range(1, 9), *range(8, 0, -1)]])


@pytest.mark.parametrize("name, start", [("SVG", b"<svg"), ("PNG", b"\x89PNG")])
def test_chart_is_saved_as_an_image(page, name, start):
    chart = drawn(page, "levers")
    with page.expect_download() as download:
        chart.locator("xpath=following-sibling::div").get_by_text(name).click()
    assert download.value.suggested_filename == f"c-on-d-levers-q4.{name.lower()}"
    assert Path(download.value.path()).read_bytes().startswith(start)


def test_numbers_of_a_chart_are_saved(page):
    chart = drawn(page, "bounds")
    with page.expect_download() as download:
        chart.locator("xpath=following-sibling::div").get_by_text("CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    points = [(float(row["x"]), float(row["y"])) for row in rows if row["trace"] == "codec"]
    assert points == [(float(q), 28.0 + q) for q in range(1, 9)]


def test_term_is_explained_where_it_stands_by_keyboard_too(page):
    term = page.locator("#curves .run:visible figure .term", has_text="genie-aided estimate")
    shown = page.locator("#term-genie-aided-estimate")
    assert not shown.is_visible()
    term.focus()
    page.keyboard.press("Enter")
    shown.wait_for()
    assert shown.inner_text() == f"genie-aided estimate: {GLOSSARY['genie-aided estimate']}."
    place, below = term.bounding_box(), shown.bounding_box()
    assert abs(below["y"] - place["y"]) < 100 and below["x"] + below["width"] <= page.evaluate(
        "innerWidth"
    )
    page.keyboard.press("Escape")
    assert not shown.is_visible()
    term.click()
    assert shown.is_visible()


def test_table_is_sorted_by_a_column_and_back(page):
    table = page.locator("#curves .run:visible table").first
    header = table.locator("thead th", has_text="BD-rate, PSNR").first
    script = """table => [...table.tBodies[0].rows].map(
      (row) => row.cells[0].textContent.replace(/ \\(.*/, ""))"""
    before = table.evaluate(script)
    for order, expected in (
        ("ascending", ["variance element, test channel", "joint", "test channel"]),
        ("descending", ["rounding", "test channel", "joint"]),
    ):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == order
        names = table.evaluate(script)
        assert names[:3] == expected and names[-1] == "jpeg"  # its BD-rate is not defined
        assert set(names) == set(before)
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") is None and table.evaluate(script) == before


def test_total_stays_the_last_row(page):
    table = page.locator("#latent-matched .run:visible table:visible").first
    table.locator("thead button").first.click()
    names = table.evaluate("table => [...table.tBodies[0].rows].map((row) => row.className)")
    assert names.index("total") == len(names) - 1


def test_visible_rows_of_a_table_are_saved(page):
    region = page.locator("#tables .run:visible").get_by_label("Every image")
    buttons = region.locator("xpath=following-sibling::div[1]")
    saved = {}
    for name in ("CSV", "LaTeX"):
        with page.expect_download() as download:
            buttons.get_by_text(name).click()
        saved[download.value.suggested_filename] = Path(download.value.path()).read_text()
    rows = list(csv.DictReader(saved["Every-image.csv"].splitlines()))
    assert len(rows) == 24 and {row["quality"] for row in rows} == {"4"}
    assert rows[0]["image"] == "kodim01" and float(rows[0]["real bpp"]) == 4
    lines = saved["Every-image.tex"].splitlines()
    assert r"\begin{tabular}{lrrrrrrrr}" in lines and lines[-1] == r"\end{tabular}"
    assert lines[5].startswith(r"kodim01 & 70 $\times$ 50 & 4 & 4.0000 & 32.00 &")


def test_text_of_a_table_is_escaped_for_latex(page):
    text = page.evaluate(r"latexOf('a_b & 5 %, -0.5 to +1.0 (-2) \\ x-3')")
    assert text == r"a\_b \& 5 \%, $-$0.5 to $+$1.0 ($-$2) \textbackslash{} x-3"


def test_water_level_moves_the_point_along_the_curve(page):
    """Against reverse water-filling of the package."""
    chart = drawn(page, "filling")
    slider = page.locator("#level")
    variances = np.array(chart.evaluate("chart => chart.data[0].y"))
    bits = []
    for percent in ("20", "70"):
        slider.fill(percent)
        level = (
            variances.min() / 2 * (2 * variances.max() / variances.min()) ** (int(percent) / 100)
        )
        filled = reverse_waterfill(variances, np.minimum(variances, level).sum())
        bits.append(filled.rate / len(variances))
        x, y = chart.evaluate("chart => [chart.data[3].x[0], chart.data[3].y[0]]")
        assert x == pytest.approx(bits[-1], rel=1e-6)
        assert y == pytest.approx(np.minimum(variances, level).mean(), rel=1e-6)
        text = page.locator("#filled").inner_text()
        assert f"{x:.3f} bit/latent" in text
        assert f"{(variances > level).sum()} of {len(variances)} channels are coded" in text
    assert bits[0] > bits[1]


def test_maps_show_the_value_under_the_pointer(page):
    page.locator("#picture").scroll_into_view_if_needed()
    canvas = page.locator("#map-pane-canvas")
    canvas.wait_for()
    images = page.locator(".pane img")
    assert images.count() == 4
    assert all(images.evaluate_all("all => all.map((image) => image.naturalWidth > 50)"))
    select_image(page, "kodim07")
    gap = "quantization gap, to decodable"
    page.get_by_role("button", name=gap, exact=True).click()
    assert page.locator('#small [aria-pressed="true"]').inner_text() == gap
    canvas.hover()
    assert f"{gap}, row" in page.locator("#pointed").inner_text()
    assert page.locator("#error-pane-canvas").count() == 1
    page.locator("#error-pane-canvas").hover(position={"x": 1, "y": 1})
    assert page.locator("#pointed-error").inner_text() == "error, row 0, column 0: 0.0 levels"
    decoded = page.locator("#decoded img").get_attribute("alt")
    assert decoded == "kodim07, decoded at quality 4"


def test_images_are_sorted_and_original_and_decoded_alternate(page):
    page.locator("#picture").scroll_into_view_if_needed()
    page.locator("#map-pane-canvas").wait_for()
    assert page.locator("#decoded-caption").inner_text() == "decoded at q4: 4.000 bpp at 32.00 dB"
    names = shown_images(page)
    assert names == sorted(names) and len(names) == 24
    page.evaluate(
        "Object.assign(DATA.runs[0].images[4], { kodim05: [9, 20, 3], kodim06: [1, 10, 12.5] })"
    )
    page.select_option("#order", "bpp")
    assert shown_images(page)[0] == "kodim05"
    page.select_option("#order", "psnr")
    assert shown_images(page)[:2] == ["kodim06", "kodim05"]
    page.select_option("#order", "avoidable")
    assert shown_images(page)[:2] == ["kodim06", "kodim05"]
    first = page.locator("#image option").first.text_content()
    assert first == "kodim06: 1.000 bpp at 10.00 dB; the bound -12.5 %"
    source = page.locator("#original img").get_attribute("src")
    page.locator("#decoded img").evaluate("image => { image.src = image.src + '#decoded'; }")
    page.locator("#flicker").check()
    page.wait_for_function("document.querySelector('#original img').src.endsWith('#decoded')")
    page.locator("#flicker").uncheck()
    assert page.locator("#original img").get_attribute("src") == source


def test_selected_codecs_are_compared(page):
    chart = drawn(page, "compare")
    assert len(traces(chart)) == 4
    page.locator("#compared").get_by_label("other on d").uncheck()
    assert len(traces(chart)) == 2
    assert page.locator("#compare tbody tr:visible").count() == 2


def test_keyboard_reaches_every_control(page):
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
    active = "document.activeElement.id || document.activeElement.dataset.option || ''"
    names = set()
    for _ in range(300):
        page.keyboard.press("Tab")
        names.add(page.evaluate(active))
    controls = {
        "level",
        "run",
        "quality",
        "limit",
        "rate",
        "distortion",
        "view",
        "image",
        "map",
        "opacity",
    }
    assert controls <= names
    page.locator("#quality").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".first:visible").inner_text().startswith("5.000 bpp")


def test_axe_finds_no_accessibility_problem(page):
    for chart in CHARTS:
        drawn(page, chart)
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    violations = Axe().run(page).response["violations"]
    problems = [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in violations]
    assert problems == []


def test_page_in_a_frame_without_a_url_is_drawn(browser, file):
    """As in the output of a notebook, where the URL cannot be replaced."""
    view, problems = browser.new_page(), []
    view.on("pageerror", lambda error: problems.append(str(error)))
    view.set_content('<iframe width="1200" height="800"></iframe>')
    frame = "html => { document.querySelector('iframe').srcdoc = html; }"
    view.evaluate(frame, file.read_text(encoding="utf-8"))
    inside = view.frame_locator("iframe")
    chart = inside.locator('[data-chart="levers"]:visible').first
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    inside.locator("#quality").select_option("5")
    assert inside.locator(".first:visible").inner_text().startswith("5.000 bpp")
    assert problems == []
    view.close()
