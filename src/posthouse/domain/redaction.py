"""What is not shown of payloads, and not kept of answers: JSON pointers (RFC 6901) whose values are masked. Pure.

Only what stands on the way to a masked value is read; everything else stays as it was, byte for byte. What cannot be read as
JSON is masked as a whole: nothing that somebody wanted hidden is shown because it was malformed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import REDACTED_NAMES_MAX, REDACTED_POINTER_LENGTH_MAX, REDACTED_POINTER_PARTS_MAX

REDACTED: Final = "[redacted]"
_REDACTED_JSON: Final = msgspec.json.encode(REDACTED)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_CREDENTIALS: Final = re.compile(
    r"authorization|authentication|cookie|token|secret|passw|signature|credential|api[-_]?key|access[-_]?key|private[-_]?key"
)

_Tree = Mapping[str, "_Tree | None"]
"""Pointers by their first part; None where one ends, and masks everything below."""


class RedactAnswer(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What is masked of a target's answer before it is stored: values of its body, and of its headers."""

    body: tuple[str, ...] = ()  # JSON pointers
    headers: tuple[str, ...] = ()  # names, in any case


def check_pointers(pointers: Sequence[str], *, path: str) -> None:
    """Raises Invalid with the path of the pointer that is none."""
    if len(pointers) > REDACTED_NAMES_MAX:
        raise Invalid(f"at most {REDACTED_NAMES_MAX} pointers", path=path)
    for index, pointer in enumerate(pointers):
        if not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
            raise Invalid(
                "a JSON pointer is such as /card/number or /items/0; in it ~1 stands for / and ~0 for ~",
                path=f"{path}[{index}]",
            )
        if len(pointer) > REDACTED_POINTER_LENGTH_MAX or pointer.count("/") > REDACTED_POINTER_PARTS_MAX:
            raise Invalid(
                f"a pointer has at most {REDACTED_POINTER_LENGTH_MAX} characters and {REDACTED_POINTER_PARTS_MAX} parts",
                path=f"{path}[{index}]",
            )


def check_redact_answer(rules: RedactAnswer, *, path: str) -> None:
    """Raises Invalid."""
    check_pointers(rules.body, path=f"{path}.body")
    if len(rules.headers) > REDACTED_NAMES_MAX:
        raise Invalid(f"at most {REDACTED_NAMES_MAX} header names", path=f"{path}.headers")
    for index, name in enumerate(rules.headers):
        if _HEADER_NAME.fullmatch(name) is None:
            raise Invalid("this is not the name of a header", path=f"{path}.headers[{index}]")


def redacted(document: bytes, pointers: Sequence[str]) -> bytes:
    """The JSON document with what these pointers name masked; a mask of its own where it is no JSON."""
    if not pointers:
        return document
    try:
        return _masked(document, pointer_tree(tuple(pointers)))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _REDACTED_JSON


def redacted_payload(payload: bytes, pointers: Sequence[str], *, is_json: bool) -> bytes:
    """A payload as it is shown. What is not JSON has no pointers into it, and is masked as a whole."""
    if not pointers:
        return payload
    return redacted(payload, pointers) if is_json else REDACTED.encode()


def is_credential(header: str) -> bool:
    """Whether a header of this name is likely to hold one."""
    return _CREDENTIALS.search(header.lower()) is not None


def _masked(document: bytes, tree: _Tree) -> bytes:
    start = document.lstrip(b" \t\r\n")[:1]
    if start == b"{":
        # Of a name that is there twice only the last stays: nothing is hidden behind another one.
        fields = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
        there = [name for name in tree if name in fields]
        for name in there:
            fields[name] = _below(fields[name], tree[name])
        return msgspec.json.encode(fields) if there else document
    if start == b"[":
        items = msgspec.json.decode(document, type=list[msgspec.Raw])
        places = [(int(name), name) for name in tree if _INDEX.fullmatch(name) and int(name) < len(items)]
        for index, name in places:
            items[index] = _below(items[index], tree[name])
        return msgspec.json.encode(items) if places else document
    msgspec.json.decode(document, type=msgspec.Raw)
    return document


def _below(value: msgspec.Raw, tree: _Tree | None) -> msgspec.Raw:
    return msgspec.Raw(_REDACTED_JSON if tree is None else _masked(bytes(value), tree))


@lru_cache(maxsize=256)
def pointer_tree(pointers: tuple[str, ...]) -> _Tree:
    """The pointers as a tree of names, None where one ends. Pure, and remembered."""
    root: dict[str, _Tree | None] = {}
    for pointer in sorted(pointers):  # a shorter one comes before those below it, and covers them
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
        here: dict[str, _Tree | None] | None = root
        for part in way:
            found = here.setdefault(part, {}) if here is not None else None
            assert found is None or isinstance(found, dict)
            here = found
        if here is not None:
            here[last] = None
    return root
