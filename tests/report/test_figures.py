"""The figures, from small hand-made tables."""

import re

import pytest
from small_page import make_tables, without_intervals

from rdpipe.report import figures, page


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_are_the_same_bytes_every_time(tables, name):
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "csv": b""}
    once, again = (figures.render(name, list(starts), tables) for _ in range(2))
    assert once == again and once.keys() == starts.keys()
    for suffix, start in starts.items():
        assert once[suffix].startswith(start) and len(once[suffix]) > 50


def test_workflow_declares_every_figure():
    rules = (page.TEMPLATES.parents[2] / "workflow" / "rules" / "report.smk").read_text()
    assert re.search(r'FIGURES = "(.*)"\.split', rules).group(1).split() == list(figures.FIGURES)


def test_genie_is_marked_in_every_figure(tables):
    for name in ("bounds", "savings"):
        assert b"genie-aided estimate, not a bound" in figures.render(name, ["svg"], tables)["svg"]
    assert b"element (genie)" in figures.render("gaps", ["svg"], tables)["svg"]


def test_decomposition_is_called_latent_matched_with_its_ratio(tables):
    svg = figures.render("decomposition", ["svg"], tables)["svg"]
    assert b"latent-matched" in svg and b"latent MSE ratio 1.250" in svg


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_of_one_image_have_no_intervals(name):
    tables = without_intervals(make_tables(["one"]))
    assert figures.render(name, ["svg"], tables)["svg"].startswith(b"<?xml")
