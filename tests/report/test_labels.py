"""Names of curves that people use."""

from small_page import make_page, make_tables

from rdpipe.report.labels import curve_label, with_labels
from rdpipe.report.overview import overview

LABELS = {
    "codec/codec/test-channel": "Ideal noise",
    "jpeg": "JPEG",
    "joint": "Joint training",
    "mini": "Mini",
}


def test_names_are_those_that_people_use():
    assert curve_label("codec/codec/lattice-e8/calibrated") == "E8 lattice, calibrated"
    assert curve_label("codec/codec/rounding") == "rounding"
    assert curve_label("mini: zero/channel/rounding") == (
        "mini, mean zero, variance channel, rounding"
    )
    assert curve_label("joint-upper") == "joint-upper"


def test_labels_replace_names():
    assert curve_label("jpeg", LABELS) == "JPEG"
    assert curve_label("mini: codec/codec/test-channel", LABELS) == "Mini, Ideal noise"
    assert curve_label("mini: codec/codec/rounding", LABELS) == "Mini, rounding"
    assert curve_label("codec/codec/test-channel/calibrated", LABELS) == "test channel, calibrated"


def test_labels_are_on_the_page_and_in_its_charts():
    html = make_page(tables=with_labels(make_tables(), LABELS))
    assert '>Ideal noise<br> <small class="dim">(codec/codec/test-channel)</small></th>' in html
    assert '>Joint training<br> <small class="dim">(joint)</small></th>' in html
    assert '"name":"jpeg","label":"JPEG"' in html
    assert '"curve":"Joint training"' in html  # bars of the levers


def test_label_of_a_bound_is_in_the_bar():
    tables = with_labels(make_tables(), LABELS)
    points = tables["points"][tables["points"]["role"] == "codec"]
    ladder = tables["ladder"][tables["ladder"]["limit"] == "decodable"]
    view, *_ = overview(points, ladder, tables["codes"], tables["available"])
    assert view["lengths"][-1]["name"] == "upper bound on R(D), Joint training"
