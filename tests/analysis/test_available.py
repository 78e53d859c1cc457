"""What a real code saves at equal pictures, on tables where a rate is a fixed share less."""

import numpy as np
import pytest
import xarray as xr
from small_curves import BITS, QUALITIES, make_curve

from rdpipe.analysis.available import available_frame, same_picture_cells
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole

KEY = "d", "c"
MSE = np.array([40.0, 20.0, 10.0]) * np.array([[1.0], [1.1]])
"""That of the codec over (image, quality)."""


def decoded_run(images=("a", "b")):
    """Return three codes with the codec's pictures: 1 %, 3 % and 8 % less than its bytes."""
    cells = ["codec/codec/rounding", "codec/calibrated/rounding", "codec/calibrated/trellis"]
    shares = np.array([0.99, 0.97, 0.92])[:, None]
    return {
        quality: xr.Dataset(
            {
                "size": (("cell", "image"), shares * BITS[:, i] / 8),
                "mse": (("cell", "image"), np.tile(MSE[:, i], (3, 1))),
                "ms_ssim": (("cell", "image"), np.full((3, 2), 0.9)),
            },
            {"cell": cells, "image": list(images)},
        )
        for i, quality in enumerate(QUALITIES)
    }


def test_same_picture_cells_differ_in_the_variance_alone(arrays):
    assert list(map(str, same_picture_cells(arrays[1]))) == ["codec/calibrated/rounding"]


def test_codes_by_code_length(codec_curve, tables, arrays):
    frame = available_frame([codec_curve], {KEY: tables}, {KEY: arrays}, {}, "psnr")
    (row,) = frame.to_dict("records")
    assert row["cell"] == "codec/calibrated/rounding"
    assert BoundKind.parse(row["kind"]) is BoundKind.ACHIEVABLE
    rates = [row[name] for name in ("bd_rate", "bd_rate_low", "bd_rate_high")]
    assert rates == pytest.approx([-5, -5, -5])


def test_codes_in_real_bytes(codec_curve, tables, arrays):
    """Real bytes replace code lengths; the codec's own variance with another coder counts, too."""
    runs = {KEY: tables}, {KEY: arrays}, {KEY: decoded_run()}
    frame = available_frame([codec_curve], *runs, "psnr").set_index("cell")
    assert set(frame.index) == set(decoded_run()[1]["cell"].values)
    names = ["codec/codec/rounding", "codec/calibrated/rounding", "codec/calibrated/trellis"]
    assert frame.loc[names, "bd_rate"].tolist() == pytest.approx([-1, -3, -8])
    assert set(frame["kind"].map(BoundKind.parse)) == {BoundKind.ACHIEVED}


def test_codes_have_the_times_of_their_encoders(codec_curve, tables, arrays):
    runs = {KEY: tables}, {KEY: arrays}, {KEY: decoded_run()}
    times = {KEY: {"codec/calibrated/trellis": 1.5, "another": 3.0}}
    frame = available_frame([codec_curve], *runs, "psnr", times).set_index("cell")
    assert frame["encoder_seconds"].dropna().to_dict() == {"codec/calibrated/trellis": 1.5}


@pytest.mark.parametrize("cells", [[], [0]])
def test_cell_without_real_bytes_has_its_code_length(codec_curve, tables, arrays, cells):
    """With a context model, rdpipe has no bitstream for cells with the codec's mean."""
    decoded = {quality: run.isel(cell=cells) for quality, run in decoded_run().items()}
    runs = {KEY: tables}, {KEY: arrays}, {KEY: decoded}
    frame = available_frame([codec_curve], *runs, "psnr").set_index("cell")
    code = frame.loc["codec/calibrated/rounding"]
    assert BoundKind.parse(code["kind"]) is BoundKind.ACHIEVABLE
    assert code["bd_rate"] == pytest.approx(-5)
    assert len(frame) == 1 + len(cells)


def test_simulated_codes_count_with_their_own_curve(codec_curve, tables, arrays):
    """A code with 4 % more bits at the codec's PSNR costs 4 %; a bound is no code."""
    labels = {"role": CurveRole.CELL, "pixels": codec_curve.pixels}
    code = make_curve(
        1.04 * BITS, MSE, name="codec/codec/trellis", kind=BoundKind.ACHIEVABLE, **labels
    )
    bound = make_curve(
        0.5 * BITS, MSE, name="codec/codec/test-channel", kind=BoundKind.UPPER_BOUND, **labels
    )
    frame = available_frame([codec_curve, code, bound], {KEY: tables}, {KEY: arrays}, {}, "psnr")
    rates = frame.set_index("cell")["bd_rate"]
    assert rates["codec/codec/trellis"] == pytest.approx(4)
    assert "codec/codec/test-channel" not in rates


def test_bytes_of_refined_latents_count_and_their_bounds_do_not(codec_curve, tables, arrays):
    labels = {"role": CurveRole.REFINED, "pixels": codec_curve.pixels}
    code = make_curve(0.93 * BITS, MSE, name="better", kind=BoundKind.ACHIEVED, **labels)
    bound = make_curve(0.5 * BITS, MSE, name="bound", kind=BoundKind.UPPER_BOUND, **labels)
    times = {KEY: {"better: codec/codec/rounding": 93.5, "codec/codec/rounding": 2.0}}
    runs = {KEY: tables}, {KEY: arrays}, {}
    frame = available_frame([codec_curve, code, bound], *runs, "psnr", times)
    rates = frame.set_index("cell")
    assert rates["bd_rate"]["better"] == pytest.approx(-7)
    assert rates["role"]["better"] == "refined" and "bound" not in rates.index
    assert rates["encoder_seconds"]["better"] == 93.5


def test_real_bytes_of_other_images_are_refused(codec_curve, tables, arrays):
    runs = {KEY: tables}, {KEY: arrays}, {KEY: decoded_run(images=("b", "a"))}
    with pytest.raises(InputError, match="image 0 is 'b'; expected 'a'"):
        available_frame([codec_curve], *runs, "psnr")
