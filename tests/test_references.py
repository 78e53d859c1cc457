"""Published curves: what is in the table is what is drawn, or a clear error."""

import csv
from pathlib import Path

import pytest
import xarray as xr

from rdpipe.errors import InputError
from rdpipe.references import COLUMNS, read
from rdpipe.stages.trace_bounds import published_curves

KODAK = Path(__file__).parents[1] / "config" / "kodak-published.csv"


def test_the_table_for_kodak_reads_as_another_reader_does():
    names = ["rd-sandwich-resnet_vae", "compressai-mbt2018-mean"]
    with KODAK.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["curve"] in names]
    found = read(KODAK, names)
    assert found["bpp"].tolist() == [float(row["bpp"]) for row in rows]
    assert found["psnr_db"].tolist() == [float(row["psnr_db"]) for row in rows]
    assert found["source"].tolist() == [row["source"] for row in rows]
    assert len(read(KODAK)) == sum(1 for _ in KODAK.open()) - 1


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
        read(file)


def test_an_unknown_curve_or_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no curve 'vtm'; .*vtm-18.0"):
        read(KODAK, ["vtm"])
    with pytest.raises(InputError, match="nowhere.csv"):
        read(tmp_path / "nowhere.csv")


def test_each_data_set_gets_its_own_table(tmp_path):
    """Specs travel as JSON with sorted keys: the files come in that order, whatever the config's is."""
    for name in ("zoo", "art"):
        row = f"of {name},learned codec,0.5,30.0,someone"
        (tmp_path / name).write_text(f"{','.join(COLUMNS)}\n{row}\n")
    table = xr.Dataset({"pixels": ("image", [100])}, {"image": ["one"]})
    tables = {(name, "codec"): {1: table} for name in ("zoo", "art")}
    files = [tmp_path / name for name in sorted(("zoo", "art"))]
    curves = published_curves({"zoo": None, "art": None}, files, tables)
    assert {(curve.dataset, curve.name) for curve in curves} == {
        ("zoo", "of zoo"),
        ("art", "of art"),
    }
