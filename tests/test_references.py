"""Published curves: what is in the table is what is drawn, or a clear error."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from compressai_tools import parse_json_file, tool
from PIL import Image

from rdpipe.io import compressai_json as results_json
from rdpipe.core.errors import InputError
from rdpipe.analysis.references import COLUMNS, curves, read

KODAK = Path(__file__).parents[1] / "config" / "kodak-published.csv"


def test_the_table_for_kodak_reads_as_another_reader_does():
    names = ["rd-sandwich-resnet_vae", "compressai-mbt2018-mean"]
    with KODAK.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["curve"] in names]
    found = read([KODAK], names)
    assert found["bpp"].tolist() == [float(row["bpp"]) for row in rows]
    assert found["psnr_db"].tolist() == [float(row["psnr_db"]) for row in rows]
    assert found["source"].tolist() == [row["source"] for row in rows]
    assert len(read([KODAK])) == sum(1 for _ in KODAK.open()) - 1


def test_a_published_curve_with_the_name_of_a_measured_one_says_so():
    wanted = {"kodak": {"tables": 1, "curves": ["jpeg", "webp"]}}
    images = {"kodak": (np.array([10, 20]), np.array(["a", "b"]))}
    found = curves(wanted, [KODAK], images, {("kodak", "jpeg"), ("others", "webp")})
    assert [one.name for one in found] == ["jpeg (published)", "webp"]


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "curve,kind,bpp,psnr_db\n",
            "no column 'source'; wanted are curve, kind, bpp, psnr_db, source",
        ),
        ("{columns}\na,learned codec,nan,30,x\n", "bpp 'nan' of 'a' is no positive number"),
        ("{columns}\na,learned codec,0.1,-3,x\n", "psnr_db '-3' of 'a' is no positive number"),
        ("{columns}\na,learned codec,,30,x\n", "bpp '' of 'a'"),
        ("{columns}\na,learned codec,0.1,30,\n", "a row of 'a' has no kind or no source"),
        ("", "published.csv: No columns"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, message):
    file = tmp_path / "published.csv"
    file.write_text(text.format(columns=",".join(COLUMNS)))
    with pytest.raises(InputError, match=message):
        read([file])


def test_an_unknown_curve_or_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no curve 'vtm'; .*vtm-18.0"):
        read([KODAK], ["vtm"])
    with pytest.raises(InputError, match="nowhere.csv"):
        read([tmp_path / "nowhere.csv"])


def test_each_data_set_gets_its_own_tables(tmp_path):
    """Specs travel as JSON with sorted keys: the files come in that order, whatever the config's is."""
    for name in ("zoo-1", "zoo-2", "art-1"):
        row = f"of {name},learned codec,0.5,30.0,someone"
        (tmp_path / name).write_text(f"{','.join(COLUMNS)}\n{row}\n")
    images = {name: (np.array([100]), np.array(["one"])) for name in ("zoo", "art")}
    files = [tmp_path / name for name in ("art-1", "zoo-1", "zoo-2")]
    wanted = {"zoo": {"tables": 2, "curves": None}, "art": {"tables": 1, "curves": None}}
    found = [(curve.dataset, curve.name) for curve in curves(wanted, files, images, set())]
    assert found == [("art", "of art-1"), ("zoo", "of zoo-1"), ("zoo", "of zoo-2")]


def test_two_tables_with_the_same_curve_are_refused(tmp_path):
    with pytest.raises(InputError, match="a.json and .*b.json both have a curve 'same'"):
        for name in ("a.json", "b.json"):
            results_json.write(tmp_path / name, "same", "", [0.1], [30.0])
        read([tmp_path / "a.json", tmp_path / "b.json"])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What CompressAI's bench says of JPEG on an image."""
    folder = tmp_path_factory.mktemp("bench")
    colours = np.random.default_rng(0).integers(100, 140, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(colours).save(folder / "one.png")
    (folder / "theirs.json").write_text(tool("bench", "jpeg", folder, "-q", "5,30,90", "--metrics", "psnr-rgb"))
    return folder / "theirs.json"


def test_what_compressais_tools_write_is_a_table(theirs):
    results = json.loads(theirs.read_text())["results"]
    found = read([KODAK, theirs], ["JPEG", "vtm-18.0"])
    jpeg = found[found["curve"] == "JPEG"]
    assert jpeg["bpp"].tolist() == results["bpp"] and len(jpeg) == 3
    assert jpeg["psnr_db"].tolist() == results["psnr-rgb"]
    assert jpeg["source"].str.fullmatch(r"JPEG. Pillow version [0-9.]+, theirs.json").all()


def test_what_is_written_is_what_compressais_plot_reads(theirs, tmp_path):
    ours = tmp_path / "made" / "ours.x.json"
    results_json.write(ours, "our codec", "achieved", [0.1, 0.4], [28.0, 32.5])
    drawn = parse_json_file(ours, "psnr")
    assert drawn == {"name": "our codec", "xs": [0.1, 0.4], "ys": [28.0, 32.5]}
    assert results_json.read(ours) == ("our codec", "achieved", [0.1, 0.4], [28.0, 32.5])
    tool("plot", "-f", ours, theirs, "-o", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size[0] > 1000


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"bpp": [0.5], "psnr": [31.0]}', None),  # without a name, as the oldest ones are
        ("{", "old.json: Expecting"),
        ("[]", "no results with 'bpp' and 'psnr-rgb' in CompressAI's format"),
        ('{"results": {"psnr": [31.0]}}', "no results with 'bpp'"),
        ('{"results": {"bpp": [1], "ms-ssim-rgb": [0.9]}}', "no 'psnr-rgb' or 'psnr' among bpp, ms-ss"),
        ('{"results": {"bpp": [1, 2], "psnr": [30]}}', "must be lists of the same length"),
        ('{"results": {"bpp": [], "psnr": []}}', "must be lists of the same length"),
        ('{"results": {"bpp": ["x"], "psnr": [30]}}', "bpp 'x' of 'old' is no positive number"),
        ('{"results": {"bpp": [0.1], "psnr": [Infinity]}}', "psnr_db inf of 'old' is no positive number"),
    ],
)
def test_results_that_are_none_are_named(tmp_path, text, message):
    file = tmp_path / "old.json"
    file.write_text(text)
    if message is None:
        assert read([file]).iloc[0].to_dict() == {
            "curve": "old", "kind": "published codec", "bpp": 0.5, "psnr_db": 31.0, "source": "old.json"}  # fmt: skip
    else:
        with pytest.raises(InputError, match=message):
            read([file])
