"""What the templates of signatures may name, and how it is found out while a message is being signed.

Beside what `wire/template.py` knows of an event and its request:

- `{method}`, `{url}`, `{path}` (with the query), `{host}`, `{content_type}`, `{key_id}`;
- `{body}` as it is sent, `{plain}` as it was before it was encrypted; `{body.sha256}`, `{plain.md5}`, `{url.sm3.base64}`:
  their digests, in hex unless base64 or base64url is asked for;
- `{field.NAME}`: a top-level field of the body as text, and with a `/` in front what a JSON Pointer leads to; empty where
  its name ends in `?` and there is none, else a message without it cannot be sent;
- `{pairs}`: see `pairs.py`; `{key}`: the shared secret itself.

Bodies, pairs and keys are for what is signed alone and never for what is sent. Everything is as it stands when the signer
has its turn.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Iterator
from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import TEXT_LENGTH_MAX
from posthouse.domain.signing import Encoding
from posthouse.wire.headers import percent_encoded
from posthouse.wire.message import Lacking, Message, Unsendable
from posthouse.wire.query import request_path, request_url
from posthouse.wire.signing.fields import pairs_of, pointer, text_at
from posthouse.wire.template import Template
from posthouse_sdk.digests import digest


class Turn:
    """One signer's turn at one message."""

    __slots__ = ("_body", "_fields", "key_id", "message", "pairs", "secret", "signature")

    def __init__(self, message: Message, *, key_id: str = "") -> None:
        self.message: Final = message
        self.key_id: Final = key_id
        self.secret: bytes | None = None
        self.signature = ""
        self.pairs: Callable[[Turn], str] | None = None
        self._body: bytes | None = None
        self._fields: list[tuple[str, str]] | None = None

    @property
    def body(self) -> bytes:
        """As it is sent."""
        if self._body is None:
            self._body = self.message.document.encoded()
        return self._body

    @property
    def plain(self) -> bytes:
        """As it was before it was encrypted, if it was."""
        return self.body if self.message.plain is None else self.message.plain

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Its top-level fields. Raises: Unsendable where it has none."""
        if self._fields is None:
            self._fields = pairs_of(self.message.document)
        return self._fields

    def body_changed(self) -> None:
        """To be said where a field was put."""
        self._body = self._fields = None


Resolver = Callable[[Turn], str | bytes]


_SENT: Final[dict[str, Resolver]] = {
    "method": lambda turn: turn.message.method,
    "url": lambda turn: request_url(turn.message),
    "path": lambda turn: request_path(turn.message),
    "host": lambda turn: turn.message.target.authority,
    "content_type": lambda turn: turn.message.content_type,
    "key_id": lambda turn: turn.key_id,
}
_SIGNATURE: Final[dict[str, Resolver]] = {"signature": lambda turn: turn.signature}
_TOKEN: Final[dict[str, Resolver]] = {"token": lambda turn: turn.signature}


def _secret(turn: Turn) -> bytes:
    assert turn.secret is not None, "compiled for a shared secret"
    return turn.secret


def _pairs(turn: Turn) -> str:
    assert turn.pairs is not None, "compiled with pairs"
    return turn.pairs(turn)


_SIGNED: Final[dict[str, Resolver]] = {
    "body": lambda turn: turn.body,
    "plain": lambda turn: turn.plain,
    "pairs": _pairs,
    "key": _secret,
}

_DIGESTED: Final[dict[str, Callable[[Turn], bytes]]] = {
    "body": lambda turn: turn.body,
    "plain": lambda turn: turn.plain,
    "url": lambda turn: request_url(turn.message).encode(),
}
_DIGEST: Final = re.compile(r"(body|plain|url)\.(md5|sha1|sha256|sha512|sm3)(?:\.(base64|base64url))?")
_FIELD: Final = "field."


def is_of_url(name: str) -> bool:
    """Whether what a template names depends on the URL and its query."""
    return name in ("url", "path") or name.startswith("url.")


class Names(Collection[str]):
    """The names that a template may use: some texts, digests and fields."""

    def __init__(self, *names: Collection[str]) -> None:
        self._names: Final = frozenset().union(*names)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        return (
            name in self._names
            or _DIGEST.fullmatch(name) is not None
            or (name.startswith(_FIELD) and name.removesuffix("?") != _FIELD)
        )

    def __iter__(self) -> Iterator[str]:
        yield from self._names
        yield from ("body.sha256", "field.NAME")

    def __len__(self) -> int:
        return len(self._names) + 2


class Known:
    """The names of each kind of template, where those in `values` can be told of the event and the request."""

    def __init__(self, values: Collection[str]) -> None:
        self.sent: Final = Names(values, _SENT)
        self.signature: Final = Names(values, _SENT, _SIGNATURE)
        self.token: Final = Names(values, _SENT, _TOKEN)
        self.signed: Final = Names(values, _SENT, _SIGNED)
        self.mac_key: Final = Names(values, _SENT, ("key",))


class SentText(Template):
    """A template of what is sent: a header's value, a claim. Raises: Invalid, as `Template`.

    In a `header` what an event brings along is percent-encoded, as in the headers that an endpoint adds.
    """

    __slots__ = ("_pieces",)

    def __init__(self, text: str, *, known: Names, path: str, header: bool = False) -> None:
        super().__init__(bounded(text, path), known=known, path=path)
        self._pieces: Final = tuple(
            (_resolver(part, path), header and not _is_ours(part)) if named else part for named, part in self._parts
        )

    def of(self, turn: Turn) -> str:
        """Raises: Unsendable where one of its names stands for nothing here."""
        return "".join([piece if isinstance(piece, str) else _sent(*piece, turn) for piece in self._pieces])


def _sent(resolver: Resolver, encode: bool, turn: Turn) -> str:
    value = resolver(turn)
    assert isinstance(value, str), "bytes are for what is signed alone"
    return percent_encoded(value) if encode else value


def _is_ours(name: str) -> bool:
    return name in _SENT or name in _SIGNATURE or name in _TOKEN or _DIGEST.fullmatch(name) is not None


class SignedText(Template):
    """A template of what is signed. Raises: Invalid, as `Template`, and for what the charset cannot write."""

    __slots__ = ("_charset", "_pieces")

    def __init__(self, text: str, *, known: Names, path: str, charset: str) -> None:
        super().__init__(bounded(text, path), known=known, path=path)
        self._charset: Final = charset
        self._pieces: Final = tuple(
            _resolver(part, path) if named else literal(part, charset, path) for named, part in self._parts
        )

    def of(self, turn: Turn) -> bytes:
        """Raises: Unsendable where one of its names stands for nothing here, or for what the charset cannot write."""
        return b"".join([piece if isinstance(piece, bytes) else self._bytes(piece(turn)) for piece in self._pieces])

    def _bytes(self, value: str | bytes) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return value.encode(self._charset)
        except UnicodeEncodeError:
            raise Unsendable(f"what is signed holds a character that {self._charset} cannot write") from None


def bounded(text: str, path: str) -> str:
    """The same text. Raises: Invalid where it is too long to be part of a configuration, or half of a surrogate pair."""
    if len(text) > TEXT_LENGTH_MAX:
        raise Invalid(f"this has more than {TEXT_LENGTH_MAX} characters", path=path)
    _encoded(text, "utf-8", path)
    return text


def literal(text: str, charset: str, path: str) -> bytes:
    """A text as it is signed. Raises: Invalid for what the charset cannot write, and for a long one."""
    return _encoded(bounded(text, path), charset, path)


def _encoded(text: str, charset: str, path: str) -> bytes:
    try:
        return text.encode(charset)
    except UnicodeEncodeError:
        raise Invalid(f"this holds a character that {charset} cannot write", path=path) from None


def encoded(raw: bytes, encoding: Encoding) -> str:
    """Bytes as text."""
    match encoding:
        case Encoding.HEX:
            return raw.hex()
        case Encoding.UPPER_HEX:
            return raw.hex().upper()
        case Encoding.BASE64:
            return base64.b64encode(raw).decode("ascii")
        case Encoding.BASE64URL:
            return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _resolver(name: str, path: str) -> Resolver:
    for table in (_SENT, _SIGNED, _SIGNATURE, _TOKEN):
        if name in table:
            return table[name]
    if found := _DIGEST.fullmatch(name):
        content, algorithm, encoding = _DIGESTED[found[1]], found[2], Encoding(found[3] or "hex")
        return lambda turn: encoded(digest(algorithm, content(turn)), encoding)
    if name.startswith(_FIELD):
        field = name.removeprefix(_FIELD)
        steps = pointer(field.removesuffix("?"), path) or (field.removesuffix("?"),)
        return lambda turn: _field(turn, steps, optional=field.endswith("?"))
    return lambda turn: _value(turn.message, name)


def _field(turn: Turn, steps: tuple[str, ...], *, optional: bool) -> str:
    text = text_at(dict(turn.fields), steps)
    if text is None and not optional:
        raise Lacking(f"the signature is about the field {'/'.join(steps)}, which this body does not have")
    return text or ""


def _value(message: Message, name: str) -> str:
    try:
        return message.values[name]
    except KeyError:
        raise Unsendable(f"the signature names {{{name}}}, which this request does not have") from None
