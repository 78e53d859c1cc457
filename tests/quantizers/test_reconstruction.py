"""The calibrated reconstruction is a gain between knots, and a part of the identity of a cell."""

import numpy as np
import pytest
import torch
from gaussian_latents import make_latents, normal

from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind
from rdpipe.estimators.means import CodecMean
from rdpipe.estimators.variances import CodecVariance
from rdpipe.evaluation.cell import RECONSTRUCTION, Cell
from rdpipe.quantizers.reconstruction import KNOTS, CalibratedReconstruction
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel

GAIN = torch.tensor([3.0, 2.0, 1.5, 1.3, 1.2, 1.1, 1.0], dtype=torch.float64)
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"rounding": {}, "test-channel": {}},
}


@pytest.mark.parametrize("t", [0.02, 1 / 12])
def test_gain_is_linear_between_knots_and_constant_beyond(t):
    log_ratio = torch.linspace(-4, 12, 161, dtype=torch.float64)
    v = t * 2**log_ratio
    got = CalibratedReconstruction(GAIN)(torch.ones_like(v), v, t)
    np.testing.assert_allclose(got, np.interp(log_ratio, KNOTS, GAIN), rtol=1e-12)


def test_identity_changes_nothing():
    r = normal((3, 50))
    assert torch.equal(CalibratedReconstruction.identity()(r, r.square() + 0.1, 0.1), r)


@pytest.mark.parametrize("quantizer, level", [(TestChannel(), 0.3), (Rounding(), 1.0)])
def test_cell_replaces_residuals_without_changing_bits(quantizer, level):
    latents = make_latents(1.5 + 2 * normal((3, 8, 8)), scale=2.0, mean=1.5)
    plain, calibrated = (
        Cell(
            CellId("codec", "codec", "q"), CodecMean(), CodecVariance(), quantizer, reconstruction=r
        )
        for r in (None, CalibratedReconstruction(GAIN))
    )
    first, second = (cell.code(cell.prepare(latents), level) for cell in (plain, calibrated))
    assert first.bits == second.bits and first.distortion == second.distortion
    t = level if quantizer.level is None else level**2 / 12
    gain = np.interp(np.log2(4.0 / t), KNOTS, GAIN)
    torch.testing.assert_close(second.y_hat - 1.5, gain * (first.y_hat - 1.5), rtol=1e-12, atol=0)
    assert plain.has_codec_past is (quantizer.level == 1) and not calibrated.has_codec_past
    assert plain.kind is calibrated.kind


def test_calibrated_cell_needs_a_fit():
    cell_id = CellId.parse("codec/codec/test-channel/calibrated")
    with pytest.raises(InputError, match="the reconstruction must be fitted first"):
        Cell.from_entries(cell_id, ENTRIES, {})
    fits = {(RECONSTRUCTION, "test-channel"): {"y": {"gain": GAIN.numpy()}}}
    cell = Cell.from_entries(cell_id, ENTRIES, fits)
    assert cell.kind is BoundKind.UPPER_BOUND
    assert torch.equal(cell.reconstruction.gain, GAIN)


def test_level_of_a_cell_can_be_changed():
    cell = Cell.from_entries(CellId("codec", "codec", "rounding"), ENTRIES, {})
    half = cell.at_level(0.5)
    assert half.step == 0.5 and cell.step == 1.0 and not half.has_codec_past
    y = 3 * normal((1, 6, 6))
    output = half.code(half.prepare(make_latents(y, scale=3.0)), 0.5)
    torch.testing.assert_close(output.y_hat, (2 * y).round() / 2)
    channel = Cell.from_entries(CellId("codec", "codec", "test-channel"), ENTRIES, {})
    assert channel.at_level(0.5) is channel
