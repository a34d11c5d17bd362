"""Messages for tests of what is done to them between their format and their bytes, and a receiver's view of them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.signing import Signer
from posthouse.wire.message import Document, Message
from posthouse.wire.query import with_query
from posthouse.wire.signing.signers import compile_signers
from posthouse.wire.target import parse_target

NOW = 1614265330.25
NONCE = "593bec0c930bf1afeb40b4a08c8fb242"
EVENT_ID = "evt_06h0zqj691r0zcra57j86xt6nm"


class Plain:
    """A body without fields."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def encoded(self) -> bytes:
        return self.body

    def pairs(self) -> list[tuple[str, str]]:
        raise Invalid("the body has no fields")

    def put(self, name: str, value: str) -> None:
        raise Invalid("the body has no fields")


class Json:
    """A JSON object."""

    def __init__(self, body: bytes) -> None:
        self.fields: dict[str, Any] = json.loads(body)

    def encoded(self) -> bytes:
        return json.dumps(self.fields, separators=(",", ":"), ensure_ascii=False).encode()

    def pairs(self) -> list[tuple[str, str]]:
        return [
            (name, value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))
            for name, value in self.fields.items()
        ]

    def put(self, name: str, value: str) -> None:
        self.fields[name] = value

    def put_json(self, name: str, value: bytes) -> None:
        self.fields[name] = json.loads(value)


class Form:
    def __init__(self, pairs: Sequence[tuple[str, str]], charset: str = "utf-8") -> None:
        self.fields = dict(pairs)
        self.charset = charset

    def encoded(self) -> bytes:
        return "&".join(
            f"{quote_plus(name, encoding=self.charset)}={quote_plus(value, encoding=self.charset)}"
            for name, value in self.fields.items()
        ).encode("ascii")

    def pairs(self) -> list[tuple[str, str]]:
        return list(self.fields.items())

    def put(self, name: str, value: str) -> None:
        self.fields[name] = value


class Xml(Form):
    """Elements below one root."""

    def encoded(self) -> bytes:
        return f"<xml>{''.join(f'<{k}>{escape(v)}</{k}>' for k, v in self.fields.items())}</xml>".encode()


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
        document=Plain(document) if isinstance(document, bytes) else document,
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
    """What the server at the other end has of a request."""

    def __init__(self, message: Message) -> None:
        self.method = message.method
        target = with_query(message.target.path, message.query)
        self.url = f"{message.target.scheme}://{message.target.authority}{target}"
        self.body = message.document.encoded()
        self.query = dict(message.query)
        own = [("Host", message.target.authority), ("Content-Type", message.content_type)]
        own += [("Content-Length", str(len(self.body)))]
        self.headers = dict(own + message.headers)
        assert len(self.headers) == len(own) + len(message.headers)


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
