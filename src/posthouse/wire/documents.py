"""Bodies that can still be changed: what a format makes, encryption replaces and signers add to (`message.Document`).

XML is `wire/formats/xml.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import quote, quote_plus

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import COMPRESSED_BYTES_MIN, MADE_BODY_BYTES_MAX
from posthouse.wire.message import Document, Message, Unsendable

_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


@runtime_checkable
class JsonFields(Protocol):
    """A document whose fields may be JSON."""

    def put_json(self, name: str, value: bytes) -> None:
        """Set a top-level field to some JSON, as `put` does. Raises Invalid where it has no fields."""
        ...

    def open(self) -> None:
        """From now on it is encoded as it will be with one more field, but for that field. Raises Invalid as `put_json`."""
        ...


class Bytes:
    """A body without fields."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def encoded(self) -> bytes:
        return self._body

    def pairs(self) -> list[tuple[str, str]]:
        raise no_fields()

    def put(self, name: str, value: str) -> None:
        raise no_fields()


class JsonObject:
    """A JSON object. Values that came as `msgspec.Raw` are written byte for byte as they came."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def encoded(self) -> bytes:
        return _encode(self._fields)

    def pairs(self) -> list[tuple[str, str]]:
        """Texts without their quotes, all else as it is in the body."""
        return [(name, _told(value)) for name, value in self._fields.items()]

    def put(self, name: str, value: str) -> None:
        self._fields[name] = value

    def put_json(self, name: str, value: bytes) -> None:
        self._fields[name] = msgspec.Raw(value)

    def open(self) -> None:
        """It always is."""


class JsonText:
    """JSON as it was published: it stays so, byte for byte, until a field is put into it."""

    __slots__ = ("_body", "_object")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._object: JsonObject | None = None

    def encoded(self) -> bytes:
        return self._body if self._object is None else self._object.encoded()

    def pairs(self) -> list[tuple[str, str]]:
        return (self._object or self._parsed()).pairs()

    def put(self, name: str, value: str) -> None:
        self._opened().put(name, value)

    def put_json(self, name: str, value: bytes) -> None:
        self._opened().put_json(name, value)

    def open(self) -> None:
        self._opened()

    def _opened(self) -> JsonObject:
        if self._object is None:
            self._object = self._parsed()
        return self._object

    def _parsed(self) -> JsonObject:
        try:
            return JsonObject(dict(_decode(self._body)))
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise no_fields() from None


class Form:
    """`application/x-www-form-urlencoded`, as the WHATWG URL standard writes it: what `charset` lacks is `&#n;`."""

    __slots__ = ("_charset", "_made", "_pairs")

    def __init__(self, pairs: Sequence[tuple[str, str]], charset: str = "utf-8") -> None:
        self._pairs = list(pairs)
        self._charset = charset
        self._made: bytes | None = None  # each signer asks for it, and a large one takes a while

    def encoded(self) -> bytes:
        """Raises Unsendable for what becomes too large."""
        if self._made is None:
            body = "&".join([f"{self._quoted(name)}={self._quoted(value)}" for name, value in self._pairs])
            if len(body) > MADE_BODY_BYTES_MAX:
                raise too_large()
            self._made = body.encode("ascii")
        return self._made

    def pairs(self) -> list[tuple[str, str]]:
        return list(self._pairs)

    def put(self, name: str, value: str) -> None:
        put_pair(self._pairs, name, value)
        self._made = None

    def _quoted(self, text: str) -> str:
        return quote_plus(text, encoding=self._charset, errors="xmlcharrefreplace")


class Query:
    """The fields of a request without a body: they are the parameters that are added to its URL."""

    __slots__ = ("_pairs",)

    def __init__(self, query: list[tuple[str, str]]) -> None:
        """`query` is the message's own list, which this changes."""
        self._pairs = query

    def encoded(self) -> bytes:
        return b""

    def pairs(self) -> list[tuple[str, str]]:
        return list(self._pairs)

    def put(self, name: str, value: str) -> None:
        put_pair(self._pairs, name, value)


class Gzipped:
    """A document that is sent compressed (RFC 1952), where that makes it smaller. The same body gives the same bytes."""

    __slots__ = ("_inner", "_made")

    def __init__(self, inner: Document) -> None:
        self._inner = inner
        self._made: tuple[bytes, bool] | None = None

    @property
    def compressed(self) -> bool:
        """Whether `encoded` is compressed, so that the request has to say so."""
        return self._make()[1]

    def encoded(self) -> bytes:
        return self._make()[0]

    def pairs(self) -> list[tuple[str, str]]:
        return self._inner.pairs()

    def put(self, name: str, value: str) -> None:
        self._inner.put(name, value)
        self._made = None

    def put_json(self, name: str, value: bytes) -> None:
        if not isinstance(self._inner, JsonFields):
            raise no_fields()
        self._inner.put_json(name, value)
        self._made = None

    def open(self) -> None:
        if isinstance(self._inner, JsonFields):
            self._inner.open()
            self._made = None

    def _make(self) -> tuple[bytes, bool]:
        if self._made is None:
            plain = self._inner.encoded()
            small = gzip(plain) if len(plain) >= COMPRESSED_BYTES_MIN else plain
            self._made = (small, True) if len(small) < len(plain) else (plain, False)
        return self._made


class Gzip:
    """The step that compresses. It comes after encryption (which hides what could be compressed) and before signatures."""

    __slots__ = ()

    def apply(self, message: Message) -> None:
        message.document = Gzipped(message.document)


_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no particular system


def gzip(body: bytes) -> bytes:
    """The body as a gzip member that tells nothing of when and where it was made."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b"%b%b%b%b%b" % (
        _GZIP_HEAD,
        deflate.compress(body),
        deflate.flush(),
        zlib.crc32(body).to_bytes(4, "little"),
        (len(body) & 0xFFFFFFFF).to_bytes(4, "little"),
    )


def encoded_query(pairs: Sequence[tuple[str, str]], charset: str = "utf-8") -> str:
    """Parameters as they are written into a URL: all but unreserved characters percent-encoded (RFC 3986, section 2.3)."""

    def quoted(text: str) -> str:
        return quote(text, safe="", encoding=charset, errors="xmlcharrefreplace")

    return "&".join(f"{quoted(name)}={quoted(value)}" for name, value in pairs)


def put_pair(pairs: list[tuple[str, str]], name: str, value: str) -> None:
    """Set the value of a name in its first place or at the end; what else has this name goes."""
    places = [place for place, (other, _) in enumerate(pairs) if other == name]
    if not places:
        pairs.append((name, value))
        return
    pairs[places[0]] = (name, value)
    for place in reversed(places[1:]):
        del pairs[place]


def too_large() -> Unsendable:
    return Unsendable(f"the payload makes a body of more than {MADE_BODY_BYTES_MAX} bytes in this format")


def no_fields() -> Invalid:
    return Invalid("the body has no fields: it is no JSON object, no form and no XML made of fields", path="format")


def _told(value: Any) -> str:
    if isinstance(value, str):
        return value
    raw = bytes(value) if isinstance(value, msgspec.Raw) else _encode(value)
    return _text(raw) if raw.startswith(b'"') else raw.decode()
