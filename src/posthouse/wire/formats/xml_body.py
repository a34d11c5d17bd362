"""`xml`: fields as elements (`wire/formats/xml.py`), and payloads that are XML as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.formats import Charset, XmlFormat
from posthouse.domain.limits import FORMAT_FIELDS_MAX, NAME_LENGTH_MAX, TEXT_LENGTH_MAX
from posthouse.wire.documents import Bytes
from posthouse.wire.formats.maker import Joined, compile_body
from posthouse.wire.formats.shape import ABSENT, ParsedSource, base64_of
from posthouse.wire.formats.xml import Fragment, Style, Writer, escaped_name, markup_of, parse, plain
from posthouse.wire.message import Document, Message, Unsendable

_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._:-]+)", re.IGNORECASE)
_IN_ATTRIBUTE: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)


class Xml:
    """An XML document made of fields: a root, and in it for each field an element (or several, of an array)."""

    __slots__ = ("_fields", "_head", "_style", "_tail")

    def __init__(self, style: Style, root: str, start: str = "") -> None:
        """`start` are the root's attributes, as markup with a space before each."""
        self._style = style
        self._head = f"{style.declaration}<{root}{start}>"
        self._tail = f"</{root}>"
        self._fields: dict[str, tuple[str, str]] = {}  # markup, and the same as plain text

    def encoded(self) -> bytes:
        inside = "".join([markup for markup, _ in self._fields.values()])
        return self._style.encoded(f"{self._head}{inside}{self._tail}")

    def pairs(self) -> list[tuple[str, str]]:
        """The texts of elements; objects and arrays as JSON."""
        return [(name, text) for name, (_, text) in self._fields.items()]

    def put(self, name: str, value: str) -> None:
        self.fill({name: value})

    def fill(self, fields: Mapping[str, Any]) -> None:
        """Put fields of any value. Raises Unsendable for what XML cannot hold, or what becomes too large."""
        writer = Writer(self._style)
        for name, value in fields.items():
            writer.field(name, value)
            self._fields[name] = (writer.take(), plain(value))


class _Source(ParsedSource):
    """Payloads that are XML are values too: their root with all that is in it."""

    __slots__ = ("_charset", "_inside_namespace")

    def __init__(self, charset: str, *, inside_namespace: bool) -> None:
        self._charset = charset
        self._inside_namespace = inside_namespace

    def data(self, event: Event) -> Any:
        if is_xml(event.content_type):
            return fragment_of(event, self._charset, inside_namespace=self._inside_namespace)
        return super().data(event)


class XmlMaker:
    """Raises: Invalid for names that XML does not allow, with their paths."""

    __slots__ = ("_batch", "_content_type", "_root", "_shape", "_source", "_start", "_style", "frame")

    def __init__(self, config: XmlFormat, *, batch: bool) -> None:
        self._shape: Final = compile_body(config, batch=batch)
        self._style: Final = Style(config)
        self._source: Final = _Source(
            self._style.charset, inside_namespace="xmlns" in config.root_attributes and (batch or not self._shape.whole)
        )
        self._root: Final = config.root
        self._content_type: Final = config.content_type or f"application/xml; charset={self._style.charset}"
        if not config.declaration and config.charset is not Charset.UTF_8:
            raise Invalid("a charset other than utf-8 has to be declared", path="format.declaration")
        for option in ("root", "batch_root", "item"):
            _check_name(getattr(config, option), self._style.charset, f"format.{option}")
        for name, path in self._shape.names:
            _check_name(name, self._style.charset, path)
        if len(config.attributes) > FORMAT_FIELDS_MAX:
            raise Invalid(f"there are more than {FORMAT_FIELDS_MAX} attributes", path="format.attributes")
        for number, name in enumerate(config.attributes):
            if config.types and name in ("type", "list"):
                raise Invalid(
                    "this attribute tells the type of a value; it is free with types: false",
                    path=f"format.attributes[{number}]",
                )
        start = _root_attributes(config)
        self._start: Final = "" if batch else start
        head, tail = f"{self._style.declaration}<{config.batch_root}{start}>", f"</{config.batch_root}>"
        self.frame: Joined | None = Joined(
            self._content_type, self._style.encoded(head), b"", tail.encode(self._style.charset)
        )

    def write(self, event: Event, message: Message) -> None:
        message.content_type = self._content_type
        message.document = self._document(self._value(event, message.values))

    def part(self, event: Event, values: Mapping[str, str]) -> bytes:
        writer = Writer(self._style)
        writer.element(self._root, self._value(event, values))
        return self._style.encoded(writer.take())

    def _value(self, event: Event, values: Mapping[str, str]) -> Any:
        value = self._shape.fill(event, values, self._source)
        return base64_of(event) if value is ABSENT else value

    def _document(self, value: Any) -> Document:
        writer = Writer(self._style)
        if isinstance(value, dict):
            start, inside = writer.split(value)
            if inside or start or not self._style.types:
                document = Xml(self._style, self._root, self._start + start)
                document.fill(inside)
                return document
        if isinstance(value, Fragment):
            return Bytes(self._style.encoded(self._style.declaration + value))
        writer.element(self._root, value, self._start)
        return Bytes(self._style.encoded(self._style.declaration + writer.take()))


def is_xml(content_type: str) -> bool:
    """Whether data of this type are XML (RFC 7303, section 3)."""
    subtype = content_type.partition(";")[0].strip().lower().partition("/")[2]
    return subtype == "xml" or subtype.endswith("+xml")


def fragment_of(event: Event, charset: str, *, inside_namespace: bool) -> Fragment:
    """A payload that was published as XML, as markup. Raises Unsendable where it is none, or has a document type."""
    declared = _CHARSET.search(event.content_type)
    try:
        root = parse(event.payload, charset=declared[1] if declared else None)
        return markup_of(root, charset, inside_namespace=inside_namespace)
    except Invalid as error:
        raise Unsendable(f"the payload was published as XML; {error}") from None


def _check_name(name: str, charset: str, path: str) -> None:
    if len(name) > NAME_LENGTH_MAX or escaped_name(name, charset) != name:
        raise Invalid(
            f"XML does not allow this name: 1 to {NAME_LENGTH_MAX} letters, digits and . - _, the first one a letter or _",
            path=path,
        )


def _root_attributes(config: XmlFormat) -> str:
    """The attributes of the root as markup; that they are well-formed, and their namespaces too, says the parser."""
    written = []
    for name, value in config.root_attributes.items():
        path = f"format.root_attributes.{name[:NAME_LENGTH_MAX]}"
        prefix, colon, local = name.partition(":")
        if prefix != "xmlns" or (colon and not local):
            _check_name(name, str(config.charset), path)
        elif colon:
            _check_name(local, str(config.charset), path)
        if config.types and name in ("type", "list"):
            raise Invalid("this attribute tells the type of a value; it is free with types: false", path=path)
        if name in config.attributes:
            raise Invalid("this attribute is one of format.attributes too: a root cannot have it twice", path=path)
        if len(value) > TEXT_LENGTH_MAX or not value.isprintable():
            raise Invalid(f"an attribute has at most {TEXT_LENGTH_MAX} characters, all of them printable", path=path)
        written.append(f' {name}="{value.translate(_IN_ATTRIBUTE)}"')
    start = "".join(written)
    if len(written) > FORMAT_FIELDS_MAX:
        raise Invalid(f"there are more than {FORMAT_FIELDS_MAX} attributes", path="format.root_attributes")
    if start:
        try:
            parse(f"<{config.root}{start}/>".encode())
        except Invalid:
            raise Invalid(
                "XML does not allow these attributes: a namespace has a prefix and a URI that are not empty, nor XML's own",
                path="format.root_attributes",
            ) from None
    return start
