"""What became of rows that a trigger or a relay saw: when each was in the log, and when the target had it.

A row bears the number of its run and its own as `"n"`, and as `"t"` the nanosecond before its commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg

from bench.harness import Bench, Received
from bench.server import Broken

_PUBLISHED: Final = """
SELECT (extract(epoch FROM created_at) * 1e6 - substring(convert_from(payload, 'UTF8') from '"t":"(\\d+)"')::numeric / 1e3)::int
           AS took, extract(epoch FROM created_at)::float8 AS at
  FROM event WHERE convert_from(payload, 'UTF8') LIKE '%"n":"' || lpad($1::text, 4, '0') || '%' ORDER BY took"""


class Observed(NamedTuple):
    """One run."""

    began: float
    published_us: list[int]  # from the commit, in order
    last_published_at: float
    received: Received


async def observed(bench: Bench, dsn: str, run: int, events: int, began: float, what: str) -> Observed:
    """Once the target has all of a run. Raises Broken where the log has more or fewer."""
    bench.wait_received(events)
    received = bench.received(what)
    connection = await asyncpg.connect(dsn)
    try:
        rows: Sequence[asyncpg.Record] = await connection.fetch(_PUBLISHED, str(run))
    finally:
        await connection.close()
    if len(rows) != events:
        raise Broken(f"of {events} events that were committed, {len(rows)} are in the log")
    return Observed(began, [row["took"] for row in rows], max(row["at"] for row in rows), received)
