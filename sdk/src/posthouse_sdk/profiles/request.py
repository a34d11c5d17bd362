"""A request as it came, and what templates of signatures may name of it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from posthouse_sdk.digests import digest
from posthouse_sdk.errors import (
    DecryptionError,
    MalformedBodyError,
    MalformedHeaderError,
    MissingHeaderError,
    NoMatchingSignatureError,
    ProfileError,
    VerificationError,
)
from posthouse_sdk.profiles import documents
from posthouse_sdk.profiles.documents import Ambiguous, Element, Unreadable
from posthouse_sdk.webhook import raw_of

if TYPE_CHECKING:
    from posthouse_sdk.webhook import Headers

HEADERS_MAX: Final = 1_000
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

_PORTS: Final = {"http": ":80", "https": ":443"}
_DIGEST: Final = re.compile(r"(body|plain|url)\.(md5|sha1|sha256|sha512|sm3)(?:\.(base64|base64url))?")


class Target:
    """Where a request was sent: the URL as the sender sees it, as far as it is told."""

    __slots__ = ("authority", "path", "query", "scheme")

    def __init__(self, url: str, told: str | None) -> None:
        """`url` is the request's, or its path and query; `told` where the receiver is, as the sender has it."""
        path, _, query = url.partition("?")
        try:
            here = SplitResult("", "", path, query, "") if url.startswith("/") else urlsplit(url)
            base = urlsplit(told) if told is not None else here
        except ValueError:
            raise MalformedHeaderError("URL", "cannot be read", "request's") from None
        self.scheme: Final = base.scheme.lower()
        self.authority: Final = base.netloc.lower().removesuffix(_PORTS.get(self.scheme, "\0"))
        self.path: Final = base.path or "/"
        self.query: Final = here.query

    def request_path(self, query: str) -> str:
        return f"{self.path}?{query}" if query else self.path

    def url(self, query: str) -> str:
        """Raises: ProfileError where nobody said where this is."""
        if not self.scheme or not self.authority:
            raise ProfileError("the signature is about the whole URL: say with url= where the sender sends to")
        return f"{self.scheme}://{self.authority}{self.request_path(query)}"


class Request:
    """`charset` is the one in which its query, and a form, are encoded."""

    def __init__(self, method: str, target: Target, headers: Headers, body: bytes | str, charset: str) -> None:
        self.method: Final = method.upper()
        self.target: Final = target
        self.charset: Final = charset
        self.body: Final = raw_of(body)
        """As it came."""
        self.headers: Final = headers
        self._headers: Final[dict[str, str]] = {}
        self._doubled: Final[set[str]] = set()
        for index, (name, value) in enumerate(headers.items()):
            if index >= HEADERS_MAX:
                raise MalformedHeaderError(name[:64], f"comes after {HEADERS_MAX} others")
            lower = name.lower()
            if self._headers.setdefault(lower, str(value)) != str(value):
                self._doubled.add(lower)
        try:
            self._pairs: Final = documents.form_of(target.query, charset)
        except Unreadable as error:
            raise MalformedHeaderError("query", str(error), "URL's") from None
        self.in_query: Final = self.method == "GET"
        """Whether all that it says is in the query, what signatures name and what is read alike: GET has no body."""
        if self.in_query and self.body:
            raise VerificationError("a GET says all in its query, and this one brings a body")

    def header(self, name: str) -> str | None:
        """Raises: MalformedHeaderError where it came twice with different values."""
        lower = name.lower()
        if lower in self._doubled:
            raise MalformedHeaderError(lower, "came twice, with different values")
        return self._headers.get(lower)

    @property
    def content_type(self) -> str:
        return self.header("content-type") or ""

    @property
    def query(self) -> list[tuple[str, str]]:
        return list(self._pairs)

    def parameter(self, name: str) -> str | None:
        """Raises: MalformedHeaderError where it came twice."""
        try:
            return documents.the_one(self._pairs, name)
        except Ambiguous:
            raise MalformedHeaderError(name[:64], "came twice", "query parameter") from None


class Body:
    """A body of a kind (`json`, `xml`, `form`, `raw`): its fields, and what it says. Read when it is asked for."""

    def __init__(self, raw: bytes, kind: str, content_type: str, charset: str) -> None:
        self.raw: Final = raw
        self.kind: Final = kind_of(kind, content_type)
        self.content_type: Final = content_type
        self.charset: Final = charset
        self._pairs: list[tuple[str, str]] | None = None
        self._element: Element | None = None

    def pairs(self) -> list[tuple[str, str]]:
        """The top-level fields as texts, those that came twice twice. Raises: Unreadable."""
        if self._pairs is None:
            match self.kind:
                case "form":
                    self._pairs = documents.form_of(documents.text_of(self.raw, "ascii"), self.charset)
                case "xml":
                    self._pairs = documents.xml_fields(self.element())
                case _:
                    self._pairs = documents.json_fields(documents.text_of(self.raw))
        return self._pairs

    def element(self) -> Element:
        """The root of XML. Raises: Unreadable."""
        if self._element is None:
            self._element = documents.xml_of(self.raw, self.content_type)
        return self._element

    def value(self) -> Any:
        """The whole as values; what is no JSON, XML or form are bytes. Raises: Unreadable."""
        match self.kind:
            case "form":
                return dict(self.pairs())
            case "xml":
                return self.element().value()
            case "json":
                return documents.json_of(self.raw)
            case _ if not self.content_type:
                try:
                    return documents.json_of(self.raw)
                except Unreadable:
                    return self.raw
            case _:
                return self.raw

    def without(self, name: str) -> bytes:
        """As it was before this field was put there. Raises: Unreadable."""
        if self.kind == "form":
            return documents.form_without(documents.text_of(self.raw, "ascii"), name, self.charset).encode()
        return documents.json_without(documents.text_of(self.raw), name)


class Told:
    """What is known of a request while it is verified. `sent` makes its body as it was before it was compressed, `plain` as it
    was before it was encrypted, if it was: both when they are asked for."""

    def __init__(
        self, request: Request, sent: Callable[[], Body], plain: Callable[[], Body], *, encrypted: bool
    ) -> None:
        self.request: Final = request
        self.values: Final[dict[str, str]] = {}
        self.encrypted: Final = encrypted
        self.plain: Final = plain
        """Raises: DecryptionError, MalformedBodyError."""
        self._make: Final = sent
        self._sent: Body | None = None

    @property
    def sent(self) -> Body:
        """Raises: MalformedBodyError."""
        if self._sent is None:
            self._sent = self._make()
        return self._sent

    def pairs(self) -> list[tuple[str, str]]:
        """The fields that it was sent with: of the body, under GET of the query. Raises: Unreadable, MalformedBodyError."""
        return self.request.query if self.request.in_query else self.sent.pairs()

    def learn(self, found: Mapping[str, str]) -> None:
        """Values that the request tells. Raises: NoMatchingSignatureError where it told another before."""
        for name, value in found.items():
            if self.values.setdefault(name, value) != value:
                raise NoMatchingSignatureError(f"the request tells two values of {{{name}}}: at most one was signed")


class Turn:
    """One signer's view of it: without the signature itself, which was put there last. `field` or `parameter` is where."""

    __slots__ = ("field", "key_id", "parameter", "secret", "told", "written_pairs")

    def __init__(self, told: Told, key_id: str = "", *, field: str | None = None, parameter: str | None = None) -> None:
        self.told: Final = told
        self.key_id: Final = key_id
        self.field: Final = field
        self.parameter: Final = parameter
        self.secret: bytes | None = None
        self.written_pairs: str | None = None

    def body(self) -> bytes:
        if self.field is None:
            return self.told.request.body
        try:
            return self.told.sent.without(self.field)
        except Unreadable as error:
            raise MalformedBodyError(str(error)) from None

    def query(self) -> str:
        query = self.told.request.target.query
        if self.parameter is None:
            return query
        return documents.form_without(query, self.parameter, self.told.request.charset)

    def value(self, name: str) -> str | bytes:
        """What a name of a template stands for. Raises: MissingHeaderError for what the request does not tell."""
        request = self.told.request
        match name:
            case "body":
                return self.body()
            case "plain":
                return self._plain() if self.told.encrypted else self.body()
            case "key":
                assert self.secret is not None, "judged before"
                return self.secret
            case "pairs":
                assert self.written_pairs is not None, "written before"
                return self.written_pairs
            case "method":
                return request.method
            case "url":
                return request.target.url(self.query())
            case "path":
                return request.target.request_path(self.query())
            case "host":
                return request.target.authority
            case "content_type":
                return request.content_type
            case "key_id":
                return self.key_id
        if found := _DIGEST.fullmatch(name):
            content = self.value(found[1])
            raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
            return encoded(digest(found[2], raw), found[3] or "hex")
        if name.startswith("field."):
            return self._field(name.removeprefix("field."))
        if name not in self.told.values:
            raise MissingHeaderError(name, "value")
        return self.told.values[name]

    def _plain(self) -> bytes:
        try:
            return self.told.plain().raw
        except DecryptionError:  # before it is verified, nobody is told more
            raise NoMatchingSignatureError("no signature fits what was sent") from None

    def text(self, name: str) -> str:
        value = self.value(name)
        return value if isinstance(value, str) else value.decode("utf-8", "replace")

    def _field(self, name: str) -> str:
        optional, name = name.endswith("?"), name.removesuffix("?")
        value = field_of(self.told, steps_of(name))
        if value is None and not optional:
            raise MissingHeaderError(name, "field")
        return value or ""


def field_of(told: Told, steps: Iterable[str]) -> str | None:
    """A field of what was sent. Raises: MalformedBodyError, also where it is there twice."""
    try:
        return documents.field_at(told.pairs(), list(steps))
    except Unreadable as error:
        raise MalformedBodyError(f"the signature is about fields of the body, and {error}") from None


def is_computed(name: str) -> bool:
    """Whether a name is not told by the request but made of it."""
    return name in _COMPUTED or _DIGEST.fullmatch(name) is not None or name.startswith("field.")


_COMPUTED: Final = frozenset(
    {"body", "plain", "key", "pairs", "method", "url", "path", "host", "content_type", "key_id", "signature", "token"}
)


def steps_of(name: str) -> tuple[str, ...]:
    """A JSON Pointer, or the plain name of a top-level field."""
    if not name.startswith("/"):
        return (name,)
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in name[1:].split("/"))


def kind_of(kind: str, content_type: str) -> str:
    """Of what kind a body is: XML, forms and text as the profile says, all else as its content type does."""
    if kind in ("xml", "form", "text"):
        return kind
    media = content_type.partition(";")[0].strip().lower()
    if media == FORM:
        return "form"
    if media.endswith(("/xml", "+xml")):
        return "xml"
    return "json" if kind == "json" or media == JSON or media.endswith("+json") else "raw"


def encoded(raw: bytes, encoding: str) -> str:
    match encoding:
        case "hex":
            return raw.hex()
        case "HEX":
            return raw.hex().upper()
        case "base64":
            return base64.b64encode(raw).decode("ascii")
        case _:
            return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decoded(text: str, encoding: str) -> bytes | None:
    """The bytes of the one spelling that `encoded` makes; None for any other."""
    try:
        if encoding in ("hex", "HEX"):
            raw = binascii.unhexlify(text)
        else:
            standard = text.translate({ord("-"): "+", ord("_"): "/"}) if encoding == "base64url" else text
            raw = binascii.a2b_base64(standard + "=" * (-len(standard) % 4 if encoding == "base64url" else 0))
    except ValueError:
        return None
    return raw if encoded(raw, encoding) == text else None
