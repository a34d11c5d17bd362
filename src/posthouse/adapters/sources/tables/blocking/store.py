"""What table triggers wrote into a database behind a blocking driver: polled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from posthouse.adapters.sources.tables.blocking.dialect import (
    Dialect,
    Session,
    check_tables,
    move,
    standing,
    transaction,
)
from posthouse.adapters.sources.tables.change import ROW_BYTES_MAX, Change
from posthouse.adapters.sources.tables.pauses import Pauses
from posthouse.adapters.sources.tables.place import COUNTED_MAX, KEPT_CHANGES_MAX, PRUNED_MAX, Standing, check_version
from posthouse.adapters.sources.tables.settings import Settings
from posthouse.ports.sources import Lag

T = TypeVar("T")

POLL_SECONDS_MIN: Final = 0.005
POLL_SECONDS_MAX: Final = 0.2
COUNTED_SECONDS: Final = 60.0  # between two looks at whether too many are kept
KEEPS_NONE: Final = 1e18  # in place of the time since when changes are kept


class BlockingStore:
    """`Store` by a dialect, in a thread."""

    def __init__(self, dialect: Dialect, trigger_id: str, settings: Settings) -> None:
        self._session = Session(dialect)
        self._dialect = dialect
        self._id = trigger_id
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="posthouse-table")
        self._loop = asyncio.get_running_loop()
        self._pauses = Pauses(self._loop.time, POLL_SECONDS_MIN, POLL_SECONDS_MAX)
        self._counted_at = float("-inf")
        self._kept_from = 0  # no lower id is kept
        self._fetching, self._lagging = _fetching(dialect), _lagging(dialect)

    async def open(self) -> None:
        place = self._dialect.words.place

        def begin(cursor: Any) -> None:
            self._dialect.check_server(cursor)
            if not check_tables(self._dialect, cursor):
                check_version(None, self._dialect.dsn.shown)
            update = "UPDATE posthouse_change_trigger SET kept_since ="
            if self._settings.keep_seconds:
                now = self._dialect.words.unix_time.format(self._dialect.words.now)
                cursor.execute(f"{update} {now} WHERE trigger_id = {place} AND kept_since = {KEEPS_NONE}", (self._id,))
            else:
                cursor.execute(f"{update} {KEEPS_NONE} WHERE trigger_id = {place}", (self._id,))

        await self._run(begin)

    async def close(self) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._session.close)
        finally:
            self._thread.shutdown(wait=False)

    async def fetch(self, limit: int, bytes_max: int) -> list[Change]:
        def read(cursor: Any) -> list[Change]:
            cursor.execute(self._fetching, (self._id, limit, bytes_max))
            return [Change(*row)._replace(at=float(row[-1])) for row in cursor.fetchall()]

        changes = await self._run(read)
        self._pauses.came(len(changes))
        return changes

    async def settle(self, ids: Sequence[int]) -> None:
        target = "posthouse_change_kept" if self._settings.keep_seconds else None

        def settle(cursor: Any) -> None:
            with transaction(cursor, self._dialect.words):
                move(cursor, self._dialect.words, self._id, ids, "posthouse_change", target)

        await self._run(settle)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, self._pauses.next()))

    async def prune(self) -> bool:
        words = self._dialect.words
        published, created, now = (words.unix_time.format(time) for time in ("published_at", "created_at", words.now))
        oldest = (
            f"SELECT id, {created} FROM (SELECT id, created_at, published_at FROM posthouse_change_kept "  # noqa: S608
            f"WHERE trigger_id = {words.place} ORDER BY id LIMIT {PRUNED_MAX}) o "
            f"WHERE {published} < {now} - {words.place} OR id < {words.place}"
        )

        def prune(cursor: Any) -> bool:
            if self._loop.time() - self._counted_at > COUNTED_SECONDS:
                self._counted_at = self._loop.time()
                self._kept_from = self._first_kept(cursor)
            cursor.execute(oldest, (self._id, self._settings.keep_seconds, self._kept_from))
            gone = list(cursor.fetchall())
            if gone:
                with transaction(cursor, words):
                    move(cursor, words, self._id, [row[0] for row in gone], "posthouse_change_kept", None)
                    since = max(float(row[1]) for row in gone) + 1e-6
                    cursor.execute(
                        f"UPDATE posthouse_change_trigger SET kept_since = {words.place} "  # noqa: S608
                        f"WHERE trigger_id = {words.place} AND (kept_since IS NULL OR kept_since < {words.place})",
                        (since, self._id, since),
                    )
            return len(gone) == PRUNED_MAX

        return await self._run(prune)

    async def lag(self) -> Lag:
        def ask(cursor: Any) -> Lag:
            cursor.execute(self._lagging, (self._id, self._id))
            pending, seconds = cursor.fetchone()
            return Lag(pending=int(pending), seconds=max(float(seconds or 0.0), 0.0))

        return await self._run(ask)

    async def standing(self) -> Standing:
        def compare(cursor: Any) -> Standing:
            self._dialect.check_server(cursor)
            table = self._dialect.watched(cursor, self._settings.table)
            there = self._dialect.row_triggers(cursor, self._id)
            return standing(self._dialect, cursor, self._id, self._settings, table, there)

        return await self._run(compare)

    def _first_kept(self, cursor: Any) -> int:
        cursor.execute(
            f"SELECT id FROM posthouse_change_kept WHERE trigger_id = {self._dialect.words.place} "  # noqa: S608
            f"ORDER BY id DESC LIMIT 1 OFFSET {KEPT_CHANGES_MAX}",
            (self._id,),
        )
        row = cursor.fetchone()
        return 0 if row is None else int(row[0])

    async def _run(self, work: Callable[[Any], T]) -> T:
        return await self._loop.run_in_executor(self._thread, self._session.run, work)


def _fetching(dialect: Dialect) -> str:
    """The first changes, as many as both limits allow. Sizes are summed up over narrow rows first."""
    w, p = dialect.words, dialect.words.place
    old, new = w.bytes_of.format("old_row"), w.bytes_of.format("new_row")
    return f"""\
SELECT c.id, c.uid, c.op, c.table_schema, c.table_name, c.row_key,
       CASE WHEN w.old_size <= {ROW_BYTES_MAX} THEN c.old_row END, CASE WHEN w.new_size <= {ROW_BYTES_MAX} THEN c.new_row END,
       c.note, {w.unix_time.format("c.created_at")}
  FROM (SELECT q.id, q.old_size, q.new_size,
               sum(q.old_size + q.new_size) OVER (ORDER BY q.id ROWS UNBOUNDED PRECEDING) AS upto
          FROM (SELECT id, coalesce({old}, 0) AS old_size, coalesce({new}, 0) AS new_size
                  FROM posthouse_change WHERE trigger_id = {p} ORDER BY id LIMIT {p}) q) w
  JOIN posthouse_change c ON c.id = w.id
 WHERE w.upto - w.old_size - w.new_size < {p}
 ORDER BY c.id"""  # noqa: S608


def _lagging(dialect: Dialect) -> str:
    w, p = dialect.words, dialect.words.place
    now, created = w.unix_time.format(w.now), w.unix_time.format("created_at")
    return (
        f"SELECT (SELECT count(*) FROM (SELECT 1 FROM posthouse_change WHERE trigger_id = {p} LIMIT {COUNTED_MAX}) p), "  # noqa: S608
        f"(SELECT {now} - {created} FROM posthouse_change WHERE trigger_id = {p} ORDER BY id LIMIT 1)"
    )
