"""What an endpoint is configured with, as structs: read from what a user wrote, with the path of what is wrong in it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from posthouse.domain.errors import Invalid

_PLACE: Final = re.compile(r" - at `\$(?:\.?([^`]*))`$")
_FIELD: Final = re.compile(r"unknown field `([^`]*)`")


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all of it has in common: stored as JSON, of which only what differs from a default, and strict about it."""


def read(value: object, type: Any, path: str) -> Any:
    """The value as `type` (a struct, a union of tagged structs, a sequence of these).

    Raises: Invalid, whose path begins with `path` and whose text does not repeat the value.
    """
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        message = str(error)
        found, field = _PLACE.search(message), _FIELD.search(message)
        place = found[1] if found else ""
        at = (
            path
            + (place if place.startswith("[") else f".{place}" if place else "")
            + (f".{field[1]}" if field else "")
        )
        text = _PLACE.sub("", message).replace("`", "")
        raise Invalid(text[:1].lower() + text[1:], path=at) from None
