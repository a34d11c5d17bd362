"""A payload as people read it, in a message to a chat: a line for each of its values, and as many as there is room for. Pure.

    order.id: 7
    order.items.0.sku: a-1
    tags: new, blue

What is null or empty has no line. A text is on one line, without controls. In Markdown the lines are a list, and what would
be a link, an image, emphasis, code or HTML is escaped: nothing of a payload is more than the text that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.limits import READABLE_BYTES_MAX, READABLE_LINE_LENGTH_MAX, READABLE_VALUES_MAX

MORE: Final = "…"

_BREAKS: Final = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MARKDOWN: Final = re.compile(r"([\\`*\[\]<])")


class Style(StrEnum):
    """How the lines are written; the name by which a template asks for them."""

    TEXT = "data:text"
    MARKDOWN = "data:markdown"


def readable(event: Event, value: Any, style: Style) -> str:
    """The lines of a payload: `value` is what it is as JSON, where it is that."""
    if event.content_type != JSON_CONTENT:
        return _line("", _other(event), style)
    lines: list[str] = []
    room = READABLE_BYTES_MAX
    for name, leaf in _leaves(value):
        line = _line(name, leaf, style)
        room -= len(line.encode()) + 1
        if room < 0:
            lines.append(MORE)
            break
        lines.append(line)
    return "\n".join(lines)


def escaped(text: str) -> str:
    """A text that means nothing in Markdown, on one line."""
    return _MARKDOWN.sub(r"\\\1", _one_line(text))


def _line(name: str, value: str, style: Style) -> str:
    if style is Style.TEXT:
        return f"{_one_line(name)}: {_one_line(value)}" if name else _one_line(value)
    return f"- **{escaped(name)}**: {escaped(value)}" if name else escaped(value)


def _leaves(value: Any) -> Iterator[tuple[str, str]]:
    """The values with their names, in order; a list of nothing but such values is one. It goes through so many at most."""
    waiting = [iter([("", value)])]
    for _ in range(READABLE_VALUES_MAX):
        while waiting and (found := next(waiting[-1], None)) is None:
            waiting.pop()
        if not waiting or found is None:
            return
        name, inner = found
        if isinstance(inner, list) and not any(isinstance(each, dict | list) for each in inner):
            inner = ", ".join([_text(each) for each in inner[:READABLE_LINE_LENGTH_MAX] if each is not None])
        if isinstance(inner, dict | list):
            waiting.append(_named(name, inner))
        elif inner is not None and inner != "":
            yield name, _text(inner)
    yield "", MORE


def _named(name: str, inner: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    before = f"{name[:READABLE_LINE_LENGTH_MAX]}." if name else ""
    for key, value in inner.items() if isinstance(inner, dict) else enumerate(inner):
        yield f"{before}{key}", value


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _other(event: Event) -> str:
    if event.content_type.startswith("text/"):
        return event.payload[:READABLE_BYTES_MAX].decode("utf-8", "replace")
    return f"{event.content_type}, {len(event.payload)} bytes"


def _one_line(text: str) -> str:
    whole = len(text) <= READABLE_LINE_LENGTH_MAX
    text = _SURROGATE.sub("\ufffd", text[:READABLE_LINE_LENGTH_MAX])
    return _BREAKS.sub(" ", text).strip() + ("" if whole else MORE)
