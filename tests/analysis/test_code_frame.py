"""Codes whose cell was not measured as a decoder codes it have no prediction, and say so."""

import numpy as np
import pytest
import xarray as xr
from small_curves import BITS, IMAGES

from rdpipe.analysis.tables import OTHER_PAST, code_frame

OWN, WALKED, UNREACHED, STALE = (
    "codec/codec/rounding",
    "codec/codec/deadzone",
    "codec/codec/lattice-e8",
    "codec/window-3/rounding",
)
SIZE = np.array([[12.0, 14.0], [10.0, 12.0], [9.0, np.nan], [8.0, 9.0]])
"""Bytes of each cell and image; the second image does not reach the quality in one of them."""


@pytest.fixture
def codes(tables, arrays):
    """The codes of a context model: its array has ``window-3`` as a genie's cell."""
    key, cells = ("d", "c"), [OWN, WALKED, UNREACHED, STALE]
    bits = np.array([[1.0, 1.0], [0.8, 0.8], [0.7, np.nan]]) * BITS[:, 0]
    simulation = xr.Dataset(
        {
            "bits": (("curve", "image"), bits),
            "reason": (("curve", "image"), [["", ""], ["", ""], ["", "levels from 1 to 2 give"]]),
        },
        {
            "curve": cells[:3],
            "image": IMAGES,
            "includes_side": ("curve", [True] * 3),
            "kind": ("curve", ["achievable"] * 3),
            "measure": "psnr",
        },
    )
    product = xr.Dataset(
        {"size": (("cell", "image"), SIZE), "mse": (("cell", "image"), 0 * SIZE + 40)},
        {"cell": cells, "image": IMAGES},
    )
    table = tables[1].assign(bytes=("image", [12.5, 15.0]))
    runs = ({key: {1: run}} for run in (table, simulation, arrays[1], product))
    return code_frame(*runs).set_index("cell")


def test_bytes_of_a_cell_that_was_measured_as_a_genies_have_no_prediction(codes):
    """The bytes are real all the same: the saving is 13.75 - 8.5 byte of 100 pixels."""
    assert codes.loc[STALE, ["predicted_bpp", "predicted_saving"]].isna().all()
    assert codes.loc[STALE, "remark"] == OTHER_PAST
    assert codes.loc[STALE, "real_saving"] == pytest.approx(8 * (13.75 - 8.5) / 100)


def test_other_codes_have_their_prediction_and_no_remark(codes):
    """Rates with 5 bit of side information, of 100 pixels."""
    for name, factor in ((OWN, 1.0), (WALKED, 0.8)):
        expected = (factor * BITS[:, 0].mean() + 5) / 100
        assert codes.loc[name, "predicted_bpp"] == pytest.approx(expected)
        assert codes.loc[name, "remark"] == ""


def test_code_that_does_not_reach_the_quality_has_no_numbers_and_the_reason(codes):
    row = codes.loc[UNREACHED]
    numbers = ["psnr", "predicted_bpp", "real_bpp", "predicted_saving", "real_saving"]
    assert row[numbers].isna().all()
    assert row["remark"] == "not at the quality of the codec: levels from 1 to 2 give"


def test_codec_without_codes_has_no_rows(tables, arrays):
    key = "d", "c"
    simulation = xr.Dataset(
        {"bits": (("curve", "image"), [BITS[:, 0]])},
        {"curve": [OWN], "image": IMAGES, "includes_side": ("curve", [True]), "measure": "psnr"},
    )
    empty = xr.Dataset(
        {name: (("cell", "image"), np.zeros((0, 2))) for name in ("size", "mse", "ms_ssim")},
        {"cell": np.array([], float), "image": IMAGES},
    )
    table = tables[1].assign(bytes=("image", [12.5, 15.0]))
    runs = ({key: {1: run}} for run in (table, simulation, arrays[1], empty))
    frame = code_frame(*runs)
    assert frame.empty and {"real_bpp", "remark"} <= set(frame)
