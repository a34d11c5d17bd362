"""Fields of a body, read for a signature and written with one: top-level ones by name, deeper ones by JSON Pointer.

A name with a `/` in front is a JSON Pointer (RFC 6901): `/notificationItems/0/NotificationRequestItem/pspReference`. Its
first step is a top-level field; what follows leads into the JSON that this field holds. Values are texts as they are,
numbers as they are written in the body, `true`, `false`, nothing for `null`, and objects and arrays as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.wire.documents import JsonFields
from posthouse.wire.message import Document, Lacking, Unsendable

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode
_BROKEN: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def pairs_of(document: Document) -> list[tuple[str, str]]:
    """The top-level fields as texts. Raises: Unsendable where a body has none."""
    try:
        return document.pairs()
    except Invalid as error:
        raise Unsendable(f"the signature is about fields of the body: {error}") from None


def pointer(name: str, path: str) -> tuple[str, ...] | None:
    """The steps of a name that is a JSON Pointer, None of a plain name. Raises: Invalid for a pointer to nothing."""
    if not name.startswith("/"):
        return None
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in name[1:].split("/"))
    if not steps[0]:
        raise Invalid("a JSON Pointer begins with the name of a field: /name/…", path=path)
    return steps


def text_at(fields: Mapping[str, str], steps: Sequence[str]) -> str | None:
    """What a pointer leads to, None where there is nothing."""
    top, *rest = steps
    if top not in fields:
        return None
    if not rest:
        return fields[top]
    value = msgspec.Raw(fields[top].encode())
    try:
        for step in rest:
            value = _children(value)[step]
        return _told(value)
    except (KeyError, *_BROKEN):
        return None


def open_fields(document: Document) -> None:
    """Before a body is signed that a signature is put into: who takes that field away has what was signed."""
    if isinstance(document, JsonFields):
        try:
            document.open()
        except Invalid as error:
            raise Unsendable(f"the signature belongs into the body: {error}") from None


def put_field(document: Document, steps: Sequence[str], value: str) -> None:
    """Set a field, in its place or at the end. Raises: Unsendable where the body has no such place."""
    top, *rest = steps
    try:
        if not rest:
            document.put(top, value)
        elif isinstance(document, JsonFields):
            fields = dict(document.pairs())
            document.put_json(top, bytes(_with(msgspec.Raw(fields.get(top, "{}").encode()), rest, value)))
        else:
            raise Unsendable("the signature belongs into a JSON body, and this body is none")
    except Invalid as error:
        raise Unsendable(f"the signature belongs into the body: {error}") from None
    except (LookupError, *_BROKEN):
        raise Lacking(f"the body has no place /{'/'.join(steps)} for the signature") from None


def _children(value: msgspec.Raw) -> dict[str, msgspec.Raw]:
    if bytes(value).lstrip().startswith(b"["):
        return {str(index): item for index, item in enumerate(_array(value))}
    return _object(value)


def _with(parent: msgspec.Raw, steps: Sequence[str], value: str) -> msgspec.Raw:
    """A JSON object or array in which a value is put; objects that are missing on the way are made."""
    step, *rest = steps
    children: dict[str, msgspec.Raw] = _children(parent)
    is_array = bytes(parent).lstrip().startswith(b"[")
    if is_array and step not in children:
        raise LookupError(step)
    if rest:
        children[step] = _with(children.get(step, msgspec.Raw(b"{}")), rest, value)
    else:
        children[step] = msgspec.Raw(_encode(value))
    return msgspec.Raw(_encode(list(children.values()) if is_array else children))


def _told(value: msgspec.Raw) -> str:
    raw = bytes(value).strip()
    if raw.startswith(b'"'):
        return _text(raw)
    return "" if raw == b"null" else raw.decode()
