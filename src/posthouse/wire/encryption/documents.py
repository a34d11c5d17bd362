"""The bodies that shapes make; signers may still add to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from posthouse.domain.formats import TextStyle, XmlFormat
from posthouse.wire.documents import Bytes, Form, JsonObject
from posthouse.wire.formats.xml import Style
from posthouse.wire.formats.xml_body import Xml
from posthouse.wire.message import Document
from posthouse_sdk.encryption.shapes import Body, FormBody, JsonBody, TextBody, XmlBody
from posthouse_sdk.encryption.templates import Template

_STYLES: Final = {
    cdata: Style(XmlFormat(text=TextStyle.CDATA if cdata else TextStyle.ESCAPED, types=False, declaration=False))
    for cdata in (True, False)
}


def document(body: Body, values: Mapping[str, str]) -> Document:
    """The body of a shape, with its variables.

    Raises: KeyError for a variable without a value, Unsendable for a value that the shape cannot hold.
    """
    match body:
        case TextBody(template=template):
            return Bytes(template.written(values).encode())
        case JsonBody(template=template):
            value = written(template, values)
            return JsonObject(value) if isinstance(value, dict) else Bytes(msgspec.json.encode(value))
        case XmlBody(root=root, elements=elements, cdata=cdata):
            xml = Xml(_STYLES[cdata], root)
            xml.fill({name: each.written(values) for name, each in elements})
            return xml
        case FormBody(fields=fields):
            return Form([(name, each.written(values)) for name, each in fields])


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
