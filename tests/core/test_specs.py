"""Specifications of stages: valid ones are converted, invalid ones are refused by name."""

import json

import pytest

from rdpipe.core.errors import InputError
from rdpipe.core.specs import Spec


class CropSpec(Spec):
    size: int
    scale: float = 1.0
    names: tuple[str, ...] = ()


def test_specification_is_read_from_json_and_written_as_a_mapping():
    spec = CropSpec.from_json('{"size": 3, "names": ["a", "b"]}')
    assert spec == CropSpec(size=3, names=("a", "b"))
    assert spec.to_mapping() == {"size": 3, "scale": 1.0, "names": ("a", "b")}
    assert CropSpec.from_json(json.dumps(spec.to_mapping())) == spec
    assert CropSpec.from_mapping({"size": 3, "names": ["a", "b"]}) == spec


def test_integers_are_accepted_as_floats():
    assert CropSpec.from_json('{"size": 3, "scale": 2}').scale == 2.0


def test_specification_cannot_be_changed():
    with pytest.raises(AttributeError):
        CropSpec(size=3).size = 4


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "invalid specification"),
        ("{}", "missing required field `size`"),
        ('{"size": "3"}', r"Expected `int`, got `str` - at `\$.size`"),
        ('{"size": 3, "sise": 4}', "unknown field `sise`"),
    ],
)
def test_invalid_specification_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        CropSpec.from_json(text)


def test_invalid_mapping_is_refused():
    with pytest.raises(InputError, match="unknown field `sise`"):
        CropSpec.from_mapping({"size": 3, "sise": 4})
