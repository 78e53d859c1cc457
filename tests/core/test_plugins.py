"""Names of parts: how they are resolved, and the messages for wrong ones."""

import abc

import pytest

from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry, load_attribute, locate, suggest

TABLE = {
    "window": "rdpipe.estimators.variances:WindowVariance",
    "element": "rdpipe.estimators.variances:ElementVariance",
}
NUMBER = 5


class Abstract(abc.ABC):
    @abc.abstractmethod
    def code(self): ...


def test_names_families_and_modules_are_located():
    element = "rdpipe.estimators.variances:ElementVariance"
    window = "rdpipe.estimators.variances:WindowVariance"
    assert locate("variance", "element", TABLE) == (element, [])
    assert locate("variance", "window-7", TABLE) == (window, [7])
    assert locate("variance", "mine.here:thing", TABLE) == ("mine.here:thing", [])


def test_entry_has_target_and_arguments():
    assert build_entry("variance", "window-7", {}, TABLE).size == 7
    assert build_entry("variance", "mine", {"use": "window", "args": {"size": 9}}, TABLE).size == 9
    entry = {"use": "fractions:Fraction", "args": {"numerator": 3}}
    assert build_entry("variance", "mine", entry, {}) == 3


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError, match=r"unknown variance 'windov-3'; .*element, window"):
        locate("variance", "windov-3", TABLE)
    assert suggest("elment", TABLE) == "did you mean 'element'? known: element, window"


@pytest.mark.parametrize("target", ["no_such_module:x", "math:no_such_attribute"])
def test_message_names_what_cannot_be_loaded(target):
    with pytest.raises(InputError, match=target):
        load_attribute(target)


def test_message_names_arguments_that_do_not_fit():
    with pytest.raises(InputError, match=r"'window-3': .*'colour'.*expected \(size"):
        build_entry("variance", "window-3", {"args": {"colour": 1}}, TABLE)


def test_target_must_be_callable():
    with pytest.raises(InputError, match=f"variance 'n': {__name__}:NUMBER is a int; expected a"):
        build_entry("variance", "n", {"use": f"{__name__}:NUMBER"}, TABLE)


def test_class_with_abstract_methods_is_refused():
    message = f"variance 'n': {__name__}:Abstract does not define code"
    with pytest.raises(InputError, match=message):
        build_entry("variance", "n", {"use": f"{__name__}:Abstract"}, TABLE)
