"""The fields of a body as a user described them (`domain.formats.Body`), compiled, and filled with an event."""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.formats import Body, TimeText
from posthouse.domain.limits import (
    FORMAT_DEPTH_MAX,
    FORMAT_FIELDS_MAX,
    MADE_BODY_BYTES_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)
from posthouse.wire.cloudevents import sendable
from posthouse.wire.formats.readable import Style, escaped, readable
from posthouse.wire.message import Unsendable
from posthouse.wire.template import Template
from posthouse.wire.times import is_number

_DATA: Final = "{data}"
_DATA_TEXTS: Final[dict[str, Callable[[str], str]]] = {
    "{data:json}": lambda text: text,
    "{data:urlencoded}": lambda text: quote(text, safe=""),
}
_SPREAD: Final = "*"
_NUMBER: Final = re.compile(r"(\{[a-z_.]+):number\}")
_CONTROLS: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no XML can hold
_NUMBERS: Final = frozenset({"timestamp", "timestamp_ms", "event.timestamp", "event.timestamp_ms"})


class Number(str):
    """A number of JSON, as it was written."""

    __slots__ = ()


class Absent:
    """What a format says of a payload that is no value to it."""

    __slots__ = ()


ABSENT: Final = Absent()


class Source(Protocol):
    """How numbers and payloads become values that a format can write."""

    def number(self, text: str) -> Any: ...

    def data(self, event: Event) -> Any:
        """The payload, or ABSENT."""
        ...

    def fields(self, event: Event) -> Mapping[str, Any]:
        """The payload's fields. Raises Unsendable where it has none."""
        ...


class RawSource:
    """For JSON: numbers and payloads stay as they are, byte for byte (`msgspec.Raw`)."""

    __slots__ = ()

    def number(self, text: str) -> Any:
        return msgspec.Raw(text.encode())

    def data(self, event: Event) -> Any:
        return msgspec.Raw(event.payload) if event.content_type == JSON_CONTENT else ABSENT

    def fields(self, event: Event) -> Mapping[str, Any]:
        try:
            if event.content_type == JSON_CONTENT:
                return _raw_fields(event.payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass
        raise no_object()


class ParsedSource:
    """For all else: dicts, lists, texts, `Number`, booleans and None."""

    __slots__ = ()

    def number(self, text: str) -> Any:
        return Number(text)

    def data(self, event: Event) -> Any:
        return parsed(event.payload) if event.content_type == JSON_CONTENT else ABSENT

    def fields(self, event: Event) -> Mapping[str, Any]:
        value = self.data(event)
        if not isinstance(value, dict):
            raise no_object()
        return value


_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parsed(payload: bytes) -> Any:
    """JSON with its numbers as they are written. Raises Unsendable for what is no JSON."""
    try:
        return json.loads(payload, parse_int=Number, parse_float=Number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unsendable("the payload was published as JSON, and is none") from None


def encodable(value: Any) -> Any:
    """A parsed value for the JSON encoder, with its numbers as they were written."""
    match value:
        case Number():
            return msgspec.Raw(value.encode())
        case dict():
            return {name: encodable(each) for name, each in value.items()}
        case list():
            return [encodable(each) for each in value]
        case _:
            return value


def no_object() -> Unsendable:
    return Unsendable("the payload is no JSON object, and its fields are what the body is made of")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


# What becomes of a compiled field: (event, values, source) -> value.
_Fill = Callable[[Event, Mapping[str, str], Source], Any]


class Shape:
    """A compiled body. `whole` says that it is the payload alone; `names` are the names that are written in it.

    A text may name `{data:text}` or `{data:markdown}`, the payload for people to read (`readable.py`); in a text with the
    latter all that is told of the event is escaped, too.

    A field `x` that is `{data}`, of an event that is no JSON (nor else a value to the format), becomes two: `content_type`, and
    `x_base64`. In an array it is that text alone.

    Raises: Invalid with the path of what is wrong, from `path` on.
    """

    __slots__ = ("_count", "_fill", "_known", "_time", "names", "whole")

    def __init__(self, body: Body, *, known: Collection[str], time: TimeText, path: str) -> None:
        self._known = known
        self._time = time
        self._count = 0
        self.names: Final[list[tuple[str, str]]] = []  # with their paths
        self.whole: Final = body == _DATA
        if not self.whole and not isinstance(body, dict):
            raise Invalid("a body is an object, or the payload alone", path=path)
        self._fill: Final = self._compiled(body, path, 1)

    def fill(self, event: Event, values: Mapping[str, str], source: Source) -> Any:
        """The body as a value: a dict, or what the payload is. Raises Unsendable where the payload does not fit into it."""
        return self._fill(event, values, source)

    def _compiled(self, value: Any, path: str, depth: int) -> _Fill:
        if depth > FORMAT_DEPTH_MAX:
            raise Invalid(f"a body is described at most {FORMAT_DEPTH_MAX} levels deep", path=path)
        match value:
            case dict():
                return self._object(value, path, depth)
            case list() | tuple():
                self._described(len(value), path)
                items = [self._compiled(each, f"{path}[{place}]", depth + 1) for place, each in enumerate(value)]
                return lambda event, values, source: [
                    base64_of(event) if (made := item(event, values, source)) is ABSENT else made for item in items
                ]
            case str():
                return self._text(value, path)
            case None | bool():
                return lambda _event, _values, _source: value
            case int() | float():
                number = msgspec.json.encode(value).decode()
                return lambda _event, _values, source: source.number(number)
            case _:
                raise Invalid("a field is a text, a number, true, false, null, an object or an array", path=path)

    def _described(self, count: int, path: str) -> None:
        """So many more fields, or items of arrays. Raises Invalid."""
        self._count += count
        if self._count > FORMAT_FIELDS_MAX:
            raise Invalid(f"a body has at most {FORMAT_FIELDS_MAX} fields that are described", path=path)

    def _text(self, text: str, path: str) -> _Fill:
        if text == _DATA:
            return _data
        if text in _DATA_TEXTS:
            return _data_text(_DATA_TEXTS[text])
        if len(text) > TEXT_LENGTH_MAX:
            raise Invalid(f"a field has at most {TEXT_LENGTH_MAX} characters", path=path)
        if _CONTROLS.search(text):
            raise Invalid("a field holds no control characters, but tabs and line breaks", path=path)
        number = _NUMBER.fullmatch(text)
        if number is None:
            return self._template(text, path)
        digits = Template(number[1] + "}", known=self._known, path=path)
        if not (digits.names <= _NUMBERS or (digits.names <= {"time", "event.time"} and is_number(self._time))):
            raise Invalid("this is no number, but a text: leave :number out", path=path)
        return lambda _event, values, source: source.number(digits.fill(values))

    def _template(self, text: str, path: str) -> _Fill:
        template = Template(text, known={*self._known, *Style}, path=path)
        styles = [style for style in Style if style in template.names]
        if not styles:
            return lambda _event, values, _source: template.fill(values)
        style = styles[0]
        if len(styles) > 1:
            raise Invalid("a text is Markdown or is none: name one of data:text and data:markdown", path=path)
        names = template.names - {style}

        def filled(event: Event, values: Mapping[str, str], _source: Source) -> str:
            lines = readable(event, parsed(event.payload) if event.content_type == JSON_CONTENT else None, style)
            told = {name: escaped(values[name]) if style is Style.MARKDOWN else values[name] for name in names}
            return template.fill(told | {style.value: lines})

        return filled

    def _object(self, described: dict[str, Any], path: str, depth: int) -> _Fill:
        fields: list[tuple[str, _Fill | None]] = []
        for name, value in described.items():
            place = f"{path}.{name[:NAME_LENGTH_MAX]}"
            if name == _SPREAD:
                if value != _DATA:
                    raise Invalid("* stands for the fields of the payload, and for nothing else", path=place)
                fields.append((name, None))
                continue
            if not 0 < len(name) <= NAME_LENGTH_MAX:
                raise Invalid(f"the name of a field has 1 to {NAME_LENGTH_MAX} characters", path=place)
            self.names.append((name, place))
            self._described(1, place)
            fields.append((name, self._compiled(value, place, depth + 1)))
        named = {name for name, _ in fields}

        def filled(event: Event, values: Mapping[str, str], source: Source) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for name, fill in fields:
                if fill is None:
                    made |= {each: value for each, value in source.fields(event).items() if each not in named}
                elif (value := fill(event, values, source)) is not ABSENT:
                    made[name] = value
                else:
                    made["content_type"] = sendable(event.content_type)
                    made[f"{name}_base64"] = base64_of(event)
            return made

        return filled


def base64_of(event: Event) -> str:
    return b2a_base64(event.payload, newline=False).decode("ascii")


def _data_text(written: Callable[[str], str]) -> _Fill:
    def filled(event: Event, _values: Mapping[str, str], _source: Source) -> Any:
        if event.content_type != JSON_CONTENT:
            return ABSENT
        text = written(event.payload.decode("utf-8", "replace"))
        if len(text) > MADE_BODY_BYTES_MAX:
            raise Unsendable(f"the payload makes a text of more than {MADE_BODY_BYTES_MAX} characters in this format")
        return text

    return filled


def _data(event: Event, _values: Mapping[str, str], source: Source) -> Any:
    return source.data(event)
