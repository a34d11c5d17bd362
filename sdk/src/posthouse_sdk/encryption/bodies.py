"""What stands in a body that was received, found by the shape that it was written with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.parsers import expat

from posthouse_sdk.encryption.errors import UnopenedError
from posthouse_sdk.encryption.shapes import Body, FormBody, JsonBody, TextBody, XmlBody
from posthouse_sdk.encryption.templates import Template

Values = dict[str, str]

FORM_FIELDS_MAX: Final = 1_000


def values_in(raw: bytes, body: Body) -> Values:
    """What is sealed in a body of this shape. Raises: UnopenedError where it has another shape."""
    match body:
        case JsonBody(template=template):
            return values_of(parsed(raw), template)
        case TextBody(template=text):
            return _read([(text, _decoded(raw))])
        case XmlBody(root=root, elements=elements):
            return _named(elements, _elements(raw, root))
        case FormBody(fields=fields):
            try:
                found = dict(parse_qsl(_decoded(raw), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
            except ValueError:
                raise UnopenedError from None
            return _named(fields, found)


def values_of(value: Any, template: Any) -> Values:
    """What is sealed in a parsed JSON value. Raises: UnopenedError."""
    return _read(_pairs(value, template))


def values_in_headers(headers: Mapping[str, str], templates: tuple[tuple[str, Template], ...]) -> Values:
    """The same of headers; their names are lower-case."""
    return _named(tuple((name.lower(), template) for name, template in templates), headers)


def parsed(raw: bytes) -> Any:
    """Raises: UnopenedError for what is not JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise UnopenedError from None


def _pairs(value: Any, template: Any) -> Iterator[tuple[Template, str]]:
    match template:
        case Template():
            if template.reader() is not None:
                if not isinstance(value, str):
                    raise UnopenedError
                yield template, value
        case dict():
            for name, inner in template.items():
                yield from _pairs(value.get(name) if isinstance(value, dict) else None, inner)
        case list():
            for index, inner in enumerate(template):
                there = isinstance(value, list) and index < len(value)
                yield from _pairs(value[index] if there else None, inner)


def _named(templates: tuple[tuple[str, Template], ...], found: Mapping[str, str]) -> Values:
    return _read((template, found.get(name, "")) for name, template in templates)


def _read(pairs: Any) -> Values:
    values: Values = {}
    for template, text in pairs:
        reader = template.reader()
        if reader is None:
            continue
        match = reader.fullmatch(text)
        if match is None:
            raise UnopenedError
        values |= match.groupdict()
    return values


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnopenedError from None


class _Refused(Exception):
    pass


def _elements(raw: bytes, root: str) -> dict[str, str]:
    """The texts of the root's own elements. A document type is refused: with it come entities that grow, or reach outside."""
    found: dict[str, str] = {}
    path: list[str] = []

    def start(name: str, attributes: Any) -> None:
        if not path and name != root:
            raise _Refused
        path.append(name)
        if len(path) == 2:
            if name in found:
                raise _Refused
            found[name] = ""

    def end(name: str) -> None:
        path.pop()

    def text(data: str) -> None:
        if len(path) == 2:
            found[path[1]] += data

    def doctype(*about: Any) -> None:
        raise _Refused

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, _Refused, LookupError, ValueError):
        raise UnopenedError from None
    return found
