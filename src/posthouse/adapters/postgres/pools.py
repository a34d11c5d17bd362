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

READING_CONNECTIONS: Final = 6
API_CONNECTIONS: Final = 8
STREAM_CONNECTIONS: Final = 4
READING_SETTINGS: Final = {"plan_cache_mode": "force_custom_plan"}  # a generic plan locks every day's partition


class Pools:
    """`publishing`, `journalling` and `reading` are the engine's, `managing` is for the API, `streaming` for live streams, and
    `upkeep` for days. All go by one `history`.

    `direct` is PostgreSQL itself where `dsn` names a pooler, else the same. What is written on the way of events, in one round
    trip and durably, goes there, and so do days, which come and go under a lock of the session.
    """

    def __init__(
        self, dsn: str, direct: str, history: History, *, publish_seconds: float = PUBLISH_STATEMENT_SECONDS_MAX
    ) -> None:
        pooled = direct != dsn

        def reader(size: int, seconds: float = STATEMENT_SECONDS_MAX) -> Database:
            return Database(
                dsn, size=size, statement_seconds=seconds, settings=READING_SETTINGS, history=history, pooled=pooled
            )

        self.publishing = Database(direct, size=PUBLISH_CLASSES + 1, statement_seconds=publish_seconds, history=history)
        self.journalling = Database(direct, size=2, history=history)
        self.reading = reader(READING_CONNECTIONS)
        self.managing = reader(API_CONNECTIONS, API_STATEMENT_SECONDS_MAX)
        self.streaming = reader(STREAM_CONNECTIONS, API_STATEMENT_SECONDS_MAX)
        self.upkeep = Database(direct, size=1, history=history) if pooled else self.reading
        self._own_upkeep = (self.upkeep,) if pooled else ()

    @property
    def all(self) -> tuple[Database, ...]:
        return self.publishing, self.journalling, self.reading, self.managing, self.streaming, *self._own_upkeep
