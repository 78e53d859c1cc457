"""Tidy tables of the stores of maps."""

import numpy as np
import pytest
from scipy import stats
from small_page import LIMITS, make_maps

from rdpipe.core.axes import BASELINE_CELL
from rdpipe.report import frames


def test_water_level_is_that_of_the_first_cell_whose_level_is_theta():
    """The name of a quantizer in the config has no influence."""
    maps, _ = make_maps(["a", "b"], 1)
    kinds = [
        "theta" if name == "codec/element/rounding" else "step" for name in maps["cell"].values
    ]
    levels = np.where(maps["cell"] == "codec/element/rounding", 0.25, 0.08)
    levels = np.broadcast_to(levels[:, None, None], maps["level"].shape)
    levels = levels * np.array([1.0, 2.0, 4.0])  # a level of its own for each channel
    maps = maps.assign(level=(("cell", "image", "channel"), levels))
    maps = maps.assign_coords(level_kind=("cell", kinds))
    assert np.allclose(frames.channel_frame(maps, LIMITS)["theta"], [0.25, 0.5, 1.0])
    no_level = maps.assign_coords(level_kind=("cell", ["step"] * len(kinds)))
    assert frames.channel_frame(no_level, LIMITS)["theta"].isna().all()


def test_channels_are_averaged_over_their_coded_elements():
    """Against sums over the elements; a channel of which nothing is coded is left out."""
    maps, _ = make_maps(["a", "b"], 1)
    count = np.array([[20, 5, 0], [10, 15, 0]])
    moments = np.array([[4.0, 1.0, np.nan], [2.0, 3.0, np.nan]])
    maps = maps.assign(
        count=(("image", "channel"), count), second_moment=(("image", "channel"), moments)
    )
    frame = frames.channel_frame(maps, LIMITS)
    assert frame["channel"].tolist() == [0, 1]
    assert frame["second_moment"].tolist() == pytest.approx([100 / 30, 50 / 20])
    bits = maps["bits"].sel(cell="codec/codec/rounding").sum("image").values
    assert frame["bits"].tolist() == pytest.approx([bits[0] / 30, bits[1] / 20])


def test_interval_of_the_actual_scale_is_that_of_its_logarithm():
    """With the same elements in every image, it is that of half the logarithm of a mean."""
    maps, _ = make_maps(["a", "b", "c"], 1)
    squares = np.array([1.0, 2.0, 4.0])
    sums = maps["calibration"].transpose("image", "sum", "scale_bin").values.copy()
    sums[:, 1] = sums[:, 0] * squares[:, None]
    maps = maps.assign(calibration=(("image", "sum", "scale_bin"), sums))
    frame = frames.calibration_frame(maps)
    without = np.array([3.0, 2.5, 1.5])
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.sum(np.log(without / squares.mean()) ** 2))
    mean = squares.mean()
    assert frame["actual"].to_numpy() == pytest.approx(np.sqrt(mean))
    assert frame["actual_low"].to_numpy() == pytest.approx(np.sqrt(mean * np.exp(-half)))
    assert frame["actual_high"].to_numpy() == pytest.approx(np.sqrt(mean * np.exp(half)))
    alone = frames.calibration_frame(maps.isel(image=[0]))
    assert len(alone) and alone[["actual_low", "actual_high"]].isna().all(axis=None)


def test_gaps_by_content_are_per_cent_of_the_bits_there():
    """Against sums; if every image has the same bits there, the interval is the t interval."""
    maps, _ = make_maps(["a", "b", "c"], 1)
    saved = np.array([10.0, 20.0, 60.0])
    spent = np.tile([100.0, 400.0, 0.0], (3, 1))
    bits = np.stack([spent] * maps.sizes["cell"])
    after = maps["cell"].values.tolist().index("codec/codec/test-channel")
    bits[after, :, 0] -= saved
    errors = np.full(bits.shape, 2.0)
    errors[after, :, 0] = 3.0
    pixels = np.tile([1000.0, 500.0, 0.0], (3, 1))
    maps = maps.assign(
        content_bits=(("cell", "image", "content"), bits),
        content_pixels=(("image", "content"), pixels),
        content_error=(("image", "content"), pixels * 65.025),
        content_latent_error=(("cell", "image", "content"), errors),
    )
    frame = frames.content_frame(maps, LIMITS)
    frame = frame[frame["gap"] == "quantization gap, to decodable"].set_index("content")
    assert frame.index.tolist() == ["smooth", "texture"]  # without pixels, no row
    assert frame.loc["smooth", ["area", "bpp", "share", "psnr"]].tolist() == pytest.approx(
        [200 / 3, 0.1, 20, 30]
    )
    mean, error = saved.mean(), stats.sem(saved)
    ends = stats.t.interval(0.95, 2, mean, error)
    smooth = frame.loc["smooth", ["saved", "saved_low", "saved_high"]].tolist()
    assert smooth == pytest.approx([mean, *ends])
    assert frame.loc["texture", "saved"] == 0
    assert frame["latent_mse_ratio"].tolist() == [1.5, 1.0] and frame["images"].tolist() == [3, 3]


def test_content_of_bits_without_a_place_is_not_known():
    maps, _ = make_maps(["a", "b"], 1)
    nowhere = maps.assign(unplaced=maps["bits"].sum("channel"))
    assert frames.content_frame(nowhere, LIMITS).empty
    partly = frames.content_frame(maps.assign(unplaced=maps["bits"].sum("channel") / 4), LIMITS)
    assert partly["remark"].str.startswith("25.0 % of the bits belong to latents without").all()


def test_content_is_known_if_a_limit_is_the_codec_itself():
    maps, _ = make_maps(["a", "b"], 1)
    frame = frames.content_frame(maps, {"itself": BASELINE_CELL})
    assert len(frame) == 3 and frame["gap"].isna().all() and frame["bpp"].notna().all()


def test_bits_without_a_place_are_said_in_words():
    maps, _ = make_maps(["a", "b"], 1)
    assert frames.unplaced_remark(frames.unplaced_share(maps)) == ""
    bits = maps["bits"].sum("channel")
    maps = maps.assign(unplaced=bits * [0.25, 0.5])
    remark = frames.unplaced_remark(frames.unplaced_share(maps))
    assert remark.startswith("25.0 to 50.0 % of the bits belong to latents without a place in the")
    assert frames.unplaced_remark([0.25, 0.25]).startswith("25.0 % of the bits")
    nowhere = frames.unplaced_remark(frames.unplaced_share(maps.assign(unplaced=bits)))
    assert nowhere.startswith("No latent has a place in the image")


def test_frames_of_a_run_in_which_nothing_is_coded_are_empty():
    maps, _ = make_maps(["a", "b"], 1)
    nothing = {name: 0 * maps[name] for name in ("bits", "count", "calibration", "residuals")}
    maps = maps.assign(nothing).assign(second_moment=np.nan * maps["second_moment"])
    assert frames.channel_frame(maps, LIMITS).empty
    assert frames.residual_frame(maps).empty
    assert frames.calibration_frame(maps).empty
    usual = frames.residual_frame(make_maps(["a", "b"], 1)[0])
    assert (frames.residual_frame(maps).dtypes == usual.dtypes).all()
