"""The description of an error in one line."""

import json

import numpy as np
import pytest

from rdpipe.core import errors
from rdpipe.core.errors import describe, user_line
from rdpipe.core.metrics import psnr


def error_of(function):
    try:
        function()
    except Exception as error:
        return describe(error)
    raise AssertionError


def test_the_line_is_that_of_the_user_below_a_library():
    text = error_of(lambda: np.concatenate([np.zeros(2), np.zeros((2, 2))]))
    assert text.startswith("ValueError: all the input arrays must have")
    assert "(test_errors.py, line" in text
    assert "(test_errors.py, line" in error_of(lambda: json.loads("{"))


def test_the_line_of_rdpipe_is_never_shown():
    assert "(test_errors.py, line" in error_of(lambda: psnr("a"))


def test_generated_code_is_not_the_users():
    try:
        exec(compile("{}['a']", "<string>", "exec"), {})
    except KeyError as error:
        error.__traceback__ = error.__traceback__.tb_next  # without the line of this test
        assert user_line(error) is None
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018
    assert user_line(raised.value).filename == __file__


def test_a_long_message_is_cut_and_in_one_line():
    def fail():
        raise RuntimeError("two\nlines " + "x" * 500)

    text = error_of(fail)
    assert text.startswith("RuntimeError: two lines xxx")
    assert len(text) < 260 and "..." in text and "\n" not in text


def test_a_package_that_rdpipe_calls_is_never_the_users():
    before = set(errors._of_user)
    for module in ("compressai.models.google", "torch.nn", "rdpipe.codecs", "json"):
        errors.attribute_to_user(module)
    assert errors._of_user == before
