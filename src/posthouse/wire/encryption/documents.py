"""The bodies that shapes make; signers may still add to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.wire.message import Document, Unsendable
from posthouse_sdk.encryption.shapes import Body, FormBody, JsonBody, TextBody, XmlBody
from posthouse_sdk.encryption.templates import Template

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# What XML 1.0 has no way to write (section 2.2). A carriage return would come out as a line feed.
_NOT_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(body: Body, values: Mapping[str, str]) -> Document:
    """The body of a shape, with its variables. Raises: Unsendable."""
    match body:
        case TextBody(template=template):
            return Plain(template.written(values).encode())
        case JsonBody(template=template):
            value = written(template, values)
            return JsonFields(value) if isinstance(value, dict) else Plain(_encode(value))
        case XmlBody(root=root, elements=elements, cdata=cdata):
            return XmlFields(root, [(name, each.written(values)) for name, each in elements], cdata)
        case FormBody(fields=fields):
            return FormFields([(name, each.written(values)) for name, each in fields])


def written(template: Any, values: Mapping[str, str]) -> Any:
    """A JSON template with its variables."""
    match template:
        case Template():
            return template.written(values)
        case dict():
            return {name: written(each, values) for name, each in template.items()}
        case list():
            return [written(each, values) for each in template]
        case _:
            return template


class Plain:
    """Bytes without fields."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body: Final = body

    def encoded(self) -> bytes:
        return self._body

    def pairs(self) -> list[tuple[str, str]]:
        raise Invalid("the encrypted body has no fields", path="encryption.body")

    def put(self, name: str, value: str) -> None:
        raise Invalid("the encrypted body has no fields", path="encryption.body")


class JsonFields:
    """A JSON object; values that came as Raw are written as they came."""

    __slots__ = ("_members",)

    def __init__(self, members: dict[str, Any]) -> None:
        self._members: Final = members

    @classmethod
    def of(cls, body: bytes) -> Document:
        """A JSON body; it has fields where it is an object."""
        return cls(dict(_decode(body))) if body.startswith(b"{") else Plain(body)

    def encoded(self) -> bytes:
        return _encode(self._members)

    def pairs(self) -> list[tuple[str, str]]:
        return [(name, _text(value)) for name, value in self._members.items()]

    def put(self, name: str, value: str) -> None:
        self._members[name] = value


def _text(value: Any) -> str:
    raw = bytes(memoryview(value)) if isinstance(value, msgspec.Raw) else _encode(value)
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()


class FormFields:
    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs: Final = dict(pairs)

    def encoded(self) -> bytes:
        return urlencode(self._pairs).encode("ascii")

    def pairs(self) -> list[tuple[str, str]]:
        return list(self._pairs.items())

    def put(self, name: str, value: str) -> None:
        self._pairs[name] = value


class XmlFields:
    """A root and its elements, each of them a text."""

    __slots__ = ("_cdata", "_elements", "_root")

    def __init__(self, root: str, elements: list[tuple[str, str]], cdata: bool) -> None:
        self._root: Final = root
        self._elements: Final = dict(elements)
        self._cdata: Final = cdata
        for name, value in elements:
            if _NOT_XML.search(value):
                raise Unsendable(f"the element {name} would hold a character that XML cannot carry")

    def encoded(self) -> bytes:
        inner = "".join(f"<{name}>{self._written(value)}</{name}>" for name, value in self._elements.items())
        return f"<{self._root}>{inner}</{self._root}>".encode()

    def pairs(self) -> list[tuple[str, str]]:
        return list(self._elements.items())

    def put(self, name: str, value: str) -> None:
        self._elements[name] = value

    def _written(self, value: str) -> str:
        if self._cdata:
            return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"
        return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
