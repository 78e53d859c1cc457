"""Figures of a finished run for a paper."""

import re
import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest
import xarray as xr

from rdpipe.__main__ import main
from rdpipe.commands import figure
from rdpipe.core.errors import InputError
from rdpipe.io import store
from rdpipe.report.style import WIDTHS


@pytest.mark.parametrize("preset, width", WIDTHS.items())
@pytest.mark.parametrize("name", figure.DRAWN)
def test_figure_has_the_width_of_the_preset(preset, width, name, results, tmp_path):
    out = tmp_path / "figure.svg"
    figure.run(results, out, figure=name, preset=preset)
    assert ElementTree.parse(out).getroot().get("width") == f"{72 * width:g}pt"


def test_font_can_have_serifs_and_text_can_be_outlined(results, tmp_path):
    out = tmp_path / "figure.svg"
    figure.run(results, out, font="serif")
    assert "serif" in out.read_text() and "<text" in out.read_text()
    figure.run(results, out, outlined=True)
    assert "<text" not in out.read_text()


def test_curves_are_chosen_and_have_labels(results, tmp_path):
    out = tmp_path / "figure.svg"
    figure.run(results, out, figure="bounds", curves="jpeg=JPEG,codec/codec/test-channel")
    _, *names = re.findall(r"<text[^>]*>([^<]*\(.*?)</text>", out.read_text())  # the axis first
    assert names == [
        "codec (achieved)",
        "test channel (upper bound on R(D))",
        "JPEG (achieved)",
    ]


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"figure": "maps"}, "'maps' is not a figure; expected one of: answer, bounds"),
        ({"preset": "icml"}, "'icml' is not a preset; expected one of: iclr"),
        ({"font": "mono"}, "'mono' is not a font"),
        ({"curves": "jpg"}, "'jpg' is not a curve; expected one of: codec, "),
        ({"dataset": "x"}, "'x' is not a dataset; expected one of: d"),
        ({"codec": "x"}, "'x' is not a codec; expected one of: c"),
    ],
)
def test_unknown_name_is_refused_with_the_known_ones(flags, message, results, tmp_path):
    with pytest.raises(InputError, match=message):
        figure.run(results, tmp_path / "figure.pdf", **flags)
    assert not (tmp_path / "figure.pdf").exists()


@pytest.mark.parametrize("name", [name for name in figure.DRAWN if name != "terms"])
def test_published_curve_without_images_is_chosen(name, results, tmp_path):
    out = tmp_path / "figure.svg"
    figure.run(results, out, figure=name, curves="theirs=Others")
    assert "Others" in out.read_text() and "jpeg" not in out.read_text()


NAMES = ("points", "image_points", "ladder")


def write_two(tables, other, folder):
    """Write the tables of two runs into the store of one."""
    with store.create(folder / "bounds.zarr.zip", {}) as writer:
        for name in NAMES:
            table = pd.concat([tables[name], other[name]], ignore_index=True)
            writer.write(xr.Dataset.from_dataframe(table), name)


@pytest.fixture
def two_codecs(tables, tmp_path):
    """Results of the codec ``c``, and of ``d``, which needs twice its bits."""
    other = {name: tables[name][tables[name]["codec"] == "c"] for name in NAMES}
    other = {name: t.assign(codec="d", bpp=2 * t["bpp"]) for name, t in other.items()}
    write_two(tables, other, tmp_path)
    return tmp_path


def test_codec_that_is_not_chosen_is_named(two_codecs, capsys):
    out = two_codecs / "figure.svg"
    figure.run(two_codecs, out)
    assert capsys.readouterr().out.startswith("c is drawn; choose with --codec, one of: c, d\n")
    of_first = out.read_text()
    figure.run(two_codecs, out, codec="c")
    assert capsys.readouterr().out == f"wrote {out}\n" and out.read_text() == of_first
    figure.run(two_codecs, out, codec="d")
    assert out.read_text() != of_first


def test_codecs_are_compared(two_codecs, capsys):
    out = two_codecs / "figure.svg"

    def names(**flags):
        figure.run(two_codecs, out, figure="compare", **flags)
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", out.read_text())
        return [text for text in texts if re.match("[a-z]", text)][1:]  # the axis first

    assert names() == ["c", "d", "best bound of each codec", "jpeg", "theirs"]
    assert names(codec="d", curves="jpeg=JPEG")[:2] == ["d", "best bound of each codec"]
    assert "drawn" not in capsys.readouterr().out
    with pytest.raises(InputError, match="'e' is not a codec; expected one of: c, d"):
        names(codec="c,e")


@pytest.mark.parametrize("name", ["compare", "terms"])
def test_codecs_have_the_labels_of_the_config(name, labeled):
    out = labeled / "figure.svg"
    figure.run(labeled, out, figure=name)
    assert ">Our codec<" in out.read_text()


def test_curves_have_the_labels_of_the_config(labeled):
    out = labeled / "figure.svg"
    figure.run(labeled, out, figure="bounds")
    assert "Ideal noise (upper bound on R(D))" in out.read_text()
    figure.run(labeled, out, figure="bounds", curves="codec/codec/test-channel=Noise")
    assert "Noise (upper bound on R(D))" in out.read_text() and "Ideal" not in out.read_text()


def test_terms_are_of_the_codecs_in_the_order_of_the_flag(two_codecs):
    out = two_codecs / "figure.svg"
    figure.run(two_codecs, out, figure="terms", codec="d,c")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", out.read_text())
    assert texts.index("d") < texts.index("c")


def test_one_of_several_datasets_is_named(tables, tmp_path):
    other = {name: tables[name].assign(dataset="e") for name in NAMES}
    other["points"] = other["points"].assign(psnr=other["points"]["psnr"] + 50)
    write_two(tables, other, tmp_path)
    with pytest.raises(InputError, match="expected --dataset with one of: d, e"):
        figure.run(tmp_path, tmp_path / "figure.svg")
    texts = []
    for name in "de":
        figure.run(tmp_path, tmp_path / "figure.svg", dataset=name)
        texts.append((tmp_path / "figure.svg").read_text())
    assert texts[0] != texts[1]  # the PSNR on the axis


def test_command_writes_pdf_and_refuses_another_suffix(results, tmp_path, capsys):
    assert main(["figure", str(results), str(tmp_path / "a.pdf"), "--preset", "ieee"]) == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert main(["figure", str(results), str(tmp_path / "a.jpg")]) == 2
    assert "'jpg' is not a suffix; expected one of: pdf" in capsys.readouterr().err
