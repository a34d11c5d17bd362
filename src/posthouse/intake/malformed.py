"""JSON that is none: where it is wrong, and why."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import JSON_DEPTH_MAX

MALFORMED: Final = "malformed_json"
_BYTE: Final = re.compile(r" \(byte (\d+)\)")
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"{}[]")


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
    library does, and is slow, so it reads only what was refused."""
    text = body.decode("utf-8")
    try:
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
    brackets = _STRING.sub(b"", text).translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(JSON_DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")  # the innermost level of all
        if not brackets:
            return
    raise too_deep(path=path)


def too_deep(*, path: str = "") -> Invalid:
    return Invalid(f"the JSON is nested too deeply; stay within {JSON_DEPTH_MAX} levels", path=path, code=MALFORMED)
