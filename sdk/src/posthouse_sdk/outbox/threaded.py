"""What the outboxes have in common whose drivers block: each works in a thread of its own, by a DB-API connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from posthouse_sdk.outbox.dsn import Dsn
from posthouse_sdk.outbox.row import Row
from posthouse_sdk.outbox.schema import statements
from posthouse_sdk.outbox.store import COUNTED_MAX, DATA_BYTES_MAX, Backlog, DeadRow, Held, Lease, check_version

T = TypeVar("T")

_COLUMNS: Final = "id, uid, type, subject, event_key, app, data, extra, created_at"
_IDS_MAX: Final = 500  # in one statement


class Words(NamedTuple):
    """How a dialect says what the standard does not."""

    place: str  # a parameter
    now: str
    later: str  # now, and so many seconds as the parameter says
    seconds_from: str  # "{}": from there to now
    bytes_of: str  # "{}"
    line: str
    begin: str
    unix_time: str


class ThreadedStore:
    """`Store` by a DB-API connection in autocommit mode. Subclasses say how to connect and what errors mean."""

    words: Words
    poll_seconds: float

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._connection: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="posthouse-outbox")
        self._nudged = asyncio.Event()

    # What a subclass gives

    def _connect(self) -> Any:
        raise NotImplementedError

    def _has_lease_table(self, cursor: Any) -> bool:
        raise NotImplementedError

    def _translated(self, error: Exception) -> Exception | None:
        """The error as one of ours; None where it is not the database's."""
        raise NotImplementedError

    # Store

    async def open(self) -> None:
        check_version(await self._run(self._version), self._dsn.shown)

    async def close(self) -> None:
        def end() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, end)
        finally:
            self._thread.shutdown(wait=False)

    async def claim(self, owner: str, seconds: float) -> bool:
        w = self.words
        statement = (
            f"UPDATE posthouse_outbox_lease SET owner = {w.place}, until = {w.later} WHERE id = 1 "  # noqa: S608
            f"AND (owner IS NULL OR owner = {w.place} OR until < {w.now})"
        )

        def claim(cursor: Any) -> bool:
            cursor.execute(statement, (owner, seconds, owner))
            return bool(cursor.rowcount == 1)

        return await self._run(claim)

    async def release(self, owner: str) -> None:
        p = self.words.place
        await self._execute(
            f"UPDATE posthouse_outbox_lease SET owner = NULL, until = NULL WHERE owner = {p}",  # noqa: S608
            owner,
        )

    async def poll(self, owner: str, polling: bool) -> None:
        """Nobody wakes a relay here: it always polls."""

    async def fetch(self, rows_max: int, bytes_max: int, held: Held) -> list[Row]:
        w, p = self.words, self.words.place
        conditions, parameters = [], list[Any]()
        for expression, values in (
            ("id", held.ids),
            ("coalesce(app, '')", held.apps),
            (f"(CASE WHEN event_key IS NULL THEN '' ELSE {w.line} END)", held.lines),
        ):
            if values:
                conditions.append(f"{expression} NOT IN ({', '.join([p] * len(values))})")
                parameters += values
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        size = w.bytes_of.format("q.data")
        statement = (
            f"SELECT id, uid, type, subject, event_key, app, "  # noqa: S608
            f"CASE WHEN size <= {DATA_BYTES_MAX} THEN data END, extra FROM ("
            f"SELECT q.*, {size} AS size, sum({size}) OVER (ORDER BY q.id ROWS UNBOUNDED PRECEDING) AS upto "
            f"FROM (SELECT * FROM posthouse_outbox {where} ORDER BY id LIMIT {p}) q) w "
            f"WHERE w.upto - w.size < {p} ORDER BY id"
        )
        rows = await self._rows(statement, *parameters, rows_max, bytes_max)
        return [Row(*row) for row in rows]

    async def remove(self, ids: Sequence[int]) -> None:
        await self._run(lambda cursor: self._delete(cursor, "posthouse_outbox", ids))

    async def set_aside(self, row_id: int, reason: str) -> None:
        p = self.words.place

        def move(cursor: Any) -> None:
            with self._transaction(cursor):
                cursor.execute(
                    f"INSERT INTO posthouse_outbox_dead ({_COLUMNS}, reason) "  # noqa: S608
                    f"SELECT {_COLUMNS}, {p} FROM posthouse_outbox WHERE id = {p}",
                    (reason, row_id),
                )
                cursor.execute(f"DELETE FROM posthouse_outbox WHERE id = {p}", (row_id,))  # noqa: S608

        await self._run(move)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def backlog(self) -> Backlog:
        since = self.words.seconds_from.format("created_at")
        ((pending, dead, oldest),) = await self._rows(
            f"SELECT (SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox LIMIT {COUNTED_MAX}) p), "  # noqa: S608
            f"(SELECT count(*) FROM (SELECT 1 FROM posthouse_outbox_dead LIMIT {COUNTED_MAX}) d), "
            f"(SELECT {since} FROM posthouse_outbox ORDER BY id LIMIT 1)"
        )
        return Backlog(pending, dead, max(float(oldest or 0.0), 0.0))

    async def lease(self) -> Lease:
        since = self.words.seconds_from.format("until")
        ((owner, ago),) = await self._rows(f"SELECT owner, {since} FROM posthouse_outbox_lease")  # noqa: S608
        return Lease(owner, -float(ago or 0.0))

    async def clock(self) -> float:
        ((now,),) = await self._rows(f"SELECT {self.words.unix_time}")
        return float(now)

    async def dead(self, limit: int) -> list[DeadRow]:
        since = self.words.seconds_from.format("dead_at")
        rows = await self._rows(
            f"SELECT id, type, subject, event_key, app, data, reason, {since} FROM posthouse_outbox_dead "  # noqa: S608
            f"ORDER BY id LIMIT {self.words.place}",
            limit,
        )
        return [DeadRow(*row)._replace(dead_seconds=float(row[-1])) for row in rows]

    async def retry(self, ids: Sequence[int] | None) -> int:
        columns = "uid, type, subject, event_key, app, data, extra"

        def back(cursor: Any) -> int:
            with self._transaction(cursor):
                cursor.execute("SELECT id FROM posthouse_outbox_dead ORDER BY id")
                wanted = [row[0] for row in cursor.fetchall() if ids is None or row[0] in set(ids)]
                for row_id in wanted:
                    cursor.execute(
                        f"INSERT INTO posthouse_outbox ({columns}) SELECT {columns} FROM posthouse_outbox_dead "  # noqa: S608
                        f"WHERE id = {self.words.place}",
                        (row_id,),
                    )
                self._delete(cursor, "posthouse_outbox_dead", wanted)
            return len(wanted)

        return await self._run(back)

    async def install(self) -> None:
        def make(cursor: Any) -> None:
            for statement in statements(self._dsn.dialect):
                cursor.execute(statement)

        await self._run(make)

    # How

    def _version(self, cursor: Any) -> int | None:
        if not self._has_lease_table(cursor):
            return None
        cursor.execute("SELECT version FROM posthouse_outbox_lease")
        row = cursor.fetchone()
        return None if row is None else int(row[0])

    def _delete(self, cursor: Any, table: str, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), _IDS_MAX):
            some = ids[start : start + _IDS_MAX]
            places = ", ".join([self.words.place] * len(some))
            cursor.execute(f"DELETE FROM {table} WHERE id IN ({places})", tuple(some))  # noqa: S608

    @contextmanager
    def _transaction(self, cursor: Any) -> Iterator[None]:
        cursor.execute(self.words.begin)
        try:
            yield
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")

    async def _execute(self, statement: str, *parameters: Any) -> None:
        await self._run(lambda cursor: cursor.execute(statement, parameters))

    async def _rows(self, statement: str, *parameters: Any) -> list[Any]:
        def read(cursor: Any) -> list[Any]:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

        return await self._run(read)

    async def _run(self, work: Callable[[Any], T]) -> T:
        """Do something with a cursor, in the thread. Raises DatabaseError, NotInstalledError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[Any], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.cursor()
            try:
                return work(cursor)
            finally:
                cursor.close()
        except Exception as error:
            told = self._translated(error)
            if told is None:
                raise
            self._drop()
            raise told from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                if self._translated(error) is None:
                    raise
