"""JSON whose numbers stay as they are written: a price of 1.50 is no 1.5, and one of twenty digits has all of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Exact(float):
    """A number as Python has it, and shows it as it was written."""

    written: str

    def __new__(cls, written: str) -> Exact:
        made = super().__new__(cls, written)
        made.written = written
        return made

    def __repr__(self) -> str:
        return self.written

    __str__ = __repr__


def loads(text: str | bytes) -> Any:
    """Raises: ValueError for what is no JSON."""
    return json.loads(text, parse_float=Exact, parse_constant=_refused)


def dumps(value: Any) -> str:
    """In one line, with spaces, as the standard library writes it."""
    try:
        return msgspec.json.format(msgspec.json.encode(_raw(value)), indent=0).decode()
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
        return json.dumps(value)  # half a character, or what no other program writes


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _raw(value: Any) -> Any:
    match value:
        case Exact():
            return msgspec.Raw(value.written.encode())
        case int() if not isinstance(value, bool):
            return msgspec.Raw(str(value).encode())
        case dict():
            return {name: _raw(each) for name, each in value.items()}
        case list() | tuple():
            return [_raw(each) for each in value]
        case _:
            return value
