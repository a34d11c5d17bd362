"""What expressions may name, for each use."""

from __future__ import annotations

from typing import Final

from posthouse.domain.expression import Use

EVENT: Final = ("id", "type", "subject", "time", "key", "source", "data", "attributes")
RESPONSE: Final = ("status", "headers", "body", "xml", "text")

_ALWAYS: Final[dict[str, tuple[str, ...]]] = {"event": EVENT, "app": ("id",), "endpoint": ("id",)}
_OF_ANSWER: Final[dict[str, tuple[str, ...]]] = {**_ALWAYS, "response": RESPONSE, "attempt": ("number",)}

TIME: Final = "event.time"
"""A variable of its own: only so it is a time, with what CEL has for times."""


def variables_of(use: Use) -> dict[str, tuple[str, ...]]:
    """The variables, and their fields."""
    return _OF_ANSWER if use.of_answer else _ALWAYS
