"""A replay store in the user's own database, by any DB-API 2.0 driver: sqlite3, psycopg, psycopg2, pymysql, MySQLdb, …

A handler whose work is in that same database can confirm in its own transaction (`confirm_within`): then the work and its
confirmation are one, and the event takes effect exactly once.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from posthouse_sdk.errors import ReceiverError
from posthouse_sdk.received import Claimed, ReceivedEvent
from posthouse_sdk.receiving.store import CLAIM_SECONDS, KEEP_SECONDS, Claim
from posthouse_sdk.receiving.stores.flow import Flow, Flows, Question, Told
from posthouse_sdk.receiving.stores.statements import TABLE

IDLE_CONNECTIONS_MAX: Final = 4

_DIALECTS: Final = {
    "sqlite3": "sqlite",
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "pg8000": "postgresql",
    "pymysql": "mysql",
    "MySQLdb": "mysql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PARAMETER: Final = re.compile(r":([a-z_]+)")


class Connection(Protocol):
    """A DB-API connection."""

    def cursor(self) -> Any: ...

    def commit(self) -> Any: ...

    def rollback(self) -> Any: ...

    def close(self) -> Any: ...


class _Kept:
    """The idle connections of one process. Its lock is not a child's either: whoever held it is not there to let it go."""

    def __init__(self) -> None:
        self.process: Final = os.getpid()
        self.lock: Final = threading.Lock()
        self.idle: Final[list[Connection]] = []


_abandoned: list[_Kept] = []
"""A parent's connections, which a child must not speak on, not even to close them."""


class DbApiReplayStore:
    """`connect` opens a connection; up to IDLE_CONNECTIONS_MAX are kept open for the next call (of SQLite, none).
    A process that was forked opens its own.

    Raises: ReceiverError for a driver that is not known (`dialect`, and `paramstyle` of PEP 249, tell it), a table whose name
    is no identifier, or spans that make no sense; what `connect` raises. Calls raise the driver's errors, and ReplayStoreError
    where the table is missing.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        table: str = TABLE,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        dialect: str | None = None,
        paramstyle: str | None = None,
    ) -> None:
        self._connect: Final = connect
        self._kept = _Kept()
        connection = connect()
        dialect, self._paramstyle = _spoken(connection, dialect, paramstyle)
        self._keeps: Final = dialect != "sqlite"  # whose connections belong to a thread
        self._put_back(connection)
        self._flows: Final = Flows(dialect, table=table, claim_seconds=claim_seconds, keep_seconds=keep_seconds)

    def create_table(self) -> None:
        """Make the table, unless it is there."""
        self._run(self._flows.create_table())

    def claim(self, key: str, token: str) -> Claim:
        claim = self._run(self._flows.claim(key, token))
        assert claim is not None
        return claim

    def confirm(self, key: str, token: str) -> None:
        self._run(self._flows.confirm(key))

    def confirm_within(self, connection: Connection, event: ReceivedEvent[Any]) -> None:
        """Confirm an event in a transaction of the caller's, who commits it before the handler returns.

        Raises: ClaimLostError, upon which the caller must roll back; ReceiverError for an event that was not claimed.
        """
        claimed = claim_of(event)
        self._follow(connection, self._flows.confirm_own(claimed.key, claimed.token), lambda: None)

    def release(self, key: str, token: str) -> None:
        self._run(self._flows.release(key, token))

    def forget(self, key: str) -> None:
        self._run(self._flows.forget(key))

    def close(self) -> None:
        """Close the connections that are kept."""
        kept = self._kept_here()
        with kept.lock:
            connections, kept.idle[:] = list(kept.idle), []
        for connection in connections:
            connection.close()

    def _run(self, flow: Flow) -> Claim | None:
        kept = self._kept_here()
        with kept.lock:
            connection = kept.idle.pop() if kept.idle else None
        if connection is not None and not self._answers(connection):
            connection = None
        if connection is None:
            connection = self._connect()
        try:
            result = self._follow(connection, flow, connection.commit)
        except BaseException:
            connection.close()  # whatever state it is in
            raise
        self._put_back(connection)
        return result

    def _answers(self, connection: Connection) -> bool:
        """Whether a connection that has lain idle is still one."""
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            cursor.close()
        except Exception:  # noqa: BLE001 - every driver has errors of its own, and each means: open another one
            connection.close()
            return False
        return True

    def _put_back(self, connection: Connection) -> None:
        kept = self._kept_here()
        with kept.lock:
            if self._keeps and len(kept.idle) < IDLE_CONNECTIONS_MAX:
                kept.idle.append(connection)
                return
        connection.close()

    def _kept_here(self) -> _Kept:
        """What this process keeps. Of two threads that are the first of a child, one may keep what nobody finds again."""
        kept = self._kept
        if kept.process != os.getpid():
            _abandoned.append(kept)
            kept = self._kept = _Kept()
        return kept

    def _follow(self, connection: Connection, flow: Flow, after_each: Callable[[], Any]) -> Claim | None:
        cursor = connection.cursor()
        try:
            question = next(flow)
            while True:
                told = self._ask(cursor, question)
                after_each()
                question = flow.send(told)
        except StopIteration as end:
            result: Claim | None = end.value
            return result
        finally:
            cursor.close()

    def _ask(self, cursor: Any, question: Question) -> Told:
        sql, values = spelled(question, self._paramstyle)
        try:
            cursor.execute(sql, values)
        except Exception as error:
            explained = self._flows.explained(error)
            if explained is error:
                raise
            raise explained from error
        return Told(cursor.rowcount, cursor.fetchone() if question.reads else None)


def claim_of(event: ReceivedEvent[Any]) -> Claimed:
    """What an event is claimed under.

    Raises: ReceiverError where it is not.
    """
    if event.claim is None:
        raise ReceiverError("this event was not claimed: it comes from no Gate or Receiver with a replay store")
    return event.claim


def spelled(question: Question, paramstyle: str) -> tuple[str, Any]:
    """A question with its parameters written in one of the styles of PEP 249."""
    names = _PARAMETER.findall(question.sql)
    match paramstyle:
        case "named":
            return question.sql, dict(question.values)
        case "pyformat":
            return _PARAMETER.sub(r"%(\1)s", question.sql), dict(question.values)
        case "qmark":
            return _PARAMETER.sub("?", question.sql), [question.values[name] for name in names]
        case "format":
            return _PARAMETER.sub("%s", question.sql), [question.values[name] for name in names]
        case _:
            raise ReceiverError(
                f"paramstyle {paramstyle!r} is not known here; there are named, pyformat, qmark and format"
            )


def _spoken(connection: Connection, dialect: str | None, paramstyle: str | None) -> tuple[str, str]:
    for cls in type(connection).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in _DIALECTS:
            module = sys.modules["mysql.connector" if root == "mysql" else root]
            return dialect or _DIALECTS[root], paramstyle or module.paramstyle
    if dialect is None or paramstyle is None:
        raise ReceiverError(
            f"a {type(connection).__module__}.{type(connection).__qualname__} is no connection of a driver known here "
            f"({', '.join(_DIALECTS)}): say dialect and paramstyle"
        )
    return dialect, paramstyle
