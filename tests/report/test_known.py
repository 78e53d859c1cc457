"""The comparisons with known answers on every page agree with the closed forms."""

import pytest

from rdpipe.report import known


@pytest.fixture(scope="module")
def tables():
    return known.tables()


def test_field_agrees_with_reverse_water_filling(tables):
    for row in tables["field"]:
        assert row["rate"] == pytest.approx(row["known_rate"], abs=4 * tables["error"])
        assert row["mse"] == pytest.approx(row["known_mse"], rel=0.02)


def test_single_gaussians_have_the_gaps_of_the_closed_form(tables):
    for row in tables["elements"]:
        assert row["gap"] == pytest.approx(row["known_gap"], abs=5e-4)
    assert tables["elements"][-1]["gap"] == pytest.approx(tables["infinite"], abs=0.01)


def test_wrong_scale_has_the_cost_of_the_closed_form(tables):
    for row in tables["mismatch"]:
        assert row["gap"] == pytest.approx(row["known_gap"], abs=5e-4)
