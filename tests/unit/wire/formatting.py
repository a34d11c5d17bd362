"""Requests made by a format, for tests: whole, from an event to bytes, and read again by a server that is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h11
from tests.unit.wire.test_render import NOW, event

from posthouse.domain.endpoint import Timeouts
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.formats import Method, format_of
from posthouse.wire.assemble import assemble
from posthouse.wire.formats.formatter import Formatter, compile_format
from posthouse.wire.message import Message
from posthouse.wire.target import parse_target

URL = "https://example.com/hooks"
ID = "evt_000g40r40m30e209185gr38e1w"
CONSTANTS = {"app.id": "app_1", "endpoint.id": "ep_1"}


def counted(count: int) -> bytes:
    """Random bytes that are always the same."""
    return bytes(range(count))


def formatter(format: Any = "json", *, url: str = URL, **options: Any) -> Formatter:
    options.setdefault("constants", CONSTANTS)
    return compile_format(format_of(format), target=parse_target(url), **options)


def message(format: Any = "json", *, of: Event | None = None, replay: bool = False, **options: Any) -> Message:
    return formatter(format, **options).render(of or event(), now=NOW, random=counted, replay=replay)


def request(format: Any = "json", *, of: Event | None = None, replay: bool = False, **options: Any) -> Request:
    return assemble(message(format, of=of, replay=replay, **options), Timeouts())


def body(
    format: Any = "json", payload: bytes | None = None, content_type: str = "application/json", **options: Any
) -> bytes:
    return request(format, of=event(payload or b'{"id":1}', content_type), **options).body


class Received:
    """What an independent HTTP server (h11) makes of the bytes: exactly one request, and nothing after it."""

    def __init__(self, sent: Request) -> None:
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        server.receive_data(sent.head + sent.body)
        begun = server.next_event()
        assert isinstance(begun, h11.Request)
        parts: list[bytes] = []
        while isinstance(part := server.next_event(), h11.Data):
            parts.append(bytes(part.data))
        assert isinstance(part, h11.EndOfMessage)
        assert not part.headers
        assert server.trailing_data == (b"", False)
        self.method = begun.method.decode()
        self.target = begun.target.decode()
        self.names = [bytes(name).decode() for name, _ in begun.headers.raw_items()]
        self.headers: Mapping[str, str] = {
            bytes(name).decode(): bytes(value).decode("latin-1") for name, value in begun.headers
        }
        self.body = b"".join(parts)
        assert len({name.lower() for name in self.names}) == len(self.names)
        if self.method == Method.GET:
            assert not {"content-length", "content-type", "transfer-encoding"} & set(self.headers)
            assert self.body == b""
        else:
            assert self.headers["content-length"] == str(len(self.body))
