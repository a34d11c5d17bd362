"""How an event is written into a request, as configuration: what `wire/formats` makes requests with.

`format` of an endpoint is a plain name (`"xml"`), which stands for the options of that kind that nobody set, or an object:
`{"kind": "xml", "root": "order"}`. Texts with `{names}` in them are templates (`wire/template.py`); which names there are is
said there, and an unknown one is refused where they are compiled.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NoReturn, cast

import msgspec

from posthouse.domain.configuration import Configuration, read
from posthouse.domain.errors import Invalid

Body = dict[str, Any] | str
"""The fields of a body, in order: templates, numbers, booleans, null, objects and arrays of these.

A field that is `{data}` and nothing else is the event's payload, as the value that it is; `{data:json}` is its JSON as one
text, and `{data:urlencoded}` that text percent-encoded. `"*": "{data}"` puts the fields of
the payload here, but for those that are named beside it; and a whole body `{data}` is the payload alone. A field that is
`{timestamp:number}`, or so of another time in seconds or milliseconds, is a number and not a text. `{data:text}` and
`{data:markdown}` in a text are the payload as people read it.
"""


class Method(StrEnum):
    """The request's method. GET has no body: what a form would hold goes into the query."""

    POST = "POST"
    GET = "GET"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


class Compression(StrEnum):
    """What a body is compressed with, where it is large enough to gain by it."""

    GZIP = "gzip"


class Charset(StrEnum):
    """What a body may be written in: charsets that contain ASCII and whose codec gives back what it was given.

    What a charset cannot write is `&#128512;`, in XML and in forms.
    """

    UTF_8 = "utf-8"
    GBK = "gbk"
    GB2312 = "gb2312"
    GB18030 = "gb18030"
    BIG5 = "big5"
    ISO_8859_1 = "iso-8859-1"
    ISO_8859_15 = "iso-8859-15"
    WINDOWS_1251 = "windows-1251"
    WINDOWS_1252 = "windows-1252"
    US_ASCII = "us-ascii"


class TimeText(Configuration, frozen=True):
    """How `{time}` and `{event.time}` are written: `rfc3339`, `seconds`, `milliseconds`, or a pattern: `%Y-%m-%d %H:%M:%S`."""

    form: str = "rfc3339"
    zone: str = "UTC"


class _Format(Configuration, frozen=True, tag_field="kind"):
    """`time` is for the default body and for templates; `content_type` replaces what the kind would say of its body."""

    time: TimeText = TimeText()
    content_type: str | None = None


class JsonFormat(_Format, frozen=True, tag="json"):
    """JSON: `{"type", "timestamp", "data"}`, or `body`. `thin`: `{"id", "type"}`, for those who ask for the rest."""

    thin: bool = False
    body: Body | None = None


class RawFormat(_Format, frozen=True, tag="raw"):
    """The payload as it was published, under its own content type."""


class TextStyle(StrEnum):
    """How a text is written in XML."""

    ESCAPED = "escaped"  # &lt;
    CDATA = "cdata"  # <![CDATA[<]]>


class Arrays(StrEnum):
    """How an array is written in XML."""

    REPEAT = "repeat"  # one element after the other, each with the name of the array
    WRAP = "wrap"  # one element with the name of the array, and in it one for each item


class XmlFormat(_Format, frozen=True, tag="xml"):
    """XML 1.0. The mapping of JSON to XML, and back, is told in `wire/formats/xml.py`.

    Fields named in `attributes` become attributes of the element they are fields of, where they can. `types` writes what XML
    does not tell (numbers, arrays of one, …) into attributes `type` and `list`; without it there is no way back.
    `root_attributes` are written as they are, namespaces (`xmlns`, `xmlns:a`) too.
    """

    thin: bool = False
    body: Body | None = None
    root: str = "event"
    root_attributes: dict[str, str] = msgspec.field(default_factory=dict)
    batch_root: str = "events"
    text: TextStyle = TextStyle.ESCAPED
    attributes: tuple[str, ...] = ()
    arrays: Arrays = Arrays.REPEAT
    item: str = "item"  # of what has no name of its own: an array in an array, or a wrapped one
    types: bool = True
    charset: Charset = Charset.UTF_8
    declaration: bool = True


class FormNesting(StrEnum):
    """How objects and arrays become fields of a form."""

    BRACKETS = "brackets"  # data[items][0][sku]
    DOTS = "dots"  # data.items.0.sku
    JSON = "json"  # data, as JSON


class FormFormat(_Format, frozen=True, tag="form"):
    """`application/x-www-form-urlencoded`; under GET the same pairs in the query. Objects and arrays that are empty have no
    field, null is an empty text. Without `blank` fields that would be empty are left out."""

    thin: bool = False
    body: Body | None = None
    nesting: FormNesting = FormNesting.BRACKETS
    blank: bool = True
    charset: Charset = Charset.UTF_8


class CloudEventsMode(StrEnum):
    STRUCTURED = "structured"  # JSON; several at once are batched
    BINARY = "binary"  # attributes in headers, the payload as it is
    BATCHED = "batched"  # JSON, an array even of one
    XML = "xml"


class CloudEventsFormat(_Format, frozen=True, tag="cloudevents"):
    """CloudEvents 1.0. `thin`: all attributes, no data."""

    thin: bool = False
    mode: CloudEventsMode = CloudEventsMode.STRUCTURED
    source: str = "posthouse"


AnyFormat = JsonFormat | RawFormat | XmlFormat | FormFormat | CloudEventsFormat

KINDS: Final[dict[str, type[AnyFormat]]] = {
    "json": JsonFormat,
    "raw": RawFormat,
    "xml": XmlFormat,
    "form": FormFormat,
    "cloudevents": CloudEventsFormat,
}


def format_of(value: object) -> AnyFormat:
    """The format that a user wrote: a name, or an object with `kind` and options.

    Raises: Invalid with the path of what is wrong, from `format` on.
    """
    if isinstance(value, str):
        kind = KINDS.get(value)
        if kind is None:
            _unknown("format")
        return kind()
    if isinstance(value, dict) and value.get("kind") not in list(KINDS):  # it may be anything
        _unknown("format.kind")
    return cast("AnyFormat", read(value, AnyFormat, "format"))


def _unknown(path: str) -> NoReturn:
    raise Invalid(f"the format is one of {', '.join(KINDS)}", path=path)
