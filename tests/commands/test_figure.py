"""Figures of a finished run for a paper."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from rdpipe.__main__ import main
from rdpipe.commands import figure
from rdpipe.core.errors import InputError
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
        "codec/codec/test-channel (upper bound on R(D))",
        "JPEG (achieved)",
    ]


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"figure": "maps"}, "'maps' is not a figure; expected one of: answer, bounds"),
        ({"preset": "icml"}, "'icml' is not a preset; expected one of: iclr"),
        ({"font": "mono"}, "'mono' is not a font"),
        ({"curves": "jpg"}, "'jpg' is not a curve; expected one of: codec, "),
        ({"codec": "x"}, "'x' is not a codec; expected one of: c"),
    ],
)
def test_unknown_name_is_refused_with_the_known_ones(flags, message, results, tmp_path):
    with pytest.raises(InputError, match=message):
        figure.run(results, tmp_path / "figure.pdf", **flags)
    assert not (tmp_path / "figure.pdf").exists()


def test_command_writes_pdf_and_refuses_another_suffix(results, tmp_path, capsys):
    assert main(["figure", str(results), str(tmp_path / "a.pdf"), "--preset", "ieee"]) == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert main(["figure", str(results), str(tmp_path / "a.jpg")]) == 2
    assert "'jpg' is not a suffix; expected one of: pdf" in capsys.readouterr().err
