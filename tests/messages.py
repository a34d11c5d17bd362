"""Messages for tests of what is done to them between their format and their bytes, and a receiver's view of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec

from posthouse.domain.endpoint import Timeouts
from posthouse.domain.exchange import Request
from posthouse.domain.formats import XmlFormat
from posthouse.domain.signing import Signer
from posthouse.wire.assemble import assemble
from posthouse.wire.documents import Bytes
from posthouse.wire.formats.xml import Style
from posthouse.wire.formats.xml_body import Xml
from posthouse.wire.message import Document, Message
from posthouse.wire.signing.signers import compile_signers
from posthouse.wire.target import parse_target

NOW = 1614265330.25
NONCE = "593bec0c930bf1afeb40b4a08c8fb242"
EVENT_ID = "evt_06h0zqj691r0zcra57j86xt6nm"


def xml(fields: Sequence[tuple[str, str]]) -> Xml:
    """`<xml><ToUserName>…</ToUserName>…</xml>`"""
    document = Xml(Style(XmlFormat(declaration=False)), "xml")
    document.fill(dict(fields))
    return document


def message(
    document: Document | bytes = b'{"test": 2432232314}',
    *,
    url: str = "https://example.com/webhook",
    method: str = "POST",
    id: str = EVENT_ID,
    now: float = NOW,
    nonce: str = NONCE,
    content_type: str = "application/json",
    headers: Sequence[tuple[str, str]] = (),
    query: Sequence[tuple[str, str]] = (),
    values: dict[str, str] | None = None,
) -> Message:
    """A message as its format leaves it, with its values as templates name them."""
    made = Message(
        method=method,
        target=parse_target(url),
        id=id,
        now=now,
        nonce=nonce,
        random=random.Random(7).randbytes,
        content_type=content_type,
        document=Bytes(document) if isinstance(document, bytes) else document,
        values={
            "message.id": id,
            "timestamp": str(int(now)),
            "timestamp_ms": str(int(now * 1000)),
            "time": "2021-02-25T15:02:10.250Z",
            "nonce": nonce,
            "event.type": "order.created",
            "event.id": EVENT_ID,
        }
        | (values or {}),
    )
    made.headers = list(headers)
    made.query = list(query)
    return made


class Received:
    """What the server at the other end has of a request, read from its bytes by h11."""

    def __init__(self, sent: Message | Request) -> None:
        request = assemble(sent, Timeouts()) if isinstance(sent, Message) else sent
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(request.head + request.body)
        head, data, end = connection.next_event(), connection.next_event(), connection.next_event()
        assert isinstance(head, h11.Request)
        self.method = head.method.decode()
        self.url = f"{request.target.scheme}://{request.target.authority}{head.target.decode()}"
        self.query = dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))
        lines = [(name.decode(), value.decode("latin-1")) for name, value in head.headers.raw_items()]
        self.headers = dict(lines)
        assert len({name.lower() for name in self.headers}) == len(lines)
        if isinstance(data, h11.EndOfMessage):
            self.body = b""
        else:
            assert isinstance(data, h11.Data)
            assert isinstance(end, h11.EndOfMessage)
            self.body = bytes(data.data)
        assert self.body == request.body
        assert connection.trailing_data == (b"", False)


def signers(*configurations: dict[str, Any]) -> tuple[Signer, ...]:
    """Signers as they are written in JSON, and as they come back from the store."""
    read = msgspec.convert(configurations, tuple[Signer, ...])
    assert msgspec.json.decode(msgspec.json.encode(read), type=tuple[Signer, ...]) == read
    return read


def signed(
    made: Message, *configurations: dict[str, Any], keys: dict[str, Any] | None = None, checked: bool = False
) -> Received:
    """Signed with some signers; each key is a text or several, newest first."""
    texts = {name: (text,) if isinstance(text, str) else text for name, text in (keys or {}).items()}
    for step in compile_signers(signers(*configurations), texts, checked=checked):
        step.apply(made)
    return Received(made)
