"""The specification of a training, and which states belong to it."""

import pytest
from small_spec import SPEC

from rdpipe.core.errors import InputError
from rdpipe.training.spec import TrainingSpec


def changes(steps=1, **earlier):
    """Return why a state whose specification had other values does not belong to the training."""
    return TrainingSpec.from_mapping(SPEC).changes_since({**SPEC, **earlier}, steps)


def test_stored_specification_is_no_change():
    spec = TrainingSpec.from_mapping(SPEC)
    assert spec.changes_since({**spec.to_mapping(), "on_change": "refuse"}, 12) == []


@pytest.mark.parametrize("field", ["steps", "devices", "save_every"])
def test_some_fields_may_change(field):
    assert changes(**{field: 1}) == []


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("seed", 2, "seed 2 -> 1"),
        ("lambdas", [0.01], "lambdas [0.01] -> [0.01, 0.04]"),
        ("start", "a.safetensors", "start 'a.safetensors' -> None"),
        ("images", "digest", "images 'digest' -> None"),
        ("start_weights", "digest", "start_weights 'digest' -> None"),
        ("source", ["a: 1"], "source ['a: 1'] -> None"),
    ],
)
def test_other_fields_are_changes(field, value, message):
    assert changes(**{field: value}) == [message]


def test_change_of_the_source_names_what_has_changed():
    spec = TrainingSpec.from_mapping({**SPEC, "source": ["a.b: 1", "c: 2", "torch: 2.13"]})
    earlier = {**spec.to_mapping(), "source": ["a.b: 1", "c: 3", "d: 4", "torch: 2.12"]}
    assert spec.changes_since(earlier, 1) == ["source: c, d, torch"]


def test_more_steps_than_asked_for_are_a_change():
    assert changes(steps=13) == ["the state has 13 steps; expected up to 12"]


@pytest.mark.parametrize(
    "change, message",
    [({"N": "8"}, "Expected `int`, got `str`.*N"), ({"momentum": 0.9}, "unknown field `momentum`")],
)
def test_invalid_specification_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        TrainingSpec.from_mapping({**SPEC, **change})
