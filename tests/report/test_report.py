"""The page and its figures, from small tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from rdpipe.report import figures, page

EVIL = "<script>alert(1)</script>"
CELLS = {"decodable": {"quantizer": "test-channel", "mean": "codec", "variance": "codec"}}


@pytest.fixture
def tables():
    qualities = [1, 2]
    curves = [("codec", "c", "achieved"), ("codec/codec/test-channel", "c", "upper bound on R(D)"),
              ("codec/element/test-channel", "c", "genie-aided estimate"), ("jpeg", "", "achieved")]  # fmt: skip
    points = [
        {"dataset": "d", "codec": codec, "curve": name, "kind": kind, "quality": q, "bpp": q - 0.1 * i,
         "bpp_low": q - 0.1 * i - 0.05, "bpp_high": q - 0.1 * i + 0.05, "psnr": 28.0 + q, "images": 2, "source": ""}
        for i, (name, codec, kind) in enumerate(curves) for q in qualities
    ]  # fmt: skip
    values = {
        "coder": 0.01,
        "prior": 0.0,
        "side": 0.0,
        "variance": 0.05,
        "quantization": 0.2,
        "context": -0.01,
    }
    values["total"] = sum(values.values())
    terms = [
        {"dataset": "d", "codec": "c", "quality": q, "limit": "decodable", "kind": "upper bound on R(D)",
         "latent_mse": 1.25, "order": order, "term": term, "bpp": value, "bpp_low": value - 0.01, "bpp_high": value + 0.01}
        for q in qualities for order in ("paper", "shapley") for term, value in values.items()
    ]  # fmt: skip
    gaps = [
        {"component": "variance", "estimator": name, "information": known, "quality": q, "bpp": q * share,
         "per_latent": 8 * q * share}
        for name, known, share in (("codec", "decodable", 1.0), ("element", "genie", 0.6),
                                   ("channel", "decodable", 1.1), ("searched-channel", "decodable", 1.0976))
        for q in qualities
    ]  # fmt: skip
    latents = [
        {"image": image, "quality": q, "width": 70, "height": 50, "pixels": 3500, "bytes": 437.5 * q,
         "psnr": 28.0 + q, "latent_bits": 3000.0 * q, "side_bits": 300.0}
        for image in ("one", EVIL) for q in qualities
    ]  # fmt: skip
    image_terms = [
        {"image": one["image"], "quality": one["quality"], "limit": "decodable", "order": "paper",
         "term": "total", "bpp": 0.25}
        for one in latents
    ]  # fmt: skip
    bd = [{"curve": "codec/codec/test-channel", "kind": "upper bound on R(D)", "bd_rate": -12.34,
           "bd_rate_low": -14.0, "bd_rate_high": -11.0},
          {"curve": "jpeg", "kind": "achieved", "bd_rate": np.nan, "bd_rate_low": np.nan,
           "bd_rate_high": np.nan}]  # fmt: skip
    codes = [{"cell": "codec/calibrated/rounding", "quality": 1, "latent_mse": 1.125, "predicted_bpp": 0.91, "real_bpp": 0.92,
              "predicted_saving": 0.0123, "real_saving": 0.0111}]  # fmt: skip
    made = {"points": points, "decomposition": terms, "gaps": gaps, "latents": latents,
            "image_terms": image_terms, "bd_rates": bd, "codes": codes}  # fmt: skip
    return {name: pd.DataFrame(rows) for name, rows in made.items()}


@pytest.fixture
def html(tables):
    image = {"name": EVIL, "width": 70, "height": 50, "conversion": "none", "sha256": "0" * 64}
    manifest = {"images": [image], "quarantined": [{"name": EVIL, "error": f"{EVIL}: broken"}]}
    config = {"matching": "image", "datasets": {"d": {"args": {"root": EVIL}}}}
    return page.render(
        [page.run_content("d", "c", tables, CELLS)], {"d": manifest}, config, {"torch": "2"}
    )


@pytest.mark.parametrize("suffix, start", [("png", b"\x89PNG"), ("svg", b"<?xml")])
@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_are_the_same_bytes_every_time(tables, name, suffix, start):
    once, again = (figures.render(name, suffix, tables) for _ in range(2))
    assert once == again and once.startswith(start)


def test_a_genie_is_marked_in_every_figure(tables):
    assert b"genie-aided estimate, not a bound" in figures.render("bounds", "svg", tables)
    assert b"element (genie)" in figures.render("gaps", "svg", tables)


def test_kinds_differ_in_more_than_colour():
    looks = [(style["linestyle"], style["marker"]) for style in figures.STYLES.values()]
    assert len(set(looks)) == len(looks)
    assert figures.STYLES.keys() == page.KINDS.keys()


def test_nothing_from_outside_becomes_markup(html):
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5


def test_the_answer_names_share_term_and_equal_psnr(html):
    # total 0.25 of 1 and of 2 bit/pixel
    assert "12 to 25 % of the bits lie above" in html
    assert "The largest term is quantization: 0.200 bit/pixel" in html
    assert "its rate is -12.3 % (BD-rate; 95 % interval -14.0 to -11.0 %)" in html


def test_what_is_missing_is_said(tables):
    points = tables["points"]
    points.loc[
        (points["quality"] == 2) & (points["curve"] == "codec/codec/test-channel"), "bpp"
    ] = np.nan
    content = page.run_content("d", "c", tables, CELLS)
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
    ):
        assert shown in html, shown
