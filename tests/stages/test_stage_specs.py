"""Specifications that several stages share."""

import pytest

from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Reconstruction
from rdpipe.core.runs import RunId
from rdpipe.stages.simulate import SimulateSpec
from rdpipe.stages.specs import CellSpec, CodecSpec, cell_ids

CODEC = {"dataset": "d", "codec": "c", "quality": 2, "entry": {"use": "dct"}, "device": "cpu"}
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"mine": {"use": "rounding", "args": {}}},
}
CELLS = {**CODEC, **ENTRIES, "seed": 3}
CELL = {"mean": "codec", "variance": "codec", "quantizer": "mine"}
SIMULATION = {**CELLS, "curves": {}, "measure": "psnr", "matching": "image"}


def test_specification_has_typed_fields_and_is_frozen():
    spec = CellSpec.from_mapping({**CELLS, "shard": [1, 4]})
    assert spec.run_id == RunId("d", "c", 2) and spec.shard == (1, 4)
    assert spec.entries == ENTRIES
    with pytest.raises(AttributeError):
        spec.seed = 4


def test_shard_is_the_whole_dataset_by_default():
    assert CodecSpec.from_mapping(CODEC).shard == (0, 1)


def test_mapping_is_the_inverse_of_parsing():
    spec = CellSpec.from_mapping(CELLS)
    assert CellSpec.from_mapping(spec.to_mapping()) == spec


def test_cells_are_parsed():
    curves = {"a": CELL, "b": {**CELL, "reconstruction": "calibrated"}}
    spec = SimulateSpec.from_mapping({**SIMULATION, "curves": curves, "level": 1})
    assert cell_ids(spec.curves) == {
        "a": CellId("codec", "codec", "mine", Reconstruction.PLAIN),
        "b": CellId("codec", "codec", "mine", Reconstruction.CALIBRATED),
    }
    assert spec.level == 1.0 and SimulateSpec.from_mapping(SIMULATION).level is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": "2"}, r"Expected `int`, got `str` - at `\$.quality`"),
        ({"shard": [0]}, r"at `\$.shard`"),
        ({"sede": 1}, "unknown field `sede`"),
        ({"means": {"codec": 1}}, r"Expected `object`, got `int` - at `\$.means"),
        ({"curves": {"a": {"mean": "codec", "variance": "codec"}}}, "required field `quantizer`"),
        ({"level": "x"}, r"Expected `float \| null`, got `str` - at `\$.level"),
        ({"levels": [1.0]}, "unknown field `levels`"),
        ({"measure": "ssim"}, r"Invalid enum value 'ssim' - at `\$.measure`"),
        ({"matching": "shard"}, r"Invalid enum value 'shard' - at `\$.matching`"),
        ({"curves": {"a": {**CELL, "reconstruction": "x"}}}, r"'x' - at `\$.*reconstruction`"),
    ],
)
def test_invalid_fields_are_refused_with_their_place(change, message):
    with pytest.raises(InputError, match=message):
        SimulateSpec.from_mapping({**SIMULATION, **change})


def test_missing_field_is_named():
    fields = {name: value for name, value in CODEC.items() if name != "codec"}
    with pytest.raises(InputError, match="missing required field `codec`"):
        CodecSpec.from_mapping(fields)
