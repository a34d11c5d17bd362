"""Filters in the dialects of the CloudEvents Subscriptions API (version 1.0, section 3.2.4.1), as configuration.

Each is an object with one field: `{"exact": {"type": "order.created"}}`, `{"not": {…}}`, `{"any": [{…}, {…}]}`, `{"cel": "…"}`.
`domain/matching.py` evaluates them.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from posthouse.domain.configuration import Configuration


class OnFilterError(StrEnum):
    """What becomes of an event whose filter has no value."""

    DELIVER = "deliver"  # it is sent: nothing is lost
    SKIP = "skip"  # it is given up, and that is on record


class Dialect(Configuration, frozen=True, kw_only=True):
    """Exactly one of the fields is set. `exact`, `prefix` and `suffix` hold attributes of the event (`type`, `subject`,
    `source`, `id`, `key`, or one of its own) and texts: all of them must match."""

    exact: dict[str, str] | None = None
    prefix: dict[str, str] | None = None
    suffix: dict[str, str] | None = None
    all: tuple[Dialect, ...] | None = None
    any: tuple[Dialect, ...] | None = None
    not_: Dialect | None = msgspec.field(default=None, name="not")
    cel: str | None = None


Filters = tuple[Dialect, ...]
"""All of them must match; without any everything does."""
