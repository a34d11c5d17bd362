"""What the store says, for the history: whether it is at rest, and all that it holds in the end."""

from __future__ import annotations

import json
from typing import Final

import asyncpg
from tests.chaos.history import Attempt, History, Logged, Partition

from posthouse.domain.ids import EVENT, format_id

_PARTITIONS: Final = """
SELECT p.id, p.cursor, h.seq AS head, p.owner IS NOT NULL AS owned
  FROM partition p JOIN log_head h ON h.partition = p.id ORDER BY p.id
"""
_OWED: Final = """
SELECT d.*, n.uid, a.uid AS app, n.paused, n.deleted_at FROM delivery d
  JOIN endpoint n ON n.id = d.endpoint_id JOIN app a ON a.id = n.app_id ORDER BY d.partition, d.endpoint_id, d.seq
"""
_UNFINISHED: Final = """
SELECT 'job ' || kind || ' ' || state || ' ' || progress::text FROM job WHERE state IN ('pending', 'running')
UNION ALL SELECT 'effect ' || kind || ' ' || reason FROM effect
"""
_LOG: Final = """
SELECT e.id, e.partition, e.seq, a.uid AS app, e.type, e.key, e.payload FROM event e JOIN app a ON a.id = e.app_id
 WHERE a.uid LIKE 'app-%' ORDER BY e.partition, e.seq
"""
_ATTEMPTS: Final = """
SELECT t.*, n.uid, a.uid AS app, extract(epoch FROM t.started_at)::float8 AS started
  FROM attempt t JOIN endpoint n ON n.id = t.endpoint_id JOIN app a ON a.id = n.app_id ORDER BY t.id
"""


class Records:
    """Reads them straight from the database, past every proxy."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def read_state(self, history: History) -> bool:
        """Cursors and what is owed; whether all is at rest."""
        partitions = await self._connection.fetch(_PARTITIONS)
        history.partitions = [Partition(r["id"], r["cursor"], r["head"], r["owned"]) for r in partitions]
        history.owed = [_owed(row) for row in await self._connection.fetch(_OWED)]
        history.unfinished = [row[0] for row in await self._connection.fetch(_UNFINISHED)]
        behind = any(p.cursor != p.head or not p.owned for p in history.partitions)
        return not (behind or history.owed or history.unfinished)

    async def read_all(self, history: History) -> None:
        """The log and the attempts."""
        for row in await self._connection.fetch(_LOG):
            tag = json.loads(row["payload"])
            tag = tag.get("data", tag)["tag"]
            event = format_id(EVENT, row["id"].bytes)
            history.log.append(Logged(event, row["partition"], row["seq"], row["app"], row["type"], row["key"], tag))
        for row in await self._connection.fetch(_ATTEMPTS):
            history.attempts.append(
                Attempt(
                    path=_path(row),
                    event=format_id(EVENT, row["event_id"].bytes),
                    number=row["number"],
                    replay=row["kind"] == "replay",
                    outcome=row["outcome"],
                    reason=row["reason"],
                    sent=row["sent"],
                    status=row["status"],
                    started=row["started"],
                    ended=row["started"] + row["total_us"] / 1e6,
                )
            )


def _path(row: asyncpg.Record) -> str:
    return f"/{row['app'].removeprefix('app-')}/{row['uid']}"


def _owed(row: asyncpg.Record) -> str:
    event = format_id(EVENT, row["event_id"].bytes)
    gone = " deleted" if row["deleted_at"] else " paused" if row["paused"] else ""
    return (
        f"{event} to {_path(row)}{gone}: partition {row['partition']}, seq {row['seq']}, {row['kind']} {row['number']}, "
        f"{row['reason']}, due {row['due_at']}, sender {row['sender']}, line {row['key_hash']}"
    )
