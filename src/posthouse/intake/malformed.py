"""JSON that is none: where it is wrong, and why."""

from __future__ import annotations

import json
import re
from array import array
from itertools import accumulate
from typing import Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import JSON_AT_ONCE_BYTES_MAX, JSON_DEPTH_MAX

MALFORMED: Final = "malformed_json"
_BYTE: Final = re.compile(r" \(byte (\d+)\)")
_STEPS: Final = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")  # as signed bytes, a level down and up
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b'{}[]"')
_NO_MARK: Final = bytes(byte for byte in range(256) if byte not in b'{}[],"')


def check_utf8(body: bytes, *, first_line: int = 1) -> None:
    """Raises Invalid, with line and column, where the body is no UTF-8."""
    if body.isascii():
        return
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("the body is not valid UTF-8", body[: error.start].decode("utf-8"), first_line) from None


def located(body: bytes, error: msgspec.DecodeError, *, first_line: int = 1) -> Invalid:
    """The error that tells where UTF-8 text is no JSON. The strict decoder does not say so exactly; the one of the standard
    library does, and is slow, so it reads only what was refused, and only where that is not large."""
    text = body.decode("utf-8")
    try:
        if len(body) <= JSON_AT_ONCE_BYTES_MAX:
            json.loads(text)
    except json.JSONDecodeError as found:
        before = text[: found.pos]
        if not text[found.pos :].strip():
            why = "the body ends in the middle of a value" if text.strip() else "the body is empty"
            return malformed(f"malformed JSON: {why}", before, first_line)
        return malformed(f"malformed JSON: {found.msg[:1].lower()}{found.msg[1:]}", before, first_line)
    except (ValueError, RecursionError):
        return too_deep()
    # What is left is what only the lenient one reads: NaN and its like, numbers out of range, halves of surrogate pairs.
    message = str(error)
    at = _BYTE.search(message)
    if "truncated" in message:
        why = "the body ends in the middle of a value"
        return malformed(f"malformed JSON: {why}", text, first_line)
    if at is None:
        return Invalid("malformed JSON: half of a surrogate pair, or a number out of range", code=MALFORMED)
    reason = _BYTE.sub("", message).removeprefix("JSON is malformed: ")
    return malformed(f"malformed JSON: {reason}", body[: int(at[1])].decode("utf-8", "replace"), first_line)


def malformed(what: str, before: str, first_line: int = 1) -> Invalid:
    """`what` is wrong right after the text `before`."""
    line = before.count("\n") + first_line
    column = len(before) - before.rfind("\n")
    return Invalid(f"{what}, at line {line}, column {column}", code=MALFORMED)


def check_depth(text: bytes, *, path: str) -> None:
    """Raises Invalid where JSON is nested deeper than JSON_DEPTH_MAX levels."""
    if text.count(b"{") + text.count(b"[") <= JSON_DEPTH_MAX:
        return
    steps = array("b", _outside_strings(text, _NO_BRACKET).translate(_STEPS))
    if max(accumulate(steps)) > JSON_DEPTH_MAX:  # about 20 ms for a megabyte of brackets, whatever they are
        raise too_deep(path=path)


def values_at_most(text: bytes) -> int:
    """JSON has no more values than this: as many, and one more for each empty array or object."""
    if (most := _marks(text)) > 1 and b'"' in text:
        most = _marks(_outside_strings(text, _NO_MARK))
    return most + 1


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _outside_strings(text: bytes, without: bytes) -> bytes:
    """JSON without its strings, and without these bytes, of which quotes are none."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # What is left of most strings are two quotes; where two strings meet they become one, which does no harm.
    kept = text.translate(None, without).replace(b'""', b"")
    return b"".join(kept.split(b'"')[::2]) if b'"' in kept else kept


def too_deep(*, path: str = "") -> Invalid:
    return Invalid(f"the JSON is nested too deeply; stay within {JSON_DEPTH_MAX} levels", path=path, code=MALFORMED)
