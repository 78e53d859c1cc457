"""Export of curves: which rows belong to a curve."""

import pandas as pd
import pytest
import xarray as xr

from rdpipe.core.errors import InputError
from rdpipe.io import compressai_json, store
from rdpipe.stages.export_curves import ExportCurvesSpec, run


@pytest.fixture
def bounds(tmp_path):
    """A codec, and a baseline and a published curve of the same name."""
    rows = [
        ("c", "codec", "codec", 0.5, 30.0),
        ("c", "codec", "codec", float("nan"), 35.0),
        ("", "jpeg", "baseline", 0.4, 28.0),
        ("", "jpeg", "published", 0.3, 28.0),
    ]
    frame = pd.DataFrame(rows, columns=["codec", "curve", "role", "bpp", "psnr"])
    frame = frame.assign(dataset="d", kind="achieved", images=2).rename_axis("row")
    path = tmp_path / "bounds.zarr.zip"
    with store.create(path, {}) as writer:
        writer.write(xr.Dataset.from_dataframe(frame), group="points")
    return path


def test_curves_are_selected_by_codec_or_as_a_baseline(bounds, tmp_path):
    curves = [
        {"dataset": "d", "codec": "c", "curve": "codec", "name": "c"},
        {"dataset": "d", "codec": None, "curve": "jpeg", "name": "jpeg"},
    ]
    files = [tmp_path / "c.json", tmp_path / "jpeg.json"]
    run(ExportCurvesSpec.from_mapping({"curves": curves}), bounds, files)
    codec, jpeg = map(compressai_json.read, files)
    assert (codec.bpp, codec.psnr) == ([0.5], [30.0])  # without the unmeasured point
    assert codec.description == "achieved; d, 2 images"
    assert (jpeg.bpp, jpeg.psnr) == ([0.4], [28.0])


def test_unknown_curve_is_refused(bounds, tmp_path):
    curve = {"dataset": "d", "codec": "c", "curve": "codec/codec/rounding", "name": "x"}
    spec = ExportCurvesSpec.from_mapping({"curves": [curve]})
    with pytest.raises(InputError, match="no curve 'codec/codec/rounding' of 'd'"):
        run(spec, bounds, [tmp_path / "x.json"])
