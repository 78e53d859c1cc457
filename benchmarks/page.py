"""The report page of two codecs on Kodak: seconds until its first chart is drawn, in Chromium."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.common import Figure, Options, alternate

LONGEST = 3
"""Longest time that the page may take in addition to an empty page, seconds."""
EMPTY = '<!DOCTYPE html><title>empty</title><div data-chart><p class="main-svg">.</p></div>'
"""A page on which the element that is waited for is there from the beginning."""


def write_kodak_page(file: Path) -> Path:
    """Write the page that the tests of the browser use."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from small_page import make_kodak_page

    file.write_text(make_kodak_page(), encoding="utf-8")
    return file


def seconds_until_drawn(page: Page, file: Path) -> float:
    """Return the wall-clock seconds from opening a page until its first chart is drawn.

    The bar at the top needs no script. The first chart is scrolled to, because it is drawn only if
    it is nearly on the screen.
    """
    start = time.perf_counter()
    page.goto(file.as_uri())
    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    page.locator(".main-svg").first.wait_for()
    return time.perf_counter() - start


def figures(options: Options) -> Iterator[Figure]:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        sys.exit("page: no Chromium on the PATH (Debian: apt-get install chromium)")
    report = write_kodak_page(options.work / "report.html")
    empty = options.work / "empty.html"
    empty.write_text(EMPTY, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def opened(file: Path) -> float:
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            seconds = seconds_until_drawn(page, file)
            page.close()
            return seconds

        rounds = alternate(options.rounds, lambda: opened(report), lambda: opened(empty))
        browser.close()
    ratios = [page / (nothing + LONGEST) for page, nothing in rounds]
    note = f"{min(page for page, _ in rounds):.2f} s, empty page {rounds[0][1]:.2f} s"
    reference = f"an empty page and {LONGEST} s"
    yield Figure("opening the report page, Kodak", reference, "<= 1", ratios, note)
