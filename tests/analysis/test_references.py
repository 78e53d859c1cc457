"""Published curves: read as they are in the tables, or refused with a clear error."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from compressai_tools import jpeg_results

from rdpipe.analysis.references import COLUMNS, PublishedSpec, published_curves, read_tables
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.io import compressai_json

KODAK = Path(__file__).parents[2] / "config" / "kodak-published.csv"


def test_table_for_kodak_reads_as_with_the_csv_module():
    names = ["rd-sandwich-resnet_vae", "compressai-mbt2018-mean"]
    with KODAK.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["curve"] in names]
    table = read_tables([KODAK], names)
    assert table["bpp"].tolist() == [float(row["bpp"]) for row in rows]
    assert table["psnr_db"].tolist() == [float(row["psnr_db"]) for row in rows]
    assert table["source"].tolist() == [row["source"] for row in rows]
    assert len(read_tables([KODAK])) == sum(1 for _ in KODAK.open()) - 1


def test_published_curve_with_the_name_of_a_measured_curve_is_marked():
    requested = {"kodak": PublishedSpec(tables=1, curves=["jpeg", "webp"])}
    images = {"kodak": (np.array([10, 20]), np.array(["a", "b"]))}
    measured = {("kodak", "jpeg"), ("others", "webp")}
    curves = published_curves(requested, [KODAK], images, measured)
    assert [curve.name for curve in curves] == ["jpeg (published)", "webp"]
    assert {curve.role for curve in curves} == {CurveRole.PUBLISHED}
    assert {curve.kind for curve in curves} == {BoundKind.REFERENCE}


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "curve,kind,bpp,psnr_db\n",
            "no column 'source'; expected curve, kind, bpp, psnr_db, source",
        ),
        (
            "{columns}\na,learned codec,nan,30,x\n",
            "bpp 'nan' of 'a' is not a positive, finite number",
        ),
        (
            "{columns}\na,learned codec,0.1,-3,x\n",
            "psnr_db '-3' of 'a' is not a positive, finite number",
        ),
        ("{columns}\na,learned codec,0.1,inf,x\n", "psnr_db 'inf' of 'a' is not a positive, fin"),
        ("{columns}\n,learned codec,0.1,30,x\n", "a row has no name in the column 'curve'"),
        ("{columns}\na,learned codec,,30,x\n", "bpp '' of 'a'"),
        ("{columns}\na,learned codec,0.1,30,\n", "a row of 'a' has no kind or no source"),
        ("", "published.csv: No columns"),
    ],
)
def test_error_in_a_table_is_named(tmp_path, text, message):
    file = tmp_path / "published.csv"
    file.write_text(text.format(columns=",".join(COLUMNS)))
    with pytest.raises(InputError, match=message):
        read_tables([file])


def test_unknown_curve_or_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no curve 'vtm'; .*vtm-18.0"):
        read_tables([KODAK], ["vtm"])
    with pytest.raises(InputError, match="nowhere.csv"):
        read_tables([tmp_path / "nowhere.csv"])


def test_each_dataset_gets_its_own_tables(tmp_path):
    """The keys of a specification are sorted; the files are in that order, not in the config's."""
    for name in ("zoo-1", "zoo-2", "art-1"):
        row = f"of {name},learned codec,0.5,30.0,someone"
        (tmp_path / name).write_text(f"{','.join(COLUMNS)}\n{row}\n")
    images = {name: (np.array([100]), np.array(["one"])) for name in ("zoo", "art")}
    files = [tmp_path / name for name in ("art-1", "zoo-1", "zoo-2")]
    requested = {"zoo": PublishedSpec(tables=2), "art": PublishedSpec(tables=1)}
    curves = published_curves(requested, files, images, set())
    assert [(curve.dataset, curve.name) for curve in curves] == [
        ("art", "of art-1"),
        ("zoo", "of zoo-1"),
        ("zoo", "of zoo-2"),
    ]


def test_curve_in_two_tables_is_refused(tmp_path):
    with pytest.raises(InputError, match="a.json and .*b.json both have a curve 'same'"):
        for name in ("a.json", "b.json"):
            compressai_json.write(tmp_path / name, "same", "", [0.1], [30.0])
        read_tables([tmp_path / "a.json", tmp_path / "b.json"])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """JPEG on an image, measured by CompressAI's ``bench``."""
    return jpeg_results(tmp_path_factory.mktemp("bench"))


def test_result_file_of_compressai_is_a_table(theirs):
    results = json.loads(theirs.read_text())["results"]
    table = read_tables([KODAK, theirs], ["JPEG", "vtm-18.0"])
    jpeg = table[table["curve"] == "JPEG"]
    assert jpeg["bpp"].tolist() == results["bpp"] and len(jpeg) == 3
    assert jpeg["psnr_db"].tolist() == results["psnr-rgb"]
    assert jpeg["source"].str.fullmatch(r"JPEG. Pillow version [0-9.]+, theirs.json").all()


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"bpp": [0.5], "psnr": [31.0]}', None),  # without a name, as in the oldest files
        ("{", "old.json: Expecting"),
        ("[]", "no results with 'bpp' and 'psnr-rgb'"),
        (
            '{"results": {"bpp": ["x"], "psnr": [30]}}',
            "bpp 'x' of 'old' is not a positive, finite number",
        ),
        (
            '{"results": {"bpp": [0.1], "psnr": [Infinity]}}',
            "psnr_db inf of 'old' is not a positive, finite number",
        ),
    ],
)
def test_error_in_a_result_file_is_named(tmp_path, text, message):
    file = tmp_path / "old.json"
    file.write_text(text)
    if message is None:
        assert read_tables([file]).iloc[0].to_dict() == {
            "curve": "old",
            "kind": "published codec",
            "bpp": 0.5,
            "psnr_db": 31.0,
            "source": "old.json",
        }
    else:
        with pytest.raises(InputError, match=message):
            read_tables([file])
