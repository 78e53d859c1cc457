"""The comparisons with known answers on every page agree with the closed forms."""

import pandas as pd
import pytest

from rdpipe.report import known, trust_text


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


def test_every_known_answer_has_a_verdict(tables):
    checks = tables["checks"]
    assert len(checks) == 8 + 5 + 5 and all(check["passed"] for check in checks)
    assert trust_text.verdict(checks) == "18 of 18 known answers pass."
    assert [check["tolerance"] for check in checks[:8]] == [4 * tables["error"]] * 8


def test_wrong_answer_fails_and_is_named(tables):
    wrong = [{**row, "gap": row["gap"] + 0.01} for row in tables["mismatch"][:1]]
    checks = known.checks({**tables, "mismatch": wrong})
    assert trust_text.verdict(checks) == "13 of 14 known answers pass; not: scale wrong by 0.5."


def test_page_shows_the_verdict_and_a_mark_for_each_answer(html):
    section = html[html.index('<section id="known"') :]
    assert "18 of 18 known answers pass." in section
    assert section.count('class="passes"') == 18 and 'class="fails"' not in section
    assert section.count('<td class="text">pass</td>') == 8


def test_bytes_are_compared_with_their_prediction():
    codes = pd.DataFrame(
        {
            "cell": ["a", "b", "b", "c"],
            "predicted_bpp": [1.0, 2.0, 2.0, 0.0],
            "real_bpp": [1.01, 1.99, 1.99, 0.1],
        }
    )
    assert trust_text.bytes_sentence(codes).startswith(
        "Real bytes differ from the prediction by -0.50 to +1.00 %, in 2 codes;"
    )
    for nothing in (codes[:0], pd.DataFrame(), codes.assign(real_bpp=float("nan"))):
        assert "none were written" in trust_text.bytes_sentence(nothing)
    unpredicted = trust_text.bytes_sentence(codes.assign(predicted_bpp=float("nan")))
    assert unpredicted.startswith("Real bytes were written") and "no cell has one" in unpredicted
    assert trust_text.images_sentence(1) == "One image: there are no intervals."
    assert trust_text.images_sentence(5).startswith("5 images: nominal 95 % intervals")
