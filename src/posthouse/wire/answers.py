"""What expressions see of a target's answer, `response`, from whatever bytes the target sent.

| | |
|---|---|
| `status` | `200` |
| `headers` | `{"content-type": "text/xml"}`: names in lower case; of several with one name the values, joined by `, ` |
| `text` | the body as text, in its charset |
| `body` | the body's JSON, else null. Whole numbers beyond 64 bits are floating-point numbers |
| `xml` | the body's XML, else null: `<r a="1">x<b>y</b><b/></r>` is `{"r": {"@a": "1", "b": ["y", ""], "#text": "x"}}` |

XML: an element without attributes and elements in it is its text, without the white space around it. Several elements of one
name are a list. Names are without their prefixes, and declarations of namespaces are left out.

Nothing here raises, whatever the bytes are, and all of it is bounded: what cannot be read is null, and `unreadable` says why.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from posthouse.domain.exchange import Answer
from posthouse.domain.json_text import decoded
from posthouse.domain.limits import ANSWER_VALUES_MAX, JSON_DEPTH_MAX, RESPONSE_READ_BYTES_MAX
from posthouse.wire.charsets import text_of

PARTS: Final = frozenset({"status", "headers", "text", "body", "xml"})

_OF_BODY: Final = ("text", "body", "xml")
_LONG_NUMBER: Final = re.compile(r"[0-9]{19}")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"the body is nested deeper than {JSON_DEPTH_MAX} levels"
_TOO_MANY: Final = f"the body has more than {ANSWER_VALUES_MAX} values"
_CUT: Final = f"only the first {RESPONSE_READ_BYTES_MAX} bytes of the body are read"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The parts that were asked for; the others are null. `unreadable` says why one could not be read, or not quite: in words
    without anything of the answer."""

    facts: dict[str, Any]
    unreadable: dict[str, str]


class _Unreadable(Exception):
    pass


def facts_of(answer: Answer, parts: Collection[str] = PARTS) -> dict[str, Any]:
    """`response`, as far as these parts of it. Never raises."""
    return read_answer(answer, parts).facts


def read_answer(answer: Answer, parts: Collection[str] = PARTS) -> Reading:
    """These parts of an answer. What is not asked for costs nothing. Never raises."""
    facts: dict[str, Any] = {"status": answer.status, "headers": None, "text": None, "body": None, "xml": None}
    unreadable: dict[str, str] = {}
    if "headers" in parts:
        facts["headers"] = headers_of(answer)
    if not any(part in parts for part in _OF_BODY):
        return Reading(facts, unreadable)
    text, whole, remark = _text(answer)
    if "text" in parts:
        facts["text"] = text
        if remark or not whole:
            unreadable["text"] = remark or _CUT
    for part, read in (("body", _json), ("xml", _xml)):
        if part not in parts:
            continue
        try:
            if not whole:
                raise _Unreadable(_CUT)
            facts[part] = read(text)
        except _Unreadable as reason:
            unreadable[part] = str(reason)
    return Reading(facts, unreadable)


def values_at_most(answer: Answer) -> int:
    """An answer's body has no more values than this, as JSON and as XML: so much is known without reading it."""
    body = answer.body[:RESPONSE_READ_BYTES_MAX]
    # Each value of JSON but the first comes after one of these; each element of XML begins with one, each attribute has one,
    # and every list has two elements.
    json_values = body.count(b"[") + body.count(b"{") + body.count(b",")
    tags = body.count(b"<")
    return 1 + max(json_values, tags + tags // 2 + body.count(b"="))


def headers_of(answer: Answer) -> dict[str, str]:
    """The headers by name."""
    headers: dict[str, str] = {}
    for name, value in answer.headers:
        key, text = name.decode("latin-1").lower(), header_text(value)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def header_text(value: bytes) -> str:
    """The value of a header: UTF-8 where it is that, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def body_text(answer: Answer) -> tuple[str, bool]:
    """The body as text, and whether that is all of it."""
    text, whole, _ = _text(answer)
    return text, whole


def _text(answer: Answer) -> tuple[str, bool, str]:
    body = answer.body[:RESPONSE_READ_BYTES_MAX]
    whole = not answer.truncated and len(body) == len(answer.body)
    content_type = (answer.header(b"content-type") or b"").decode("latin-1")
    text, remark = text_of(body, content_type, whole=whole)
    return text, whole, remark


# JSON


def _json(text: str) -> Any:
    if not text or text.isspace():
        raise _Unreadable("the body is empty")
    try:
        value = _decoded(text)
    except RecursionError:
        raise _Unreadable(_TOO_DEEP) from None
    except (msgspec.MsgspecError, ValueError):
        raise _Unreadable("the body is not JSON") from None
    # Each value but the first comes after one of these: nearly always that is all there is to look at.
    nested = text.count("[") + text.count("{")
    if nested <= JSON_DEPTH_MAX and nested + text.count(",") < ANSWER_VALUES_MAX and not _LONG_NUMBER.search(text):
        return value
    return _checked([value])[0]


def _decoded(text: str) -> Any:
    try:
        return decoded(text)
    except msgspec.DecodeError:
        if _SURROGATE_ESCAPE.search(text) is None:
            raise
    # Half a character, which someone cut off: no text has that, but the rest can be read.
    return _mended(json.loads(text, parse_constant=_refused, parse_float=_finite))


def _mended(value: Any) -> Any:
    """With U+FFFD for each half of a character. As deep as what decoded it went."""
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case list():
            return [_mended(each) for each in value]
        case dict():
            return {_mended(name): _mended(each) for name, each in value.items()}
        case _:
            return value


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("out of range")
    return number


def _checked(values: list[Any]) -> list[Any]:
    """The values, within limits. Raises _Unreadable."""
    count = 0
    waiting: list[tuple[Any, int]] = [(values, 0)]
    while waiting:
        container, depth = waiting.pop()
        if depth > JSON_DEPTH_MAX:
            raise _Unreadable(_TOO_DEEP)
        count += len(container)
        if count > ANSWER_VALUES_MAX:
            raise _Unreadable(_TOO_MANY)
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, (dict, list)):
                waiting.append((value, depth + 1))
            elif type(value) is int and not -(2**63) <= value < 2**63:
                container[key] = _as_float(value)
    return values


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        raise _Unreadable("the body has a number that is too large") from None


# XML


def _xml(text: str) -> dict[str, Any]:
    text = text.strip()
    if not text.startswith("<"):
        raise _Unreadable("the body is not XML" if text else "the body is empty")
    from xml.parsers import expat  # few need it

    tree = _Tree()
    # What the declaration says of the charset does not count: this is text already.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = _refuse_doctype  # before any entity is declared
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise _Unreadable(f"the body is not well-formed XML: {str(error)[:200]}") from None
    return tree.root


def _refuse_doctype(*_: object) -> None:
    raise _Unreadable("XML with a document type (<!DOCTYPE …>) is not read")


class _Tree:
    """Made into a map as it is parsed. Its methods raise _Unreadable beyond the limits."""

    __slots__ = ("_count", "_members", "_names", "_texts", "root")

    def __init__(self) -> None:
        self._count = 0
        # Of the elements that are open: what is in them so far, None while that is nothing but text.
        self.root: dict[str, Any] = {}
        self._members: list[dict[str, Any] | None] = [self.root]
        self._names: list[str] = [""]
        self._texts: list[list[str] | None] = [None]

    def start(self, name: str, attributes: list[str]) -> None:
        self._count += 1 + len(attributes) // 2
        if self._count > ANSWER_VALUES_MAX:
            raise _Unreadable(_TOO_MANY)
        if len(self._names) > JSON_DEPTH_MAX:
            raise _Unreadable(_TOO_DEEP)
        members: dict[str, Any] | None = None
        if attributes:
            pairs = zip(attributes[::2], attributes[1::2], strict=True)
            members = {f"@{_local(key)}": value for key, value in pairs if not f"{key}:".startswith("xmlns:")} or None
        self._names.append(_local(name) if ":" in name else name)
        self._members.append(members)
        self._texts.append(None)

    def end(self, name: str) -> None:
        name, members, texts = self._names.pop(), self._members.pop(), self._texts.pop()
        text = "" if texts is None else "".join(texts).strip()
        if members is not None and text:
            members["#text"] = text
        value = text if members is None else members
        around = self._members[-1]
        if around is None:
            self._members[-1] = {name: value}
        elif name not in around:
            around[name] = value
        elif isinstance(several := around[name], list):
            several.append(value)
        else:
            around[name] = [several, value]

    def text(self, text: str) -> None:
        texts = self._texts[-1]
        if texts is None:
            self._texts[-1] = [text]
        else:
            texts.append(text)


def _local(name: str) -> str:
    return name.rpartition(":")[2]
