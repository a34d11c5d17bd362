"""The shape of an encrypted body: where the ciphertext stands, and what stands beside it.

{"kind": "json", "template": {"encrypt": "{ciphertext}"}}
{"kind": "xml",  "root": "xml", "elements": {"ToUserName": "ww12", "Encrypt": "{ciphertext}"}}
{"kind": "form", "fields": {"biz_content": "{ciphertext}"}}
{"kind": "text", "template": "{iv}.{ciphertext}"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.encryption.templates import Template

TEMPLATE_DEPTH_MAX: Final = 8
TEMPLATE_NODES_MAX: Final = 128

# Of what XML allows, what needs no table of Unicode; `xml` itself is what WeChat calls its root.
_XML_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_NO_NAME: Final = "an element's name is a letter or _, then letters, digits, _, . and -, at most 128 of them"

Leaves = tuple[tuple[str, Template], ...]


@dataclass(frozen=True, slots=True)
class TextBody:
    kind: ClassVar = "text"
    template: Template
    content_type: str

    def leaves(self) -> Leaves:
        return (("body.template", self.template),)


@dataclass(frozen=True, slots=True)
class JsonBody:
    """`template` is JSON whose texts are Templates; so are no names of members."""

    kind: ClassVar = "json"
    template: Any
    content_type: str

    def leaves(self) -> Leaves:
        return tuple(_leaves(self.template, "body.template"))


@dataclass(frozen=True, slots=True)
class XmlBody:
    kind: ClassVar = "xml"
    root: str
    elements: tuple[tuple[str, Template], ...]
    cdata: bool
    content_type: str

    def leaves(self) -> Leaves:
        return tuple((f"body.elements.{name}", template) for name, template in self.elements)


@dataclass(frozen=True, slots=True)
class FormBody:
    kind: ClassVar = "form"
    fields: tuple[tuple[str, Template], ...]
    content_type: str = "application/x-www-form-urlencoded"

    def leaves(self) -> Leaves:
        return tuple((f"body.fields.{name}", template) for name, template in self.fields)


Body = TextBody | JsonBody | XmlBody | FormBody


def body_of(value: Mapping[str, Any], path: str) -> Body:
    """The shape that a configuration's `body` stands for. Raises: SettingError."""
    reader = Reader(value, path)
    kind = reader.one_of("kind", ("json", "xml", "form", "text"))
    body: Body
    match kind:
        case "json":
            template = _node(reader.any("template", None), reader.path("template"), _Budget(), 0)
            body = JsonBody(template, reader.text("content_type", "application/json"))
        case "xml":
            body = _xml(reader)
        case "form":
            body = FormBody(reader.templates("fields", required=True))
        case _:
            text = Template(reader.text("template", "{ciphertext}"), reader.path("template"))
            body = TextBody(text, reader.text("content_type", "application/octet-stream"))
    reader.check_all_read()
    return body


def _xml(reader: Reader) -> XmlBody:
    root = reader.text("root", "xml")
    if not _XML_NAME.fullmatch(root):
        raise SettingError(_NO_NAME, reader.path("root"))
    elements = reader.templates("elements", required=True)
    for name, _ in elements:
        if not _XML_NAME.fullmatch(name):
            raise SettingError(_NO_NAME, reader.path("elements"))
    return XmlBody(root, elements, reader.flag("cdata", True), reader.text("content_type", "text/xml; charset=utf-8"))


class _Budget:
    """How many nodes a template may still have."""

    def __init__(self) -> None:
        self._left = TEMPLATE_NODES_MAX

    def spend(self, path: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise SettingError(f"a template has at most {TEMPLATE_NODES_MAX} values", path)


def _node(value: Any, path: str, budget: _Budget, depth: int) -> Any:
    budget.spend(path)
    if depth > TEMPLATE_DEPTH_MAX:
        raise SettingError(f"a template is at most {TEMPLATE_DEPTH_MAX} levels deep", path)
    match value:
        case str():
            return Template(value, path)
        case Mapping():
            if not all(isinstance(name, str) for name in value):
                raise SettingError("the names of an object's members are texts", path)
            return {name: _node(each, f"{path}.{name}", budget, depth + 1) for name, each in value.items()}
        case list() | tuple():
            return [_node(each, f"{path}[{index}]", budget, depth + 1) for index, each in enumerate(value)]
        case None | bool() | int() | float():
            return value
        case _:
            raise SettingError("a template is JSON", path)


def _leaves(node: Any, path: str) -> list[tuple[str, Template]]:
    match node:
        case Template():
            return [(path, node)]
        case dict():
            return [leaf for name, each in node.items() for leaf in _leaves(each, f"{path}.{name}")]
        case list():
            return [leaf for index, each in enumerate(node) for leaf in _leaves(each, f"{path}[{index}]")]
        case _:
            return []
