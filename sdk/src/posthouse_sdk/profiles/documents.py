"""Bodies as they were received: their fields as the sender signs them, and their values.

Sources: RFC 8259; XML 1.0, without document types (with them come entities that grow, or reach outside); the form encoding of
the WHATWG URL standard. How JSON becomes XML is the server's mapping (guide "Formats"): what it tells of types is read back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus
from xml.parsers import expat

FIELDS_MAX: Final = 1_000
XML_DEPTH_MAX: Final = 64
XML_ELEMENTS_MAX: Final = 50_000

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECLARED: Final = re.compile(rb"""\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:\-]{1,40})["']""")
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:\-]{1,40})""", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"_x([0-9A-F]{6}|[0-9A-F]{4})_")
_CHARSETS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030",
    "big5": "big5", "iso-8859-1": "iso8859-1", "iso-8859-15": "iso8859-15", "windows-1251": "cp1251",
    "windows-1252": "cp1252",
}  # fmt: skip


class Unreadable(Exception):
    """The body is not what it should be; the text says so."""


class Ambiguous(Unreadable):
    """A name is there twice: whoever signed it and whoever reads it might not mean the same one."""


class Member(NamedTuple):
    """A member of a JSON object: its name, and both as they are written."""

    name: str
    name_text: str
    text: str


def _no_constant(constant: str) -> Any:
    raise ValueError(constant)


_decode: Final = json.JSONDecoder(parse_constant=_no_constant).raw_decode


def json_of(body: bytes) -> Any:
    """Raises: Unreadable."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None


def text_of(body: bytes, charset: str = "utf-8") -> str:
    """Raises: Unreadable."""
    try:
        return body.decode(charset)
    except (UnicodeDecodeError, LookupError):
        raise Unreadable(f"the body is not {charset}") from None


def members(text: str) -> list[Member]:
    """The members of a JSON object, in order. Raises: Unreadable where it is none."""
    found: list[Member] = []
    try:
        place = _after(text, 0, "{")
        while not text.startswith("}", place):
            if found:
                place = _after(text, place, ",")
            start = place
            name, place = _decode(text, start)
            if not isinstance(name, str):
                raise ValueError
            name_text = text[start:place]
            start = _after(text, _SPACE.match(text, place).end(), ":")  # type: ignore[union-attr]
            _, place = _decode(text, start)
            found.append(Member(name, name_text, text[start:place]))
            place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
        if text[place + 1 :].strip(" \t\n\r"):
            raise ValueError
    except (ValueError, RecursionError):
        raise Unreadable("the body is no JSON object") from None
    return found


def _items(text: str) -> list[str]:
    found: list[str] = []
    place = _after(text, 0, "[")
    while not text.startswith("]", place):
        if found:
            place = _after(text, place, ",")
        _, end = _decode(text, place)
        found.append(text[place:end])
        place = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    return found


def _after(text: str, place: int, mark: str) -> int:
    """The place of what follows a mark. Raises: ValueError where it is not there."""
    place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
    if not text.startswith(mark, place):
        raise ValueError
    return _SPACE.match(text, place + 1).end()  # type: ignore[union-attr]


def json_fields(text: str) -> list[tuple[str, str]]:
    """The top-level fields as texts, all that is no text as it is written. Raises: Unreadable."""
    return [
        (member.name, json.loads(member.text) if member.text.startswith('"') else member.text)
        for member in members(text)
    ]


def the_one(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """The field of this name; None for nothing. Raises: Ambiguous where there are two."""
    found = [text for each, text in fields if each == name]
    if len(found) > 1:
        raise Ambiguous(f"{name[:64]} is there twice")
    return found[0] if found else None


def check_single(fields: Iterable[tuple[str, str]]) -> None:
    """Raises: Ambiguous where two fields have the same name."""
    seen: set[str] = set()
    for name, _ in fields:
        if name in seen:
            raise Ambiguous(f"{name[:64]} is there twice")
        seen.add(name)


def field_at(fields: Iterable[tuple[str, str]], steps: Sequence[str]) -> str | None:
    """What the steps of a pointer lead to, from top-level fields on, as text; None for nothing. Raises: Ambiguous."""
    top, *rest = steps
    text = the_one(fields, top)
    if not rest:
        return text
    try:
        for step in rest:
            if text is None:
                return None
            if text.lstrip().startswith("["):
                text = dict(enumerate(_items(text)))[int(step)]
            else:
                text = the_one([(member.name, member.text) for member in members(text)], step)
    except Ambiguous:
        raise
    except (Unreadable, LookupError, ValueError, RecursionError):
        return None
    if text is None:
        return None
    if text.startswith('"'):
        told: str = json.loads(text)
        return told
    return "" if text == "null" else text


def json_without(text: str, name: str) -> bytes:
    """The object as it was before a field was put at its end. Raises: Unreadable."""
    kept = [f"{member.name_text}:{member.text}" for member in members(text) if member.name != name]
    return f"{{{','.join(kept)}}}".encode()


def form_of(text: str, charset: str) -> list[tuple[str, str]]:
    """Names and values of a form or a query. Raises: Unreadable."""
    try:
        return parse_qsl(text, keep_blank_values=True, encoding=charset, max_num_fields=FIELDS_MAX)
    except (ValueError, LookupError):
        raise Unreadable(f"there are more than {FIELDS_MAX} fields") from None


def form_without(text: str, name: str, charset: str) -> str:
    """A form or a query without one of its names, else as it was written."""
    kept = [
        pair
        for pair in text.split("&")
        if unquote_plus(pair.partition("=")[0], encoding=charset, errors="replace") != name
    ]
    return "&".join(kept)


class Element:
    """An element of XML: its name without a prefix, the text that stands in it, and what is inside."""

    __slots__ = ("attributes", "inside", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name: Final = _local(name)
        self.attributes: Final = {
            _local(each): value for each, value in attributes.items() if each.partition(":")[0] != "xmlns"
        }
        self.text = ""
        self.inside: Final[list[Element]] = []

    def at(self, steps: Sequence[str]) -> Any:
        """The value of what is inside, by names; `@name` is an attribute. None for nothing."""
        here = self
        for step in steps:
            if step.startswith("@"):
                return here.attributes.get(step[1:])
            found = next((each for each in here.inside if each.name == step), None)
            if found is None:
                return None
            here = found
        return here.value()

    def value(self) -> Any:
        """The JSON that it was made of; of any other XML what the mapping makes of it."""
        hint = self.attributes.get("type")
        match hint:
            case "number" | "boolean" | "json":
                try:
                    return json.loads(self.text, parse_constant=_no_constant)
                except (ValueError, RecursionError):
                    return self.text
            case "null":
                return None
            case "array":
                return [each.value() for each in self.inside]
        found: dict[str, Any] = {name: value for name, value in self.attributes.items() if name not in ("type", "list")}
        if not (found or self.inside or hint == "object"):
            return self.text
        lists: dict[str, list[Element]] = {}
        for each in self.inside:
            lists.setdefault(each.name, []).append(each)
        for name, elements in lists.items():
            alone = len(elements) == 1 and elements[0].attributes.get("list") != "true"
            found[name] = elements[0].value() if alone else [each.value() for each in elements]
        return found


def xml_of(body: bytes, content_type: str) -> Element:
    """The root. Raises: Unreadable, also for a document type and for what is too deep or too large."""
    named = _DECLARED.match(body, 0, 400)
    told = named[1].decode("ascii") if named else ""
    if not told and (found := _CHARSET.search(content_type[:1_000])):
        told = found[1]
    text = text_of(body.removeprefix(b"\xef\xbb\xbf"), _CHARSETS.get(told.lower() or "utf-8", "utf-8"))
    builder = _Builder()
    parser = expat.ParserCreate("utf-8")  # whatever is declared: it is text by now
    parser.buffer_text = True
    parser.buffer_size = 256 * 1024
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(text.encode(), True)
    except (expat.ExpatError, ValueError, UnicodeEncodeError):
        raise Unreadable("the body is not XML") from None
    assert builder.root is not None, "expat took it for a whole document"
    return builder.root


def xml_fields(root: Element) -> list[tuple[str, str]]:
    """The root's own elements as texts; objects and arrays, of which elements of one name are one, as JSON."""
    whole = root.value()
    inside = whole if isinstance(whole, dict) else {}
    fields: list[tuple[str, str]] = []
    told: set[str] = set()
    for each in root.inside:
        inner = inside.get(each.name)
        if not isinstance(inner, dict | list):
            fields += [] if each.inside else [(each.name, each.text)]
        elif each.name not in told:
            told.add(each.name)
            fields.append((each.name, json.dumps(inner, ensure_ascii=False, separators=(",", ":"))))
    return fields


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._path: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._path) >= XML_DEPTH_MAX or self._count > XML_ELEMENTS_MAX:
            raise Unreadable("the XML is too deep, or has too many elements")
        element = Element(name, attributes)
        if self._path:
            self._path[-1].inside.append(element)
        else:
            self.root = element
        self._path.append(element)

    def end(self, name: str) -> None:
        self._path.pop()

    def text(self, data: str) -> None:
        if self._path:
            self._path[-1].text += data

    def doctype(self, *about: Any) -> None:
        raise Unreadable("XML with a document type (<!DOCTYPE …>) is not read")


def _local(name: str) -> str:
    plain = name.rpartition(":")[2]
    return "" if plain == "_x_" else _ESCAPE.sub(lambda found: chr(int(found[1], 16)), plain)
