"""Values of a config: names that are not text, and numbers that are not numbers."""

import datetime

import pytest
import yaml

from rdpipe.config.values import check_values, number_in_yaml
from rdpipe.core.errors import InputError


@pytest.mark.parametrize("text", ["1e-3", "1E5", "-2e+06", "1.5e3", ".5e2", "3.e2", "0e0", "+7e1"])
def test_spelling_is_the_same_number_for_yaml(text):
    """YAML itself reads the text as text, and the spelling as the number that Python reads."""
    assert yaml.safe_load(text) == text
    assert yaml.safe_load(number_in_yaml(text)) == float(text)


@pytest.mark.parametrize("text", ["1e-3.pt", "e3", "1e", "3", "1.5", "codec", "", "-", ".e1"])
def test_other_texts_are_no_numbers_with_an_exponent(text):
    assert number_in_yaml(text) is None


@pytest.mark.parametrize("name", ["no", "off", "yes", "2020", "1.0", "2020-01-01", "null", "0x1F"])
def test_name_that_yaml_reads_as_another_type_is_to_be_quoted(name):
    check_values(yaml.safe_load(f"datasets: {{'{name}': {{}}}}"), "config")
    with pytest.raises(
        InputError, match=r"^config.datasets: YAML reads a name as .*; quote the name$"
    ):
        check_values(yaml.safe_load(f"datasets: {{{name}: {{}}}}"), "config")


@pytest.mark.parametrize("value", [datetime.date(2020, 1, 1), b"bytes", {1}, (1,)])
def test_value_that_json_does_not_have_is_refused_with_its_place(value):
    with pytest.raises(InputError, match=r"^config.codecs.c.args.0: .*; put it in quotes$"):
        check_values({"codecs": {"c": {"args": [value]}}}, "config")


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf"])
def test_number_that_is_not_finite_is_refused(text):
    with pytest.raises(InputError, match="config.seed: .* is not a finite number"):
        check_values({"seed": yaml.safe_load(text)}, "config")
