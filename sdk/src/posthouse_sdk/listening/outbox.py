"""Events into an outbox that the application has already: in its own database, relayed as all that is in there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from posthouse_sdk.listening.gauges import Held
from posthouse_sdk.listening.sink import HOLD_SECONDS
from posthouse_sdk.listening.stored import StoredSink
from posthouse_sdk.outbox.row import NewRow
from posthouse_sdk.outbox.writing import write_row


class Outbox(StoredSink):
    """Events in an outbox of the application's database: `Outbox(engine.connect)`, `Outbox(lambda: psycopg.connect(dsn))`.

    `connect` opens what `emit` takes (a DB-API connection, a session or connection of SQLAlchemy that is not awaited) and that
    has `commit` and `close`. It is called, and what it opens is used, in a thread of the listener's. The tables are made as for
    any outbox, and a relay of yours takes the events from there.

    It is a transaction of its own, after the application's: an application that dies between the two has the order and not the
    event. Where that must not be, `emit` in the transaction itself. As with a spool, an answer is held until the event is
    committed, for `hold_seconds` at most.

    Raises: ConfigurationError.
    """

    def __init__(self, connect: Callable[[], Any], *, hold_seconds: float = HOLD_SECONDS) -> None:
        super().__init__(_Connection(connect), hold_seconds)

    def held(self) -> Held:
        """What waits to be written; what waits in the outbox, and was published, its relay knows."""
        waiting, since = self._writer.waiting()
        return Held(queued=waiting, oldest_seconds=since, reason=self._writer.reason)


class _Connection:
    """`Rows` by a connection that is kept as long as it works."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self.lock = threading.Lock()
        self._connect = connect
        self._connection: Any = None

    def write(self, rows: Sequence[NewRow]) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            for row in rows:
                write_row(self._connection, row)
            self._connection.commit()
        except BaseException:
            self.close()  # which rolls back
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close_all(self) -> None:
        self.close()

    def forked(self, *, is_closed: bool) -> None:
        self.lock = threading.Lock()
        if not is_closed:
            _abandoned.append(self._connection)
        self._connection = None


_abandoned: list[Any] = []
"""A parent's connections, which a child must not speak on, not even to close them."""
