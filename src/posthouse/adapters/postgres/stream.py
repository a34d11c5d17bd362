"""What the live stream reads, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import asyncpg

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.facts import attempt_facts, event_facts
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.ids import ID_BYTES, AppId, AttemptId, EventId, lower_bound
from posthouse.domain.limits import STREAM_EXAMINED_ROWS_MAX, STREAM_SLACK_SECONDS
from posthouse.ports.stream import AttemptPage, AttemptRow, Ends, EventPage, EventRow, Wanted

SQL = Queries("stream.sql")
DAY_SECONDS: Final = 86_400


class PostgresStreamSource:
    """`ports.stream.StreamSource` on PostgreSQL; the database's `statement_seconds` bounds every read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ends(self, *, since: float) -> Ends:
        oldest = _first_id(since)
        rows = await self._database.fetch(SQL.ends, oldest)
        return Ends(
            events={row["partition"]: row["seq"] for row in rows},
            attempts={row["partition"]: AttemptId(row["attempt_id"]) for row in rows if row["attempt_id"] is not None},
            before=AttemptId(oldest),
        )

    async def events(
        self, spans: Mapping[int, tuple[int, int]], wanted: Wanted, *, since: float | None, limit: int
    ) -> EventPage:
        found = await self._database.fetch(
            SQL.events,
            list(spans),
            [after for after, _ in spans.values()],
            [until for _, until in spans.values()],
            bytes(ID_BYTES) if since is None else _first_id(since),
            *_columns(wanted),
            limit + 1,
        )
        by_partition = _by_partition(found)
        rows: list[EventRow] = []
        read: dict[int, int] = {}
        missing = set()
        for partition, (after, until) in spans.items():
            its = by_partition.get(partition, [])
            if not its or its[0]["seq"] != after + 1:
                missing.add(partition)
                continue
            # One row more than asked says that there are more.
            read[partition] = its[limit - 1]["seq"] if len(its) > limit else until
            rows += [_event(row) for row in its[:limit] if row["wanted"]]
        return EventPage(rows, read, frozenset(missing))

    async def attempts(
        self, after: Mapping[int, AttemptId], wanted: Wanted, *, since: float, limit: int
    ) -> AttemptPage:
        everything = wanted == Wanted()
        found = await self._database.fetch(
            SQL.attempts,
            list(after),
            list(after.values()),
            _first_id(since),
            *_columns(wanted),
            limit if everything else STREAM_EXAMINED_ROWS_MAX,
            limit + 1,
        )
        rows: list[AttemptRow] = []
        read: dict[int, AttemptId] = {}
        for partition, its in _by_partition(found).items():
            its = its[:limit]
            read[partition] = AttemptId(its[-1]["id"])
            rows += [_attempt(row) for row in its if row["wanted"]]
        return AttemptPage(rows, read)

    async def payloads(self, events: Sequence[EventRow]) -> Mapping[EventId, bytes]:
        rows = await self._database.fetch(
            SQL.payloads, [event.facts.id for event in events], [event.partition for event in events]
        )
        return {EventId(row["id"]): row["payload"] for row in rows}


def _first_id(since: float) -> bytes:
    """The first id of the day a day before: a bound within a day tempts the planner to intersect the places asked for with
    everything since then, of all partitions."""
    return lower_bound(int((since - STREAM_SLACK_SECONDS) // DAY_SECONDS) * DAY_SECONDS * 1000)


def _columns(wanted: Wanted) -> tuple[AppId | None, list[str] | None, list[str] | None]:
    """The app, the types that are wanted as they are, and the beginnings of those wanted by a pattern."""
    if wanted.types is None or "*" in wanted.types:
        return wanted.app_id, None, None
    exact = [pattern for pattern in wanted.types if not pattern.endswith(".*")]
    prefixes = [pattern[:-1] for pattern in wanted.types if pattern.endswith(".*")]
    return wanted.app_id, exact, prefixes


def _by_partition(rows: Iterable[asyncpg.Record]) -> dict[int, list[asyncpg.Record]]:
    return {partition: list(its) for partition, its in groupby(rows, key=itemgetter("partition"))}


def _event(row: asyncpg.Record) -> EventRow:
    return EventRow(row["partition"], row["seq"], event_facts(row))


def _attempt(row: asyncpg.Record) -> AttemptRow:
    return AttemptRow(row["partition"], attempt_facts(row))
