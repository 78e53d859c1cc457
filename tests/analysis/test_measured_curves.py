"""Curves from small hand-made tables."""

import logging

import numpy as np
import pytest
import xarray as xr

from rdpipe.analysis.measured_curves import (
    Attachment,
    baseline_curves,
    codec_curves,
    source_curves,
    stack,
)
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.metrics import psnr

IMAGES = ["a", "b"]
KEY = "d", "c"


def make_table(quality: int, images=IMAGES, real=True) -> xr.Dataset:
    """Return the table of a codec whose MSE is 2 / quality."""
    mse = np.full(2, 2.0 / quality)
    values = {
        "bytes": [10 * quality, 20 * quality],
        "side_bits": [1.0, 2.0],
        "real": [real] * 2,
        "pixels": [100, 100],
        "mse": mse,
        "psnr": psnr(mse),
        "ms_ssim": mse / 100,
    }
    data = {name: ("image", column) for name, column in values.items()}
    return xr.Dataset(data, {"image": list(images)})


def make_simulation(quality: int) -> xr.Dataset:
    """Return two cells at the MSE of a codec, 2 / quality; none reaches quality 8."""
    shape = 2, 2
    bits = np.array([[80.0, 80.0], [100.0, 110.0]])
    mse = np.full(shape, 2.0 / quality)
    reason = np.full(shape, "", dtype=object)
    if quality == 8:
        bits[1], mse[1], reason[1] = np.nan, np.nan, "levels from 0.1 to 1 give 20 to 30 dB"
    dims = ("curve", "image")
    return xr.Dataset(
        {
            "bits": (dims, bits),
            "mse": (dims, mse),
            "ms_ssim": (dims, mse / 100),
            "reason": (dims, reason.astype(str)),
        },
        {
            "curve": ["codec/codec/rounding", "codec/element/test-channel"],
            "image": IMAGES,
            "kind": ("curve", ["achievable", "genie-aided estimate"]),
            "includes_side": ("curve", [True, False]),
            "measure": "psnr",
        },
    )


def simulations(*qualities: int) -> dict[int, xr.Dataset]:
    return {quality: make_simulation(quality) for quality in qualities}


def run(*qualities: int, **options) -> dict[int, xr.Dataset]:
    return {quality: make_table(quality, **options) for quality in qualities}


def attached(name: str, role: CurveRole, is_bound: bool = False) -> dict[str, Attachment]:
    return {name: Attachment(codec="c", role=role, is_bound=is_bound, network=name)}


def test_curves_of_a_codec_have_their_roles_and_kinds():
    tables = {KEY: run(1, 2)}
    codec, rounding, genie = codec_curves(tables, {KEY: simulations(1, 2)}, {KEY})
    assert [codec.role, rounding.role, genie.role] == [CurveRole.CODEC, *[CurveRole.CELL] * 2]
    assert codec.kind is BoundKind.ACHIEVED and rounding.kind is BoundKind.ACHIEVABLE
    assert genie.kind is BoundKind.GENIE_AIDED
    assert codec.bits.tolist() == [[80, 160], [160, 320]]
    assert rounding.bits.tolist() == [[81, 81], [82, 82]]  # with side information
    assert genie.bits.tolist() == [[100, 100], [110, 110]]  # without
    assert genie.mse.tolist() == [[2, 1], [2, 1]]
    assert genie.ms_ssim.tolist() == [[0.02, 0.01], [0.02, 0.01]]


def test_codec_without_a_bitstream_is_achievable():
    tables = {KEY: run(1, real=False)}
    codec, *_ = codec_curves(tables, {KEY: simulations(1)}, {KEY})
    assert codec.kind is BoundKind.ACHIEVABLE


def test_network_that_was_trained_as_a_bound_joins_the_codec():
    bound = "d", "joint"
    tables = {bound: run(1), KEY: run(1)}
    of_bound = {1: make_simulation(1).isel(curve=[1])}
    simulated = {bound: of_bound, KEY: simulations(1)}
    curves = codec_curves(
        tables, simulated, {KEY}, attached("joint", CurveRole.JOINT, is_bound=True)
    )
    joint = curves[-1]
    assert (joint.codec, joint.name, joint.role) == ("c", "joint", CurveRole.JOINT)
    assert [curve.codec for curve in curves] == ["c"] * 4


@pytest.mark.parametrize("analyzed", [False, True])
def test_curve_of_refined_latents_joins_the_codec(analyzed):
    better = "d", "better"
    tables = {KEY: run(1), better: run(1)}
    simulated = {KEY: simulations(1), better: simulations(1)}
    keys = {KEY, better} if analyzed else {KEY}
    curves = codec_curves(tables, simulated, keys, attached("better", CurveRole.REFINED))
    refined = curves[-1]
    assert (refined.codec, refined.name, refined.role) == ("c", "better", CurveRole.REFINED)
    assert refined.kind is BoundKind.ACHIEVED
    assert [curve.codec for curve in curves[:-1]] == ["c"] * 3 + ["better"] * 3 * analyzed


@pytest.mark.parametrize("role", [CurveRole.RETUNED, CurveRole.JOINT])
def test_curve_of_other_weights_joins_the_codec_before(role):
    """For rounding it is the codec's own curve, for another quantizer the cell of its training."""
    better = "d", "better"
    tables = {KEY: run(1), better: run(1)}
    simulated = {KEY: simulations(1), better: {1: make_simulation(1).isel(curve=[1])}}
    curve = codec_curves(tables, simulated, {KEY}, attached("better", role))[-1]
    assert (curve.codec, curve.name, curve.role, curve.kind) == (
        "c",
        "better",
        role,
        BoundKind.ACHIEVED,
    )
    cell = codec_curves(tables, simulated, {KEY}, attached("better", role, is_bound=True))[-1]
    assert (cell.codec, cell.name, cell.role) == ("c", "better", role)
    assert (cell.bits != curve.bits).all()


def test_cell_that_does_not_reach_the_codec_leaves_a_gap_and_a_warning(caplog):
    tables = {KEY: run(1, 8)}
    with caplog.at_level(logging.WARNING):
        *_, genie = codec_curves(tables, {KEY: simulations(1, 8)}, {KEY})
    assert np.isfinite(genie.bits[:, 0]).all() and np.isnan(genie.bits[:, 1]).all()
    assert "codec/element/test-channel, quality 8: not simulated: levels from" in caplog.text


def test_qualities_with_other_images_are_refused():
    tables = {1: make_table(1), 2: make_table(2, images=["b", "a"])}
    with pytest.raises(InputError, match="quality 2: image 0 is 'b'; expected 'a'"):
        stack(tables, "bytes")


def test_baselines_and_sources_have_their_roles():
    labels = {"dataset": "d", "baseline": "jpeg"}
    products = [make_table(q).assign_coords(**labels, quality=q) for q in (2, 1)]
    (jpeg,) = baseline_curves(products)
    assert (jpeg.name, jpeg.role, jpeg.qualities) == ("jpeg", CurveRole.BASELINE, [1, 2])
    assert jpeg.kind is BoundKind.ACHIEVED
    known = xr.Dataset({"R(D)": (("axis", "point"), [[4.0, 1.0], [0.5, 1.5]])})
    (limit,) = source_curves({KEY: known}, {KEY: run(1)})
    assert (limit.name, limit.role) == ("R(D)", CurveRole.SOURCE)
    assert limit.kind is BoundKind.REFERENCE
    assert limit.bits.tolist() == [[50, 150], [50, 150]]
