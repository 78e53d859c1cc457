"""The table of axes, and names of cells."""

import pytest

from rdpipe.core.axes import AXES, BASELINE_CELL, PAPER_ORDER, CellId, axis_named, corners
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.plugins import load_attribute


def test_axes_are_the_fields_of_a_cell_in_the_order_of_the_array():
    assert (*(axis.name for axis in AXES), "reconstruction") == CellId._fields
    assert [axis.term for axis in PAPER_ORDER] == ["variance", "quantization", "context"]


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_every_registered_name_can_be_loaded(axis):
    assert axis.baseline in axis.registry
    assert all(isinstance(load_attribute(target), type) for target in axis.registry.values())


def test_axis_is_found_by_its_name():
    assert axis_named("variance").section == "variances"
    with pytest.raises(InputError, match="unknown axis 'varianc'; did you mean 'variance'"):
        axis_named("varianc")


def test_baseline_is_the_codec_as_it_is():
    assert str(BASELINE_CELL) == "codec/codec/rounding"


def test_name_of_a_cell_is_parsed_and_printed():
    cell = CellId("zero", "block-4", "test-channel")
    assert CellId.parse(str(cell)) == cell == CellId.from_mapping(cell.selector())
    assert cell.selector() == {"mean": "zero", "variance": "block-4", "quantizer": "test-channel"}
    assert str(cell.replace(mean="codec")) == "codec/block-4/test-channel"


def test_name_of_a_calibrated_cell_says_so():
    cell = CellId("codec", "codec", "lattice-e8", Reconstruction.CALIBRATED)
    assert str(cell) == "codec/codec/lattice-e8/calibrated" and cell.is_calibrated
    assert CellId.parse(str(cell)) == cell == CellId.from_mapping(cell.names())
    plain = CellId.parse("codec/codec/lattice-e8/plain")
    assert str(plain) == "codec/codec/lattice-e8" and not plain.is_calibrated
    assert cell.selector() == plain.selector()
    with pytest.raises(InputError, match="'calibrate' is not a valid reconstruction; expected one"):
        CellId.parse("codec/codec/rounding/calibrate")


def test_corners_lie_between_the_codec_and_a_limit():
    limit = CellId("zero", "channel", "test-channel", Reconstruction.CALIBRATED)
    cells = corners(limit)
    assert len(cells) == 8 and cells[frozenset()] == BASELINE_CELL
    assert cells[frozenset({"mean", "variance", "quantizer"})] == limit
    assert str(cells[frozenset({"mean"})]) == "zero/codec/rounding"
    assert str(cells[frozenset({"quantizer"})]) == "codec/codec/test-channel/calibrated"


@pytest.mark.parametrize("text", ["codec", "codec/codec", "codec//rounding", "a/b/c/plain/e", ""])
def test_text_without_one_name_per_axis_is_not_a_cell(text):
    with pytest.raises(InputError, match="is not a cell; expected mean/variance/quantizer"):
        CellId.parse(text)


@pytest.mark.parametrize(
    "names", [{}, {"mean": "codec"}, {**BASELINE_CELL.selector(), "decoder": "plain"}]
)
def test_mapping_must_have_exactly_the_axes(names):
    with pytest.raises(InputError, match="expected mean, variance, quantizer and optionally reco"):
        CellId.from_mapping(names)
