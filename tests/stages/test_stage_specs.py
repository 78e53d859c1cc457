"""Specifications that several stages share."""

import pytest

from rdpipe.core.axes import CellId
from rdpipe.core.errors import InputError
from rdpipe.core.runs import RunId
from rdpipe.stages.simulate import SimulateSpec
from rdpipe.stages.specs import CellSpec, CodecSpec

CODEC = {"dataset": "d", "codec": "c", "quality": 2, "entry": {"use": "dct"}, "device": "cpu"}
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"mine": {"use": "rounding", "args": {}}},
}
CELLS = {**CODEC, **ENTRIES, "seed": 3}


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
    cell = {"mean": "codec", "variance": "codec", "quantizer": "mine"}
    spec = SimulateSpec.from_mapping({**CELLS, "curves": {"a": cell}, "levels": [1, 0.5]})
    assert spec.curves["a"].cell_id == CellId("codec", "codec", "mine")
    assert spec.levels == [1.0, 0.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": "2"}, r"Expected `int`, got `str` - at `\$.quality`"),
        ({"shard": [0]}, r"at `\$.shard`"),
        ({"sede": 1}, "unknown field `sede`"),
        ({"means": {"codec": 1}}, r"Expected `object`, got `int` - at `\$.means"),
        ({"curves": {"a": {"mean": "codec", "variance": "codec"}}}, "required field `quantizer`"),
        ({"levels": ["x"]}, r"Expected `float`, got `str` - at `\$.levels"),
    ],
)
def test_invalid_fields_are_refused_with_their_place(change, message):
    with pytest.raises(InputError, match=message):
        SimulateSpec.from_mapping({**CELLS, "curves": {}, "levels": [], **change})


def test_missing_field_is_named():
    fields = {name: value for name, value in CODEC.items() if name != "codec"}
    with pytest.raises(InputError, match="missing required field `codec`"):
        CodecSpec.from_mapping(fields)
