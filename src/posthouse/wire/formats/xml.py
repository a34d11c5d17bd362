"""JSON as XML 1.0, and back.

| JSON | XML |
|---|---|
| `{"a": "text"}` | `<a>text</a>` |
| `{"a": 1.50}`, `true` | `<a type="number">1.50</a>` (as it is written), `<a type="boolean">true</a>` |
| `{"a": null}` | `<a type="null"/>` |
| `{"a": ""}`, `{"a": {}}` | `<a></a>`, `<a type="object"/>` |
| `{"a": {"b": "x"}}` | `<a><b>x</b></a>`, where `b` is one of the attributes `<a b="x"/>` |
| `{"a": ["x", "y"]}`, repeated | `<a>x</a><a>y</a>` |
| `{"a": ["x"]}`, repeated | `<a list="true">x</a>` |
| `{"a": []}` | `<a type="array"/>` |
| `{"a": ["x"]}`, wrapped | `<a type="array"><item>x</item></a>` |
| an array in an array, the whole being one | wrapped, in both ways of writing arrays |
| a text that holds what XML cannot (U+0001) | `<a type="json">"\\u0001"</a>` |

Names that an element cannot have are escaped as in SQL/XML (ISO/IEC 9075-14): `_x0020_` is a space, six digits are for
characters beyond U+FFFF, `_x_` is the empty name; a `_` that would begin such an escape is one itself. Names are kept to
letters of which the editions of XML do not differ.

Without `types` there are no attributes `type` and `list`: `null` is an empty element, an empty object or array is one or none,
and there is no way back. A text that XML cannot hold cannot be sent then.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.formats import Arrays, TextStyle, XmlFormat
from posthouse.domain.limits import MADE_BODY_BYTES_MAX
from posthouse.wire.documents import too_large
from posthouse.wire.formats.shape import Number, encodable
from posthouse.wire.message import Unsendable

if TYPE_CHECKING:
    from lxml.etree import _Element

_LETTERS: Final = "A-Za-z_À-ÖØ-öø-ÿА-яぁ-ゔァ-ヺ一-龥가-힣"
_NAME: Final = re.compile(rf"[{_LETTERS}][{_LETTERS}0-9.\-]*")
_NOT_FIRST: Final = re.compile(rf"[^{_LETTERS}]")
_NOT_LATER: Final = re.compile(rf"[^{_LETTERS}0-9.\-]")
_LIKE_ESCAPE: Final = re.compile(r"x[0-9A-F]{4}")
_ESCAPE: Final = re.compile(r"_x([0-9A-F]{6}|[0-9A-F]{4})_")
_EMPTY: Final = "_x_"
_RESERVED: Final = frozenset({"xmlns", _EMPTY})

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IN_TEXT: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_IN_ATTRIBUTE: Final = str.maketrans(_IN_TEXT | {'"': "&quot;", "\t": "&#9;", "\n": "&#10;"})
_TEXT: Final = str.maketrans(_IN_TEXT)
_TAG: Final = re.compile(r"<[^\s/>]+")
_HINTS: Final = ("type", "list")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Fragment(str):
    """Markup: one element with all that is in it, in any namespace."""

    __slots__ = ()


class Style:
    """How values are written; the compiled options of an `XmlFormat`."""

    __slots__ = ("attributes", "cdata", "charset", "declaration", "item", "types", "wrap")

    def __init__(self, config: XmlFormat) -> None:
        self.attributes: Final = frozenset(config.attributes)
        self.cdata: Final = config.text is TextStyle.CDATA
        self.charset: Final = str(config.charset)
        self.item: Final = config.item
        self.types: Final = config.types
        self.wrap: Final = config.arrays is Arrays.WRAP
        self.declaration: Final = (
            f'<?xml version="1.0" encoding="{self.charset.upper()}"?>' if config.declaration else ""
        )

    def encoded(self, markup: str) -> bytes:
        """Characters that the charset lacks are references; names and CDATA hold none of them by now."""
        return markup.encode(self.charset, "xmlcharrefreplace")


class Writer:
    """Writes values as markup, at most MADE_BODY_BYTES_MAX characters of it: beyond, it raises Unsendable."""

    __slots__ = ("_out", "_room", "_style", "_types")

    def __init__(self, style: Style) -> None:
        self._style: Final = style
        self._types: Final = style.types
        self._out: list[str] = []
        self._room = MADE_BODY_BYTES_MAX

    def take(self) -> str:
        """What was written since the last time."""
        markup = "".join(self._out)
        self._out.clear()
        return markup

    def field(self, name: str, value: Any) -> None:
        """A field of an object: an element, or several."""
        tag = escaped_name(name, self._style.charset)
        if not isinstance(value, list) or self._style.wrap or (not value and self._types):
            self.element(tag, value)
        elif len(value) == 1 and self._types:
            self.element(tag, value[0], ' list="true"')
        else:
            for each in value:
                self.element(tag, each)

    def element(self, tag: str, value: Any, start: str = "") -> None:
        """A value as an element; `start` are attributes that it has besides. An array is wrapped."""
        match value:
            case Fragment():
                self._write(tag, start, value)
            case Number():
                self._write(tag, self._hinted(start, "number"), value)
            case str():
                self._text(tag, start, value)
            case bool():
                self._write(tag, self._hinted(start, "boolean"), "true" if value else "false")
            case None:
                self._write(tag, self._hinted(start, "null"), "")
            case dict():
                attributes, inside = self.split(value)
                if not inside and not attributes:
                    start = self._hinted(start, "object")
                self._add(f"<{tag}{start}{attributes}>")
                for name, each in inside.items():
                    self.field(name, each)
                self._add(f"</{tag}>")
            case list():
                self._add(f"<{tag}{self._hinted(start, 'array')}>")
                for each in value:
                    self.element(self._style.item, each)
                self._add(f"</{tag}>")
            case _:
                raise TypeError(type(value))

    def split(self, value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The attributes of an object's element, as markup, and the fields that are inside it."""
        if not self._style.attributes:
            return "", value
        attributes: list[str] = []
        inside: dict[str, Any] = {}
        for name, each in value.items():
            text = self._attribute(each) if name in self._style.attributes else None
            if text is None:
                inside[name] = each
            else:
                attributes.append(f' {escaped_name(name, self._style.charset)}="{text.translate(_IN_ATTRIBUTE)}"')
        return "".join(attributes), inside

    def _attribute(self, value: Any) -> str | None:
        if isinstance(value, (dict, list, Fragment)) or (self._types and type(value) is not str):
            return None  # an attribute would not tell its type
        text = plain(value)
        return None if _FORBIDDEN.search(text) else text

    def _text(self, tag: str, start: str, text: str) -> None:
        if self._types and _FORBIDDEN.search(text):
            self._write(tag, self._hinted(start, "json"), json.dumps(text).translate(_TEXT))
        elif self._style.cdata:
            self._write(tag, start, cdata(text, self._style.charset))
        else:
            self._write(tag, start, escaped_text(text))

    def _hinted(self, start: str, type: str) -> str:
        return f'{start} type="{type}"' if self._types else start

    def _write(self, tag: str, start: str, inside: str) -> None:
        self._add(f"<{tag}{start}>{inside}</{tag}>" if inside else f"<{tag}{start}/>")

    def _add(self, markup: str) -> None:
        self._room -= len(markup)
        if self._room < 0:
            raise too_large()
        self._out.append(markup)


def escaped_text(text: str) -> str:
    """A text as it is written into an element. Raises Unsendable for what XML cannot hold."""
    _check_characters(text)
    return text.translate(_TEXT)


def _check_characters(text: str) -> None:
    if (found := _FORBIDDEN.search(text)) is not None:
        raise Unsendable(f"a text holds U+{ord(found[0]):04X}, which XML cannot hold")


def cdata(text: str, charset: str) -> str:
    """A text in CDATA sections, with what cannot be in one (`]]>`, carriage returns, what the charset lacks) between them.

    Raises Unsendable for what XML cannot hold.
    """
    _check_characters(text)
    text = text.replace("]]>", "]]]]><![CDATA[>").replace("\r", "]]>&#13;<![CDATA[")
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        text = "".join([each if _has(charset, each) else f"]]>&#{ord(each)};<![CDATA[" for each in text])
    return f"<![CDATA[{text}]]>"


def escaped_name(name: str, charset: str = "utf-8") -> str:
    """The name of an element for any text; `name_of` is the way back."""
    if (
        _NAME.fullmatch(name)
        and "_x" not in name
        and name not in _RESERVED
        and (charset == "utf-8" or _has(charset, name))
    ):
        return name
    if not name:
        return _EMPTY
    return "".join([_escaped(name, place, charset) for place in range(len(name))])


def _escaped(name: str, place: int, charset: str) -> str:
    character = name[place]
    allowed = (_NOT_LATER if place else _NOT_FIRST).match(character) is None and _has(charset, character)
    if character == "_" and ((name == _EMPTY and not place) or _LIKE_ESCAPE.match(name, place + 1)):
        allowed = False
    if allowed and (place or name not in _RESERVED):
        return character
    number = ord(character)
    return f"_x{number:04X}_" if number <= 0xFFFF else f"_x{number:06X}_"


def name_of(escaped: str) -> str:
    """The text that `escaped_name` made this of."""
    return "" if escaped == _EMPTY else _ESCAPE.sub(lambda found: chr(int(found[1], 16)), escaped)


def _has(charset: str, text: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def plain(value: Any) -> str:
    """A value as text: what a field of a form or of a document is."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return msgspec.json.encode(encodable(value)).decode()


def json_of(body: bytes) -> bytes:
    """The JSON that XML in this mapping was made of; of any other XML what the mapping makes of it (namespaces, comments and
    text beside elements are left out).

    Raises: Invalid for what is no XML, or has a document type: entities and the network are never looked at.
    """
    return msgspec.json.encode(encodable(_value(parse(body))))


def parse(body: bytes, *, charset: str | None = None) -> _Element:
    """The root of an XML document, without a document type. Raises: Invalid."""
    from lxml import etree  # takes 10 ms, and few need it

    if b"<!DOCTYPE" in body:
        raise Invalid("XML with a document type (<!DOCTYPE …>) is not read")
    try:
        parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
            encoding=charset,
        )
        root = etree.fromstring(body, parser)
    except LookupError:
        raise Invalid("the charset is not known") from None
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Invalid(f"this is not well-formed XML: {str(error)[:200]}") from None
    if root.getroottree().docinfo.doctype:
        raise Invalid("XML with a document type (<!DOCTYPE …>) is not read")
    return root


def markup_of(root: _Element, charset: str, *, inside_namespace: bool) -> Fragment:
    """An element and all that is in it as markup, to be put where there is a default namespace or is none: it means the same.

    Raises Unsendable where a name cannot be written in the charset.
    """
    from lxml import etree

    markup = etree.tostring(root, encoding="unicode", with_tail=False)
    if not _has(charset, markup):
        for element in root.iter("*"):
            names = (element.tag, *element.attrib, *(prefix or "" for prefix in element.nsmap))
            if not all(_has(charset, str(name)) for name in names):
                raise Unsendable(f"the payload has a name that cannot be written in {charset}")
    if inside_namespace and None not in root.nsmap:
        markup = _TAG.sub(lambda found: f'{found[0]} xmlns=""', markup, count=1)
    return Fragment(markup)


def _value(element: _Element) -> Any:
    hint, inside = element.get("type"), list(element.iterchildren("*"))
    text = "".join([element.text or "", *(each.tail or "" for each in element)])
    match hint:
        case "number" if _NUMBER.fullmatch(text):
            return Number(text)
        case "boolean":
            return text == "true"
        case "null":
            return None
        case "json":
            return _from_json(text)
        case "array":
            return [_value(each) for each in inside]
    members: dict[str, Any] = {_key(name): value for name, value in element.attrib.items() if name not in _HINTS}
    if not (members or inside or hint == "object"):
        return text
    lists: dict[str, list[Any]] = {}
    for each in inside:
        lists.setdefault(_key(str(each.tag)), []).append(each)
    for name, elements in lists.items():
        alone = len(elements) == 1 and elements[0].get("list") != "true"
        members[name] = _value(elements[0]) if alone else [_value(each) for each in elements]
    return members


def _key(name: str) -> str:
    return name_of(name.rpartition("}")[2])


def _from_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.DecodeError:
        return text
