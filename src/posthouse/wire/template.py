"""Templates: a text with the names of values in braces, `order-{event.id}`. `{{` and `}}` are braces. That is all."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, NoReturn

from posthouse.domain.errors import Invalid

EVENT_VALUES: Final = frozenset(
    {
        "event.id",
        "event.type",
        "event.subject",  # empty where it has none, as the key
        "event.key",
        "event.content_type",
        "event.time",  # when it was published, in the form and zone that the format's `time` says
        "event.timestamp",  # the same in unix seconds
        "event.timestamp_ms",
    }
)
"""What templates may name of the event that a request is about. A batch is about several, so it has none of these."""

REQUEST_VALUES: Final = frozenset(
    {
        "message.id",  # the event's id, of a batch the request's: what webhook-id says
        "timestamp",  # when the attempt is made, in unix seconds
        "timestamp_ms",
        "time",  # the same in the form and zone that the format's `time` says
        "nonce",  # 32 hexadecimal digits, new for every attempt
        "replay",  # true or false
        "app.id",
        "endpoint.id",
    }
)
"""What templates may name of the request."""

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Template:
    """A compiled template.

    Raises: Invalid, with `path`, for a name that is none of `known` and for a brace that stands alone.
    """

    __slots__ = ("_parts", "names", "text")

    def __init__(self, text: str, *, known: Collection[str], path: str) -> None:
        self.text: Final = text
        parts: list[tuple[bool, str]] = []  # (whether it is a name, name or literal)
        end = 0
        for found in _TOKEN.finditer(text):
            parts.append((False, text[end : found.start()]))
            end = found.end()
            match found[0]:
                case "{{" | "}}":
                    parts.append((False, found[0][0]))
                case "{" | "}":
                    raise Invalid("a brace stands alone: one that is meant as a brace is written twice", path=path)
                case _ if found[1] in known:
                    parts.append((True, found[1]))
                case _:
                    _unknown(found[1], known, path)
        parts.append((False, text[end:]))
        self._parts: Final = tuple(part for part in parts if part[0] or part[1])
        self.names: Final = frozenset(name for named, name in self._parts if named)

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every name replaced by its value."""
        return "".join([values[part] if named else part for named, part in self._parts])

    def times(self, name: str) -> int:
        """How often it names this."""
        return self._parts.count((True, name))

    def sample(self, value: str = "") -> str:
        """The text with the same in the place of every value."""
        return "".join([value if named else part for named, part in self._parts])


def _unknown(name: str, known: Collection[str], path: str) -> NoReturn:
    if name == "data":
        raise Invalid(
            "the payload stands alone, in a field of the body that is nothing else: it is a value and no text",
            path=path,
        )
    if name in EVENT_VALUES:
        raise Invalid(f"{_braced(name)} cannot be told here: a batch has several events", path=path)
    if name in REQUEST_VALUES:
        raise Invalid(f"{_braced(name)} cannot be told here: in a batch each event is written for itself", path=path)
    raise Invalid(f"there is no {_braced(name)}; there are {', '.join(sorted(known))}", path=path)


def _braced(name: str) -> str:
    return "{" + name[:40].encode("unicode_escape").decode("ascii") + "}"
