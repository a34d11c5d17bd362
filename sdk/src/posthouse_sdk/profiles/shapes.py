"""Bodies written: an answer that is encrypted, in the shape that the sender opens (`encryption.shapes`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

from posthouse_sdk.encryption.shapes import Body, FormBody, JsonBody, TextBody, XmlBody
from posthouse_sdk.encryption.templates import Template

_IN_XML: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


def written(body: Body, values: Mapping[str, str]) -> bytes:
    """The body with its variables. Raises: KeyError for one without a value."""
    match body:
        case TextBody(template=template):
            return template.written(values).encode()
        case JsonBody(template=template):
            return json.dumps(_json(template, values), ensure_ascii=False, separators=(",", ":")).encode()
        case XmlBody(root=root, elements=elements, cdata=cdata):
            inside = "".join([_element(name, each.written(values), cdata) for name, each in elements])
            return f"<{root}>{inside}</{root}>".encode()
        case FormBody(fields=fields):
            pairs = [f"{quote_plus(name)}={quote_plus(each.written(values))}" for name, each in fields]
            return "&".join(pairs).encode()


def top_level(body: Body) -> dict[str, Template]:
    """The templates of its fields, by name."""
    match body:
        case JsonBody(template=dict() as template):
            return {name: each for name, each in template.items() if isinstance(each, Template)}
        case XmlBody(elements=fields) | FormBody(fields=fields):
            return dict(fields)
        case _:
            return {}


def _json(template: Any, values: Mapping[str, str]) -> Any:
    match template:
        case Template():
            return template.written(values)
        case dict():
            return {name: _json(each, values) for name, each in template.items()}
        case list():
            return [_json(each, values) for each in template]
        case _:
            return template


def _element(name: str, text: str, cdata: bool) -> str:
    inside = f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>" if cdata else text.translate(_IN_XML)
    return f"<{name}>{inside}</{name}>"
