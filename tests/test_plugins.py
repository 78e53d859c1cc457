"""Names, and how near misses are met."""

import pytest

from rdpipe.core.errors import InputError
from rdpipe.core.plugins import load_attribute, locate, build_entry

TABLE = {"window": "rdpipe.estimators.variances:Window", "element": "rdpipe.estimators.variances:Element"}


def test_names_families_and_modules():
    assert locate("variance", "element", TABLE) == ("rdpipe.estimators.variances:Element", [])
    assert locate("variance", "window-7", TABLE) == ("rdpipe.estimators.variances:Window", [7])
    assert locate("variance", "mine.here:thing", TABLE) == ("mine.here:thing", [])


def test_entries_say_what_to_use_and_with_which_arguments():
    assert build_entry("variance", "window-7", {}, TABLE).size == 7
    assert build_entry("variance", "mine", {"use": "window", "args": {"size": 9}}, TABLE).size == 9
    assert (
        build_entry("variance", "mine", {"use": "fractions:Fraction", "args": {"numerator": 3}}, {}) == 3
    )


def test_a_near_miss_gets_a_hint():
    with pytest.raises(InputError, match=r"unknown variance 'windov-3'; .*element, window"):
        locate("variance", "windov-3", TABLE)


@pytest.mark.parametrize("target", ["no_such_module:x", "math:no_such_attribute"])
def test_what_cannot_be_loaded_is_named(target):
    with pytest.raises(InputError, match=target):
        load(target)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(InputError, match="'window-3': .*'colour'.*it takes"):
        build_entry("variance", "window-3", {"args": {"colour": 1}}, TABLE)
