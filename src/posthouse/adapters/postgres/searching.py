"""Looking for rows by what no index knows, for a bounded time: what was found, and how far was searched.

First everything is looked through at once. Where that takes too long, it is done from the newest on, a stretch of time after
the other, each as long as the one before it was quick. Ids bear their time, so that a stretch is a range of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import asyncpg

from posthouse.adapters.postgres.database import Database
from posthouse.domain.ids import lower_bound, unix_ms_of
from posthouse.domain.limits import CLOCK_SKEW_SECONDS_MAX, SEARCH_SECONDS_MAX
from posthouse.ports.inspect import Found, Row, Span

Statement = Callable[[bytes, bytes, int], tuple[object, ...]]
"""The arguments of the query for rows below a position, from an id on, and how many at most."""

WHOLE_SECONDS: Final = 0.06
STRETCH_SECONDS: Final = 0.03  # that one is meant to take
STRETCH_SECONDS_MAX: Final = 0.05
STRETCH_MS: Final = 5_000
GROWTH_MAX: Final = 8.0
SHRINKAGE: Final = 16


async def search(
    database: Database, query: str, arguments: Statement, span: Span, facts: Callable[[asyncpg.Record], Row]
) -> Found[Row]:
    """The newest rows of a span, whose position begins with an id, as `facts`. Raises Invalid (code `query_too_broad`) where
    not even a millisecond can be searched."""
    rows, reached = await _searched(database, query, arguments, span)
    return Found([facts(row) for row in rows], reached)


async def _searched(
    database: Database, query: str, arguments: Statement, span: Span
) -> tuple[list[asyncpg.Record], bytes | None]:
    before, since, limit = span.before, span.since, span.limit
    if span.newest:
        rows = await database.read_within(WHOLE_SECONDS, query, *arguments(before, since, limit))
        if rows is not None:
            return rows, None
    found: list[asyncpg.Record] = []
    reached: bytes | None = None
    began = time.monotonic()
    until_ms = min(unix_ms_of(before), int((time.time() + CLOCK_SKEW_SECONDS_MAX) * 1000))
    since_ms = unix_ms_of(since)
    stretch_ms = STRETCH_MS
    while True:
        low_ms = until_ms - stretch_ms
        low = since if low_ms <= since_ms else lower_bound(low_ms)
        asked = arguments(before, low, limit - len(found))
        started = time.monotonic()
        rows = await database.read_within(STRETCH_SECONDS_MAX, query, *asked)
        if rows is None:
            if stretch_ms > 1:
                stretch_ms = max(stretch_ms // SHRINKAGE, 1)
                if reached is not None and time.monotonic() - began >= SEARCH_SECONDS_MAX:
                    return found, reached
                continue
            rows = await database.read(query, *asked)
        found += rows
        if len(found) >= limit or low == since:
            return found, None
        until_ms = low_ms
        reached = before = low + bytes(len(before) - len(low))
        now = time.monotonic()
        if now - began >= SEARCH_SECONDS_MAX:
            return found, reached
        quick = STRETCH_SECONDS / max(now - started, 0.001)
        stretch_ms = max(int(stretch_ms * min(max(quick, 1 / GROWTH_MAX), GROWTH_MAX)), 1)
