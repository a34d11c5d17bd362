"""How a rule names what it takes from a request and its answer, and templates made of such names. Pure.

| reference | what |
|---|---|
| `path.id`, or `id` alone | a parameter of the path template |
| `query.page` | a parameter of the query: text, the first where there are several |
| `header.x-shop`, `answer_header.location` | a header of the request, of the answer: text |
| `request`, `request.customer.id`, `request.items.0.sku` | the request's body, a field of it |
| `answer`, `answer.id` | the answer's body, a field of it |
| `method`, `status` | the request's method, the answer's status (a number) |

A body has fields where it is JSON; a request's also where it is a form (`application/x-www-form-urlencoded`): text each, or a
list of texts where a name is there several times.
"""

from __future__ import annotations

import json
import math
import string
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

TEXT_ROOTS: Final = ("query", "header", "answer_header")
BODY_ROOTS: Final = ("request", "answer")
_WHOLE_ROOTS: Final = ("method", "status")
_ROOTS: Final = ("path", *TEXT_ROOTS, *BODY_ROOTS, *_WHOLE_ROOTS)


class Absent:
    """Nothing is there, which is not the same as null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


class MissingFieldError(Exception):
    """What a template needs is not there, or is nothing that a text can be made of."""


class Facts(Protocol):
    """What is known of a request and its answer."""

    def root(self, name: str) -> Any:
        """What a reference of this root begins with: a mapping, a body, or a value; ABSENT where there is none."""


class Reference(NamedTuple):
    """`request.customer.id`: the root, and the way from there."""

    root: str
    keys: tuple[str, ...]

    @property
    def text(self) -> str:
        return ".".join((self.root, *self.keys))

    def value(self, facts: Facts) -> Any:
        """What is there, or ABSENT."""
        found = facts.root(self.root)
        for key in self.keys:
            if isinstance(found, Mapping):
                found = found.get(key, ABSENT)
            elif isinstance(found, list) and key.isascii() and key.isdigit() and len(key) < 10:
                found = found[int(key)] if int(key) < len(found) else ABSENT
            else:
                return ABSENT
        return found


def reference_of(text: str, parameters: Iterable[str]) -> Reference:
    """Read a reference, of a rule whose path has these parameters. Raises ValueError."""
    root, *keys = text.split(".")
    if not keys and root in parameters:
        return Reference("path", (root,))
    if root not in _ROOTS:
        known = ", ".join(sorted(parameters)) or "none"
        raise ValueError(f"{text!r} is no parameter of the path (there are: {known}), and begins with none of {_ROOTS}")
    if root in _WHOLE_ROOTS and keys:
        raise ValueError(f"{root} has no fields: {text!r}")
    if root not in (*_WHOLE_ROOTS, *BODY_ROOTS) and not keys:
        raise ValueError(f"{text!r} names nothing yet; write {text}.NAME")
    if "" in keys:
        raise ValueError(f"{text!r} has two dots in a row, or one at its end")
    if root in TEXT_ROOTS:
        name = ".".join(keys)  # names of these may hold dots
        return Reference(root, (name if root == "query" else name.lower(),))
    if root == "path" and (len(keys) > 1 or keys[0] not in parameters):
        raise ValueError(f"the path has no parameter {'.'.join(keys)!r}")
    return Reference(root, tuple(keys))


class Template:
    """A text with references in braces: `shop:{answer.shop}`; braces of its own are written twice.

    Raises: ValueError.
    """

    __slots__ = ("parts", "text")

    def __init__(self, text: str, parameters: Iterable[str]) -> None:
        if not isinstance(text, str) or not text:
            raise ValueError(f"it is a text that is not empty, and not {text!r}")
        self.text: Final = text
        self.parts: Final = tuple(_parts(text, tuple(parameters)))

    @property
    def roots(self) -> set[str]:
        """What it needs."""
        return {part.root for part in self.parts if isinstance(part, Reference)}

    @property
    def is_constant(self) -> bool:
        return not self.roots

    def filled(self, facts: Facts) -> str:
        """The text. Raises MissingFieldError for a reference to nothing, null, an object or a list."""
        return "".join([part if isinstance(part, str) else _text(part, facts) for part in self.parts])

    def value(self, facts: Facts) -> Any:
        """As `filled`; one that is a single reference and nothing else is what it refers to, or ABSENT."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Reference):
            return self.parts[0].value(facts)
        return self.filled(facts)


def _parts(text: str, parameters: tuple[str, ...]) -> Iterable[str | Reference]:
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError(f"{text!r}: a brace stands alone; one that is meant is written twice") from None
    for literal, name, form, conversion in pieces:
        if literal:
            yield literal
        if name is None:
            continue
        if form or conversion:
            raise ValueError(f"{text!r}: a reference has no format; write {{{name}}}")
        yield reference_of(name, parameters)


def _text(reference: Reference, facts: Facts) -> str:
    match reference.value(facts):
        case str(text) if text:
            return text
        case bool(truth):
            return json.dumps(truth)
        case int(number):
            return str(number)
        case float(number) if math.isfinite(number):
            return json.dumps(number)
        case other:
            shown = "not there" if other is ABSENT else "null" if other is None else "empty" if other == "" else _KIND
            raise MissingFieldError(f"{reference.text} is {shown}")


_KIND: Final = "an object or a list, of which no text is made"
