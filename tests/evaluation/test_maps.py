"""Maps of the bits of one image, and rows of a table that is allocated for all images at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_latents import make_latents, normal

from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Structure
from rdpipe.evaluation.maps import COARSE, MapTable, map_image
from rdpipe.evaluation.simulation import build

CHANNEL_CELL = CellId("codec", "codec", "test-channel")
WEIGHTED_CELL = CellId("codec", "codec", "weighted-test-channel")
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"rounding": {}, "test-channel": {}, "weighted-test-channel": {}},
}
SIZE = (96, 144)
GRIDS = ("y", "mean", "scale")
"""Fields that :func:`several` sets and that have the shape of the grid."""


def several(*strides):
    """Return latents of some strides, each with two channels and a weight of its own."""
    latents = []
    for i, stride in enumerate(strides):
        grid = (3, 5) if stride is None else (SIZE[0] // stride, SIZE[1] // stride)
        of_one = make_latents(3 * normal((2, *grid), i), scale=3.0)
        latents.append(replace(of_one, latent=f"y{i}", stride=stride, weight=0.5**i))
    return latents


def mapped(latents, cell_ids=(BASELINE_CELL, CHANNEL_CELL), level=0.1):
    names = [latent.latent for latent in latents]
    weights = {"weights": np.array([0.5, 1.5])}
    fits = {("quantizer", "weighted-test-channel"): dict.fromkeys(names, weights)}
    cells = {c: build(c, ENTRIES, fits, latents, Structure()) for c in cell_ids}
    row, maps = map_image(latents, cells, dict.fromkeys(cell_ids, level), 0, SIZE)
    return row, maps.bits


@pytest.mark.parametrize(
    "strides, common",
    [((8,), 8), ((16, 8), 8), ((12, 8), 4), ((8, None), 8), ((None,), COARSE)],
)
def test_map_has_all_bits_of_all_latents(strides, common):
    """Also of strides that do not divide each other, and of latents without a place."""
    row, maps = mapped(several(*strides))
    assert row["stride"] == common
    assert maps.shape[1:] == (SIZE[0] // common, SIZE[1] // common)
    np.testing.assert_allclose(maps.sum((1, 2)), row["bits"].sum(1), rtol=1e-5)


def test_map_has_the_bits_of_the_padding():
    """The grids of the latents of a padded image do not end at the same pixel."""
    coarse, fine = several(16, 8)
    row, maps = mapped([coarse, replace(fine, **{f: getattr(fine, f)[:, :-1, :-1] for f in GRIDS})])
    assert maps.shape[1:] == (SIZE[0] // 8, SIZE[1] // 8)
    np.testing.assert_allclose(maps.sum((1, 2)), row["bits"].sum(1), rtol=1e-5)


def test_bits_of_an_element_are_on_its_part_of_the_image():
    """Of strides 12 and 8, on a grid of 4 pixels."""
    latents = several(12, 8)
    bits = [mapped([latent])[1] for latent in latents]
    _, maps = mapped(latents)
    parts = [np.kron(b, np.ones((1, k, k))) / k**2 for b, k in zip(bits, (3, 2), strict=True)]
    np.testing.assert_allclose(maps[0], sum(parts)[0], rtol=1e-5)


def test_bits_of_a_latent_without_a_place_are_spread_evenly():
    row, both = mapped(several(8, None))
    placed, alone = mapped(several(8))
    rest = both - alone
    np.testing.assert_allclose(rest[0], rest[0].mean(), rtol=1e-3)
    np.testing.assert_allclose(row["unplaced"], row["bits"][:, 2:].sum(1))
    assert not placed["unplaced"].any()


def test_water_level_of_a_channel_is_theta_over_its_weight():
    row, _ = mapped(several(8, 16), (BASELINE_CELL, CHANNEL_CELL, WEIGHTED_CELL))
    expected = [[1] * 4, [0.1, 0.1, 0.2, 0.2], [0.2, 0.1 / 1.5, 0.4, 0.2 / 1.5]]
    np.testing.assert_allclose(row["level"], expected)


def test_statistics_are_those_of_coded_elements():
    """Against numpy; what is not coded may have any value."""
    (latents,) = several(8)
    coded = torch.rand(latents.y.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    y = torch.where(coded, latents.y, 1e3)
    row, _ = mapped([replace(latents, y=y, coded=coded)])
    assert row["count"].tolist() == coded.sum((1, 2)).tolist()
    for c in range(2):
        expected = np.mean(np.square(latents.y[c][coded[c]].numpy()))
        assert row["second_moment"][c] == pytest.approx(expected)
        assert row["predicted"][c] == pytest.approx(9.0)
    assert row["calibration"][0].sum() == coded.sum() == row["residuals"].sum()
    assert row["calibration"][1].sum() == pytest.approx(latents.y[coded].square().sum().item())


def test_rows_are_stored_and_a_row_of_another_shape_is_refused():
    table, rows = MapTable(["a", "b"]), [np.arange(3.0), np.arange(3.0) + 5]
    for i, row in enumerate(rows):
        table.add(i, {"bits": row, "width": 7 + i})
    assert table.columns["bits"].tolist() == [[0, 1, 2], [5, 6, 7]]
    assert table.columns["width"].tolist() == [7, 8]
    message = r"image 'b': bits has shape \(1,\); expected \(3,\), the shape for the first image"
    with pytest.raises(InputError, match=message):
        table.add(1, {"bits": np.ones(1)})
