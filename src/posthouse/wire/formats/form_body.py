"""`form`: fields by name, in a body or in the query.

| JSON | brackets | dots | json |
|---|---|---|---|
| `{"a": {"b": 1}}` | `a[b]=1` | `a.b=1` | `a={"b":1}` |
| `{"a": ["x", "y"]}` | `a[0]=x&a[1]=y` | `a.0=x&a.1=y` | `a=["x","y"]` |
| `{"a": true, "b": null}` | `a=true&b=` | `a=true&b=` | `a=true&b=` |
| `{"a": {}, "b": []}` | no field | no field | `a={}&b=[]` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from posthouse.domain.event import Event
from posthouse.domain.formats import FormFormat, FormNesting
from posthouse.domain.limits import MADE_BODY_BYTES_MAX
from posthouse.wire.documents import Form, too_large
from posthouse.wire.formats.maker import Joined, compile_body
from posthouse.wire.formats.shape import ParsedSource, no_object
from posthouse.wire.formats.xml import plain
from posthouse.wire.message import Message

_SOURCE: Final = ParsedSource()
CONTENT: Final = "application/x-www-form-urlencoded"


class FormMaker:
    """Raises Unsendable for a payload that is no object where the body is its fields, and for what becomes too large."""

    __slots__ = ("_blank", "_content_type", "_nesting", "_shape", "charset", "frame")

    def __init__(self, config: FormFormat, *, batch: bool) -> None:
        self._shape: Final = compile_body(config, batch=batch)
        self._nesting: Final = config.nesting
        self._blank: Final = config.blank
        self.charset: Final = str(config.charset)
        utf_8 = self.charset == "utf-8"
        self._content_type: Final = config.content_type or (CONTENT if utf_8 else f"{CONTENT}; charset={self.charset}")
        self.frame: Joined | None = None

    def write(self, event: Event, message: Message) -> None:
        message.content_type = self._content_type
        message.charset = self.charset
        message.document = Form(self.pairs(event, message.values), self.charset)

    def pairs(self, event: Event, values: Mapping[str, str]) -> list[tuple[str, str]]:
        """The fields, in order."""
        value = self._shape.fill(event, values, _SOURCE)
        if not isinstance(value, dict):
            raise no_object()
        pairs = _Pairs(self._nesting).of(value)
        return pairs if self._blank else [(name, text) for name, text in pairs if text]

    def part(self, event: Event, values: Mapping[str, str]) -> bytes:
        raise AssertionError("there are no batches of forms")


class _Pairs:
    __slots__ = ("_dots", "_json", "_pairs", "_room")

    def __init__(self, nesting: FormNesting) -> None:
        self._json: Final = nesting is FormNesting.JSON
        self._dots: Final = nesting is FormNesting.DOTS
        self._pairs: Final[list[tuple[str, str]]] = []
        self._room = MADE_BODY_BYTES_MAX

    def of(self, value: dict[str, Any]) -> list[tuple[str, str]]:
        for name, each in value.items():
            self._add(name, each)
        return self._pairs

    def _add(self, name: str, value: Any) -> None:
        inside: Any = None
        if not self._json:
            inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inside is None:
            text = plain(value)
            self._take(len(name) + len(text) + len("&="))
            self._pairs.append((name, text))
        elif not value:
            self._take(len(name))  # there is no field of it, but its name was made
        else:
            for place, each in inside:
                self._add(f"{name}.{place}" if self._dots else f"{name}[{place}]", each)

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise too_large()
