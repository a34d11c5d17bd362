"""Grants: which app may hear of what, about whom.

A type pattern is as in `routing`: `order.created`, `order.*`, `*`. A subject pattern is a subject, a prefix up to a colon
(`shop:*`, `shop:42:*`), or `*` for all, which alone covers an event about nobody. Prefixes have at most
`PATTERN_LEVELS_MAX` words, so that what covers an event is a short list of exact patterns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from posthouse.domain.event import Event, is_type_name
from posthouse.domain.ids import AppId, GrantId
from posthouse.domain.limits import NAME_LENGTH_MAX, PATTERN_LEVELS_MAX

ALL: Final = "*"
EXPIRY_GRACE_SECONDS: Final = 60.0  # between finding an audience and appending the event


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What an app may receive: any of these types about any of these subjects, until `expires_at` (unix seconds)."""

    id: GrantId
    app_id: AppId
    types: tuple[str, ...]
    subjects: tuple[str, ...]
    uid: str | None = None
    expires_at: float | None = None
    created_at: float = 0.0

    def covers(self, event_type: str, subject: str | None, *, now: float) -> bool:
        """Whether an event of this type about this subject may go to the app."""
        return (
            (self.expires_at is None or self.expires_at > now)
            and not set(self.types).isdisjoint(type_patterns(event_type))
            and not set(self.subjects).isdisjoint(subject_patterns(subject))
        )


class Shrinkage(msgspec.Struct, frozen=True, gc=False):
    """When an app's grants last became fewer, and when they next will, as of the configuration it was loaded with."""

    version: int = 0  # configuration version with which a grant was taken away
    expired_at: float | None = None  # unix seconds: the last expiry that has passed
    expires_at: float | None = None  # unix seconds: the next one to come

    def leaves(self, event: Event, *, now: float) -> bool:
        """Whether an event that the app was in the audience of is certainly still covered; else the grants must be asked."""
        return (
            event.config_version >= self.version
            and (self.expired_at is None or self.expired_at <= event.created_at - EXPIRY_GRACE_SECONDS)
            and (self.expires_at is None or self.expires_at > now)
        )


NO_SHRINKAGE: Final = Shrinkage()


def type_patterns(event_type: str) -> tuple[str, ...]:
    """The type patterns that match an event type."""
    return (ALL, event_type, *_prefixes(event_type, "."))


def subject_patterns(subject: str | None) -> tuple[str, ...]:
    """The subject patterns that match a subject, or an event about nobody."""
    if subject is None:
        return (ALL,)
    return (ALL, subject, *_prefixes(subject, ":"))


def _prefixes(text: str, separator: str) -> Iterable[str]:
    words = text.split(separator)
    return [separator.join(words[:i]) + separator + ALL for i in range(1, min(len(words), PATTERN_LEVELS_MAX + 1))]


def is_type_pattern(text: str) -> bool:
    """Whether `text` may stand in a grant's `types`."""
    head = text.removesuffix(".*")
    return text == ALL or (is_type_name(head) and (head == text or head.count(".") < PATTERN_LEVELS_MAX))


def is_subject_pattern(text: str) -> bool:
    """Whether `text` may stand in a grant's `subjects`; control characters are the parser's to refuse."""
    if text == ALL:
        return True
    if not text or len(text) > NAME_LENGTH_MAX * 2:
        return False
    head = text.removesuffix(":*")
    return bool(head) and (head == text or head.count(":") < PATTERN_LEVELS_MAX)
