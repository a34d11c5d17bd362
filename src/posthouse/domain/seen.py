"""Templates over what a trigger saw: `order.{op}`, `shop:{new.shop_id}`.

What stands in braces is a path of names, joined by dots, into a JSON object; a name that is a number counts in a list. `{{` and
`}}` are braces themselves. Numbers stand as they were written, so that none loses a digit.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import TRIGGER_TEMPLATE_LENGTH_MAX

_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_decoder: Final = msgspec.json.Decoder(float_hook=str)


class Missing(Exception):
    """What a template names is not there, or no text, number or boolean: the message says which, and of what."""


class Template:
    """A compiled template. Raises Invalid where the text is none; the path is the caller's to add."""

    def __init__(self, text: str) -> None:
        if not text or len(text) > TRIGGER_TEMPLATE_LENGTH_MAX:
            raise Invalid(f"a template has 1 to {TRIGGER_TEMPLATE_LENGTH_MAX} characters")
        self._parts: list[str | tuple[str, ...]] = []
        at = 0
        for found in _PART.finditer(text):
            self._parts.append(text[at : found.start()])
            at = found.end()
            if found[1] is not None:
                self._parts.append(_names(found[1]))
            elif found[0] in ("{{", "}}"):
                self._parts.append(found[0][0])
            else:
                raise Invalid(f"there is a {found[0]!r} by itself at {found.start()}; write {found[0] * 2} for one")
        self._parts.append(text[at:])

    @property
    def varies(self) -> bool:
        """Whether there is anything to fill in."""
        return any(isinstance(part, tuple) for part in self._parts)

    def fill(self, seen: Any) -> str | None:
        """The text; None where something that it names is null. Raises Missing."""
        filled: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                filled.append(part)
                continue
            text = _text(seen, part)
            if text is None:
                return None
            filled.append(text)
        return "".join(filled)


def readable(seen: bytes) -> Any:
    """What was seen, for templates. Raises msgspec.DecodeError."""
    return _decoder.decode(seen)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split("."))
    if not all(names):
        raise Invalid(f"{text[:80]!r} names nothing; write names joined by dots in the braces, such as new.status")
    return names


def _text(seen: Any, names: tuple[str, ...]) -> str | None:
    found = seen
    for depth, name in enumerate(names):
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif found is None:
            return None
        else:
            known = ", ".join(sorted(found)[:20]) if isinstance(found, dict) else ""
            told = f"; there is {known}" if known else ""
            raise Missing(f"{{{'.'.join(names)}}}: there is no {'.'.join(names[: depth + 1])}{told}"[:500])
    match found:
        case None:
            return None
        case str():
            return found
        case bool():
            return "true" if found else "false"
        case int():
            return str(found)
        case _:
            raise Missing(f"{{{'.'.join(names)}}} is {'a list' if isinstance(found, list) else 'an object'}")
