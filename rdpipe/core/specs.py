"""Specifications of stages: frozen, typed, and validated once, where they are parsed."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from rdpipe.core.errors import InputError


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the specifications that the workflow passes to stages as JSON."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse and validate a specification.

        Raises
        ------
        InputError
            If the text is not JSON, or a field is unknown, missing or of another type; the
            message names the field.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:  # includes ValidationError
            raise InputError(f"invalid specification: {error}") from error

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Self:
        """Validate a specification that is given as a mapping; see :meth:`from_json`."""
        try:
            return msgspec.convert(values, type=cls)
        except msgspec.ValidationError as error:
            raise InputError(f"invalid specification: {error}") from error

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields as built-in types, to be stored as JSON."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values
