"""The JSON of CompressAI: its tools read what is written, and malformed files are named."""

import pytest
from compressai_tools import jpeg_results, parse_json_file, tool
from PIL import Image

from rdpipe.core.errors import InputError
from rdpipe.io import compressai_json


def test_compressai_plots_a_written_curve(tmp_path):
    ours = tmp_path / "made" / "ours.x.json"
    compressai_json.write(ours, "our codec", "achieved", [0.1, 0.4], [28.0, 32.5])
    drawn = parse_json_file(ours, "psnr")
    assert drawn == {"name": "our codec", "xs": [0.1, 0.4], "ys": [28.0, 32.5]}
    expected = ("our codec", "achieved", [0.1, 0.4], [28.0, 32.5])
    assert compressai_json.read(ours) == expected
    theirs = jpeg_results(tmp_path)
    tool("plot", "-f", ours, theirs, "-o", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size[0] > 1000


def test_curve_without_a_name_is_named_after_the_file(tmp_path):
    (tmp_path / "old.2020.json").write_text('{"bpp": [0.5], "psnr": [31.0]}')
    curve = compressai_json.read(tmp_path / "old.2020.json")
    assert curve == ("old", "", [0.5], [31.0])


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "old.json: Expecting"),
        ("[]", "no results with 'bpp' and 'psnr-rgb'; expected the JSON format of CompressAI"),
        ('{"results": {"psnr": [31.0]}}', "no results with 'bpp'"),
        (
            '{"results": {"bpp": [1], "ms-ssim-rgb": [0]}}',
            "no 'psnr-rgb' or 'psnr' among bpp, ms-",
        ),
        ('{"results": {"bpp": [1, 2], "psnr": [30]}}', "must be lists of the same length"),
        ('{"results": {"bpp": [], "psnr": []}}', "must be lists of the same length"),
    ],
)
def test_malformed_file_is_named(tmp_path, text, message):
    file = tmp_path / "old.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        compressai_json.read(file)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.json: .*No such file"):
        compressai_json.read(tmp_path / "nowhere.json")
