"""`json` and `raw`: the payload in an envelope, or as it was published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from posthouse.domain.cloudevent import declares_json
from posthouse.domain.endpoint import Format
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.formats import JsonFormat, RawFormat, TimeText
from posthouse.wire.batch import batch_body
from posthouse.wire.cloudevents import sendable
from posthouse.wire.documents import Bytes, JsonObject, JsonText
from posthouse.wire.formats.maker import Joined, compile_body
from posthouse.wire.formats.shape import ABSENT, RawSource, base64_of
from posthouse.wire.message import Message
from posthouse.wire.standard import envelope

_SOURCE: Final = RawSource()
_encode: Final = msgspec.json.Encoder().encode


class JsonMaker:
    """The standard envelope byte for byte as plain endpoints get it (`wire/standard.py`, `wire/batch.py`), or other fields.

    What is not published as JSON goes as it was published, unless the body is described: then as Base64.
    """

    __slots__ = ("_content_type", "_described", "_shape", "_standard", "frame")

    def __init__(self, config: JsonFormat, *, batch: bool) -> None:
        self._shape: Final = compile_body(config, batch=batch)
        self._described: Final = config.thin or config.body is not None
        self._standard: Final = not self._described and config.time == TimeText()
        self._content_type: Final = config.content_type
        self.frame: Joined | None = Joined(config.content_type or JSON_CONTENT, b"[", b",", b"]")

    def write(self, event: Event, message: Message) -> None:
        json = event.content_type == JSON_CONTENT
        if not json and (not self._described or self._shape.whole):
            message.document = Bytes(event.payload)
            message.content_type = sendable(event.content_type)
            return
        message.content_type = self._content_type or JSON_CONTENT
        if self._standard:
            message.document = JsonText(envelope(event))
            return
        value = self._shape.fill(event, message.values, _SOURCE)
        message.document = JsonText(event.payload) if self._shape.whole else JsonObject(value)

    def part(self, event: Event, values: Mapping[str, str]) -> bytes:
        if self._standard:
            return batch_body([event], Format.JSON)[1:-1]
        value = self._shape.fill(event, values, _SOURCE)
        return _encode(base64_of(event) if value is ABSENT else value)


class RawMaker:
    """The payload as it was published."""

    __slots__ = ("_content_type", "frame")

    def __init__(self, config: RawFormat) -> None:
        self._content_type: Final = config.content_type
        self.frame: Joined | None = None

    def write(self, event: Event, message: Message) -> None:
        message.content_type = self._content_type or sendable(event.content_type)
        json = declares_json(event.content_type)
        message.document = JsonText(event.payload) if json else Bytes(event.payload)

    def part(self, event: Event, values: Mapping[str, str]) -> bytes:
        raise AssertionError("there are no batches of raw payloads")
