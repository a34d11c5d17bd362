"""A process's connections, by what they are for: what waits for one kind of work must not keep another from it."""

from __future__ import annotations

from typing import Final

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.history import History
from posthouse.domain.limits import (
    API_STATEMENT_SECONDS_MAX,
    PUBLISH_CLASSES,
    PUBLISH_STATEMENT_SECONDS_MAX,
)

READING_CONNECTIONS: Final = 6
API_CONNECTIONS: Final = 8
STREAM_CONNECTIONS: Final = 4
READING_SETTINGS: Final = {"plan_cache_mode": "force_custom_plan"}  # a generic plan locks every day's partition


class Pools:
    """`publishing`, `journalling` and `reading` are the engine's, `managing` is for the API and `streaming` for live streams.
    All go by one `history`."""

    def __init__(self, dsn: str, history: History, *, publish_seconds: float = PUBLISH_STATEMENT_SECONDS_MAX) -> None:
        self.publishing = Database(dsn, size=PUBLISH_CLASSES + 1, statement_seconds=publish_seconds, history=history)
        self.journalling = Database(dsn, size=2, history=history)
        self.reading = Database(dsn, size=READING_CONNECTIONS, settings=READING_SETTINGS, history=history)
        self.managing = Database(
            dsn,
            size=API_CONNECTIONS,
            statement_seconds=API_STATEMENT_SECONDS_MAX,
            settings=READING_SETTINGS,
            history=history,
        )
        self.streaming = Database(
            dsn,
            size=STREAM_CONNECTIONS,
            statement_seconds=API_STATEMENT_SECONDS_MAX,
            settings=READING_SETTINGS,
            history=history,
        )

    @property
    def all(self) -> tuple[Database, ...]:
        return self.publishing, self.journalling, self.reading, self.managing, self.streaming
