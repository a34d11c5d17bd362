"""A process's connections, by what they are for: what waits for one kind of work must not keep another from it."""

from __future__ import annotations

from typing import Final

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.history import History
from posthouse.domain.limits import (
    API_STATEMENT_SECONDS_MAX,
    PUBLISH_CLASSES,
    PUBLISH_STATEMENT_SECONDS_MAX,
    STATEMENT_SECONDS_MAX,
)

READING_CONNECTIONS: Final = 4
API_CONNECTIONS: Final = 8
STREAM_CONNECTIONS: Final = 4
POLLING_CONNECTIONS: Final = 2
READING_SETTINGS: Final = {"plan_cache_mode": "force_custom_plan"}  # a generic plan locks every day's partition
POLLING_SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""As the functions of the hot path have them: to plan what is asked ten times a second took three times as long as to do it."""


class Pools:
    """`publishing`, `journalling`, `reading` and `polling` (for what is asked over and over in one form, and planned once) are
    the engine's, `managing` is for the API, `streaming` for live streams, and `upkeep` for days. All go by one `history`.

    `direct` is PostgreSQL itself where `dsn` names a pooler, else the same. What is written on the way of events, in one round
    trip and durably, goes there, and so do days, which come and go under a lock of the session.
    """

    def __init__(
        self, dsn: str, direct: str, history: History, *, publish_seconds: float = PUBLISH_STATEMENT_SECONDS_MAX
    ) -> None:
        pooled = direct != dsn

        def reader(
            size: int, seconds: float = STATEMENT_SECONDS_MAX, settings: dict[str, str] = READING_SETTINGS
        ) -> Database:
            return Database(
                dsn, size=size, statement_seconds=seconds, settings=settings, history=history, pooled=pooled
            )

        self.publishing = Database(direct, size=PUBLISH_CLASSES + 1, statement_seconds=publish_seconds, history=history)
        self.journalling = Database(direct, size=2, history=history)
        self.reading = reader(READING_CONNECTIONS)
        self.polling = reader(POLLING_CONNECTIONS, settings=POLLING_SETTINGS)
        self.managing = reader(API_CONNECTIONS, API_STATEMENT_SECONDS_MAX)
        self.streaming = reader(STREAM_CONNECTIONS, API_STATEMENT_SECONDS_MAX)
        self.upkeep = Database(direct, size=1, history=history) if pooled else self.reading
        self._own_upkeep = (self.upkeep,) if pooled else ()

    @property
    def all(self) -> tuple[Database, ...]:
        return (
            self.publishing,
            self.journalling,
            self.reading,
            self.polling,
            self.managing,
            self.streaming,
            *self._own_upkeep,
        )
