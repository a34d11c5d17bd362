"""Fields of endpoints, read from what a user wrote: in a request, in a profile."""

from __future__ import annotations

from typing import Any, Final, get_type_hints

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.configuration import read
from posthouse.domain.endpoint import EndpointConfig, Format
from posthouse.domain.formats import format_of
from posthouse.domain.transformation import Transform

TYPES: Final[dict[str, Any]] = get_type_hints(EndpointConfig)
SHORT: Final = frozenset({"format", "transform", "ack"})
"""Those that may be a text alone."""


def read_field(name: str, value: Any) -> Any:
    """A field of `EndpointConfig`. `transform` and `ack` may be an expression alone, and `format` the name of a kind, which
    then stays one: endpoints without options are the many.

    Raises: Invalid, whose path begins with the name of the field.
    """
    match name:
        case "format":
            found = format_of(value)
            return Format(value) if isinstance(value, str) else found
        case "transform" if isinstance(value, str):
            return Transform(data=value)
        case "ack" if isinstance(value, str):
            return Ack(when=value)
        case _:
            return read(value, TYPES[name], name)
