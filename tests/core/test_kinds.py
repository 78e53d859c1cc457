"""Labels are parsed where they enter, and unknown ones are refused."""

import pytest

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole, Information, LevelKind

LABELS = (Information, BoundKind, CurveRole, LevelKind)


@pytest.mark.parametrize("label", LABELS)
def test_members_and_their_texts_are_parsed(label):
    for member in label:
        assert label.parse(member) is member
        assert label.parse(str(member)) is member


@pytest.mark.parametrize("value", ["Genie", "oracle", "", "GENIE", None, 1, True])
def test_unknown_information_is_refused_with_the_allowed_values(value):
    allowed = "expected one of: 'decodable', 'genie'"
    message = f"mean 'm': {value!r} is not a valid information; {allowed}"
    with pytest.raises(InputError, match=message):
        Information.parse(value, "mean 'm'")


def test_message_has_the_words_of_the_label():
    message = "^'x' is not a valid bound kind; expected one of: 'achieved', 'achievable'"
    with pytest.raises(InputError, match=message):
        BoundKind.parse("x")


def test_texts_are_those_that_stores_and_pages_show():
    assert [str(kind) for kind in BoundKind] == [
        "achieved",
        "achievable",
        "upper bound on R(D)",
        "genie-aided estimate",
        "reference",
    ]


def test_curves_that_belong_to_a_codec():
    roles = {CurveRole.CODEC, CurveRole.CELL, CurveRole.REFINED, CurveRole.RETUNED, CurveRole.JOINT}
    assert {role for role in CurveRole if role.belongs_to_codec} == roles


def test_bounds_genies_and_references_are_not_realizable():
    realizable = {BoundKind.ACHIEVED, BoundKind.ACHIEVABLE}
    assert {kind for kind in BoundKind if kind.is_realizable} == realizable
