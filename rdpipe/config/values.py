"""Values that YAML reads differently from what was meant: names, dates and numbers."""

from __future__ import annotations

import math
import re
from typing import Any

from rdpipe.core.errors import InputError

EXPONENT = re.compile(r"([-+]?)(\d+\.?\d*|\.\d+)[eE]([-+]?)(\d+)")
"""Numbers with an exponent; YAML 1.1 reads only those with a point and a signed exponent."""


def number_in_yaml(text: str) -> str | None:
    """Return how YAML 1.1 spells a number with an exponent; None if the text is none.

    Examples
    --------
    >>> number_in_yaml("1e-3"), number_in_yaml("2.5E6"), number_in_yaml("1e-3.pt")
    ('1.0e-3', '2.5e+6', None)
    """
    match = EXPONENT.fullmatch(text)
    if not match:
        return None
    sign, mantissa, exponent_sign, exponent = match.groups()
    whole, _, fraction = mantissa.partition(".")
    return f"{sign}{whole or 0}.{fraction or 0}e{exponent_sign or '+'}{exponent}"


def check_values(value: Any, place: str) -> None:
    """Check that names are text, that numbers are finite, and that all values exist in JSON.

    YAML also has ``.nan`` and ``.inf``, and it reads unquoted text such as ``no``, ``2020`` and
    ``2020-01-01`` as other types. No schema refuses these everywhere.

    Raises
    ------
    InputError
        If one is not; names its place.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(
                    f"{place}: YAML reads a name as {_type(key)}, {key}; quote the name"
                )
            check_values(item, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_values(item, f"{place}.{index}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place}: {value} is not a finite number")
    elif not isinstance(value, (str, bool, int, float, type(None))):
        raise InputError(
            f"{place}: YAML reads a value as {_type(value)}, {value}; put it in quotes"
        )


def _type(value: object) -> str:
    """Return the name of a type with its article."""
    names = {"bool": "a boolean", "int": "an integer", "NoneType": "null"}
    name = type(value).__name__
    return names.get(name, f"a {name}")
