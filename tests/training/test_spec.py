"""The specification of a training, and which states belong to it."""

import pytest
from small_training import SPEC

from rdpipe.core.errors import InputError
from rdpipe.training.spec import TrainingSpec


def test_stored_specification_is_resumable():
    spec = TrainingSpec.from_mapping(SPEC)
    spec.check_resumable(spec.to_mapping(), 12, "folder")


def test_state_from_before_optional_fields_is_resumable():
    TrainingSpec.from_mapping(SPEC).check_resumable(dict(SPEC), 3, "folder")


@pytest.mark.parametrize("field", ["steps", "devices", "save_every"])
def test_some_fields_may_change(field):
    earlier = {**SPEC, field: 1}
    TrainingSpec.from_mapping(SPEC).check_resumable(earlier, 1, "folder")


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("seed", 2, "seed 2 -> 1"),
        ("lambdas", [0.01], r"lambdas \[0.01\] -> \[0.01, 0.04\]"),
        ("start", "a.safetensors", "start 'a.safetensors' -> None"),
        ("images", "digest", "images 'digest' -> None"),
    ],
)
def test_other_fields_may_not_change(field, value, message):
    spec = TrainingSpec.from_mapping(SPEC)
    with pytest.raises(InputError, match=rf"folder has .*\({message}\); remove the folder"):
        spec.check_resumable({**SPEC, field: value}, 1, "folder")


@pytest.mark.parametrize(
    "change, message",
    [({"N": "8"}, "Expected `int`, got `str`.*N"), ({"momentum": 0.9}, "unknown field `momentum`")],
)
def test_invalid_specification_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        TrainingSpec.from_mapping({**SPEC, **change})
