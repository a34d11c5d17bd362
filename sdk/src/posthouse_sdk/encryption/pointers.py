"""The fields of a JSON body that are encrypted: JSON pointers (RFC 6901) into the body.

/data/card/number        one field; where it is not there, there is nothing to hide
/data/items/*/price      `*` is every element of an array (in an object it is a name like any other)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from posthouse_sdk.encryption.errors import SettingError

FIELDS_MAX: Final = 32
POINTER_LENGTH_MAX: Final = 512
EACH: Final = "*"

_WRONG_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")

Pointer = tuple[str, ...]


def pointer_of(text: str, path: str) -> Pointer:
    """A pointer's names. Raises: SettingError for what is none, and for the whole body."""
    if not text.startswith("/") or _WRONG_ESCAPE.search(text):
        raise SettingError("a field is a JSON pointer: /data/card/number, with ~0 for ~ and ~1 for /", path)
    if len(text) > POINTER_LENGTH_MAX:
        raise SettingError(f"a JSON pointer has at most {POINTER_LENGTH_MAX} characters here", path)
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in text[1:].split("/"))


def pointers_of(texts: Sequence[str], path: str) -> tuple[Pointer, ...]:
    """All of them. Raises: SettingError, besides for one that lies within another."""
    if len(texts) > FIELDS_MAX:
        raise SettingError(f"at most {FIELDS_MAX} fields are encrypted", path)
    pointers = tuple(pointer_of(text, f"{path}[{index}]") for index, text in enumerate(texts))
    for index, pointer in enumerate(pointers):
        for other in pointers[:index]:
            if _overlap(pointer, other):
                raise SettingError(
                    "this field lies within another one that is encrypted, or is the same", f"{path}[{index}]"
                )
    return pointers


def _overlap(one: Pointer, other: Pointer) -> bool:
    return all(a == b or EACH in (a, b) for a, b in zip(one, other, strict=False))


def index_of(name: str, length: int) -> int | None:
    """Where in an array of this length; None for nowhere."""
    return int(name) if _INDEX.fullmatch(name) and int(name) < length else None


def change(value: Any, pointer: Pointer, how: Callable[[Any], Any]) -> Any:
    """The parsed value with what the pointer names changed, in place where it has an inside."""
    if not pointer:
        return how(value)
    name, rest = pointer[0], pointer[1:]
    if isinstance(value, dict) and name in value:
        value[name] = change(value[name], rest, how)
    elif isinstance(value, list):
        index = index_of(name, len(value))
        for place in range(len(value)) if name == EACH else () if index is None else (index,):
            value[place] = change(value[place], rest, how)
    return value
