"""Event types: who sees them, and which patterns reach them."""

from __future__ import annotations

from enum import StrEnum


class Visibility(StrEnum):
    """Which apps see an event type in the catalogue."""

    PUBLIC = "public"  # every one
    GRANTED = "granted"  # those with a grant that covers it
    PRIVATE = "private"  # none; its events reach an app only where they are addressed to it by name


def covering_patterns(name: str) -> tuple[str, ...]:
    """Every pattern that matches a type (`domain.routing`): `a.b.c` is reached by `*`, `a.*`, `a.b.*` and `a.b.c`."""
    words = name.split(".")
    return ("*", *(".".join(words[:count]) + ".*" for count in range(1, len(words))), name)
