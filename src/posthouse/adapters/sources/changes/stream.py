"""A connection for replication: the commands that only such a one takes, and the stream of a slot.

libpq keeps what it received in one buffer that grows only for a single message that is larger; it is asked to read when all
that it holds was taken. So whoever does not read leaves the log on the server.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from posthouse.adapters.sources.changes import pgoutput
from posthouse.adapters.sources.changes.bounded import bounded
from posthouse.adapters.sources.changes.pgoutput import Keepalive
from posthouse.adapters.sources.changes.position import Timelines, format_lsn, parse_lsn
from posthouse.adapters.sources.changes.refusals import translated
from posthouse.adapters.sources.changes.values import SESSION
from posthouse.domain.errors import SourceUnavailable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

CONNECT_SECONDS: Final = 10
ANSWER_SECONDS_MAX: Final = 30.0
STATUS_SECONDS_MAX: Final = 10.0
"""Between two words to the server, which otherwise takes us for dead after its `wal_sender_timeout`."""

SILENCE_SECONDS_MAX: Final = 60.0
"""A server that was asked for so long and does not answer is taken for dead."""

UNREAD_SECONDS_MAX: Final = 30.0
"""A stream that nobody reads for so long is given back: a database that is shut down waits until its readers have all."""

FORGET_SECONDS: Final = 0.5
"""Between two words to the server that only say that it need not keep what others wrote."""

LOOK_SECONDS: Final = 1.0
"""Between two looks into the connection while nothing comes: TLS may hold something that its socket does not tell of."""


async def connect(dsn: str, where: str, *, replication: bool = False) -> psycopg.AsyncConnection:
    """A connection with the session's settings. Raises SourceUnavailable, SourceRefused."""
    options: dict[str, Any] = {"replication": "database"} if replication else {}
    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_SECONDS,
            client_encoding="utf8",
            **options,
        )
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise translated(error, where) from error
    try:
        await bounded(connection, _set(connection), CONNECT_SECONDS)
    except (psycopg.Error, OSError, TimeoutError) as error:
        connection.pgconn.finish()
        raise translated(error, where) from error
    except BaseException:
        connection.pgconn.finish()
        raise
    return connection


async def _set(connection: psycopg.AsyncConnection) -> None:
    for setting in SESSION:
        await connection.execute(setting)


class System:
    """Who a server is (IDENTIFY_SYSTEM): its identifier, its timelines, and where its log ends."""

    def __init__(self, identifier: str, timelines: Timelines, end: int) -> None:
        self.identifier = identifier
        self.timelines = timelines
        self.end = end


class Stream:
    """A connection for replication to one database. All methods but `close` raise SourceUnavailable and SourceRefused."""

    def __init__(self, connection: psycopg.AsyncConnection, where: str) -> None:
        self._connection = connection
        self._pgconn: PGconn = connection.pgconn
        self._where = where
        self._slot = ""
        self._closed = False
        self._status_seconds = STATUS_SECONDS_MAX
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._asked_at: float | None = None  # since when an answer is due
        self._taken_at = self._told_at = 0.0

        self.received = 0
        """Everything before this was sent to us, once what was received is taken."""
        self.flushed = 0
        """Of everything before this the server need keep nothing; told with the next word to it."""

    @classmethod
    async def open(cls, dsn: str, where: str) -> Stream:
        return cls(await connect(dsn, where, replication=True), where)

    async def identify(self) -> System:
        try:
            return await bounded(self._connection, self._identify(), ANSWER_SECONDS_MAX)
        except (psycopg.Error, OSError, TimeoutError, ValueError) as error:
            raise translated(error, self._where) from error

    async def _identify(self) -> System:
        cursor = await self._connection.execute("IDENTIFY_SYSTEM")
        row = await cursor.fetchone()
        if row is None:
            raise SourceUnavailable(f"{self._where}: it does not say who it is")
        identifier, timeline, end = str(row[0]), int(row[1]), parse_lsn(row[2])
        history = ""
        if timeline > 1:
            cursor = await self._connection.execute(sql.SQL("TIMELINE_HISTORY {}").format(sql.Literal(timeline)))
            found = await cursor.fetchone()
            text = found[1] if found is not None else ""
            history = text.decode() if isinstance(text, bytes) else str(text)
        return System(identifier, Timelines(timeline, history), end)

    async def start(self, slot: str, publication: str, lsn: int, *, flushed: int) -> None:
        """Begin the stream behind a place in the log: or behind what was flushed before, where that is further."""
        self._slot = slot
        command = sql.SQL(
            "START_REPLICATION SLOT {slot} LOGICAL {lsn} (proto_version '1', publication_names {names}, messages "
            "'true')"
        ).format(
            slot=sql.Identifier(slot),
            lsn=sql.SQL(format_lsn(lsn)),
            names=sql.Literal(sql.Identifier(publication).as_string(self._connection)),
        )
        try:
            timeout = await bounded(self._connection, self._timeout(), ANSWER_SECONDS_MAX)
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._ask(command.as_bytes(self._connection))
        except (psycopg.Error, OSError, TimeoutError, ValueError) as error:
            raise translated(error, self._where, slot=slot) from error
        if timeout:
            self._status_seconds = min(STATUS_SECONDS_MAX, timeout / 4)
        self.received, self.flushed = lsn, flushed
        self._taken_at = time.monotonic()
        self._tick()

    async def _timeout(self) -> float:
        """After how many seconds of silence the server takes us for dead; 0 for never."""
        cursor = await self._connection.execute("SHOW wal_sender_timeout")
        row = await cursor.fetchone()
        return _seconds(str(row[0])) if row is not None else 0.0

    async def _ask(self, command: bytes) -> None:
        """Send a command whose answer is a stream."""
        self._pgconn.send_query(command)
        while True:
            self._pgconn.flush()
            self._pgconn.consume_input()
            if not self._pgconn.is_busy():
                break
            await self._readable(LOOK_SECONDS)
        result = self._pgconn.get_result()
        if result is None or result.status != ExecStatus.COPY_BOTH:
            raise self._failed(result)

    def take(self) -> pgoutput.Received | None:
        """The next message that is here, None where none is: without waiting. Keepalives are dealt with."""
        pgconn = self._pgconn
        self._taken_at = time.monotonic()
        read = False
        try:
            while True:
                size, data = pgconn.get_copy_data(1)
                if size > 0:
                    frame = pgoutput.unframed(bytes(data))
                    self._asked_at = None
                    if not isinstance(frame, Keepalive):
                        return pgoutput.parse(frame)
                    self.received = max(self.received, frame.end)
                    if frame.answer:
                        self.tell()
                elif size == 0 and not read:
                    pgconn.consume_input()
                    read = True
                elif size == 0:
                    return None
                else:
                    raise self._failed(pgconn.get_result())
        except pgoutput.ProtocolError as error:
            raise SourceUnavailable(f"{self._where}: what it sends cannot be read: {error}") from error
        except (psycopg.Error, OSError) as error:
            raise translated(error, self._where, slot=self._slot) from error

    async def wait(self, seconds: float) -> None:
        """Until there may be something to take, at most so long."""
        if self._asked_at is not None and time.monotonic() - self._asked_at > SILENCE_SECONDS_MAX:
            raise SourceUnavailable(f"{self._where}: no answer for {SILENCE_SECONDS_MAX:.0f} s")
        await self._readable(min(seconds, LOOK_SECONDS))

    def tell(self, *, ask: bool = False) -> None:
        """Tell the server how far we are; `ask` for how far it is."""
        if self._closed:
            return
        if ask and self._asked_at is None:
            self._asked_at = time.monotonic()
        word = pgoutput.status(
            received=max(self.received, self.flushed), flushed=self.flushed, now=time.time(), answer=ask
        )
        try:
            self._told_at = time.monotonic()
            self._pgconn.put_copy_data(word)
            self._pgconn.flush()  # what does not leave at once leaves with the next word
        except psycopg.Error as error:
            raise translated(error, self._where, slot=self._slot) from error

    def forget(self, lsn: int) -> None:
        """Nothing before this place is for us: the server is told soon."""
        if lsn > self.flushed:
            self.flushed = lsn
            if time.monotonic() - self._told_at > FORGET_SECONDS:
                self.tell()

    def _tick(self) -> None:
        """Tell the server that we are here, whether anybody reads or not; for a while."""
        if self._waiting is None and time.monotonic() - self._taken_at > UNREAD_SECONDS_MAX:
            self.close()
            return
        with suppress(SourceUnavailable):  # whoever reads will meet it
            self.tell(ask=True)
        self._timer = asyncio.get_running_loop().call_later(self._status_seconds, self._tick)

    async def _readable(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = waiting = loop.create_future()
        socket = self._pgconn.socket
        loop.add_reader(socket, _done, waiting)
        timer = loop.call_later(max(seconds, 0.0), _done, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            if not self._closed:
                loop.remove_reader(socket)
            self._waiting = None

    def _failed(self, result: object) -> Exception:
        """Why there is no stream (any more)."""
        message = getattr(result, "error_message", b"") or self._pgconn.error_message or b"the stream has ended"
        field = getattr(result, "error_field", None)
        state = field(psycopg.pq.DiagnosticField.SQLSTATE) if field is not None else None
        text = " ".join(message.decode("utf-8", "replace").removeprefix("ERROR:").removeprefix("FATAL:").split())
        error = psycopg.errors.lookup(state.decode())(text) if state else psycopg.OperationalError(text)
        return translated(error, self._where, slot=self._slot)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End it at once, whoever waits; the server notices."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            asyncio.get_running_loop().remove_reader(self._pgconn.socket)
        self._pgconn.finish()


def _done(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _seconds(said: str) -> float:
    """A setting like `1min` or `500ms`; 0 where it is switched off."""
    for unit, factor in (("ms", 0.001), ("min", 60.0), ("s", 1.0), ("h", 3_600.0), ("d", 86_400.0)):
        if said.endswith(unit):
            return float(said.removesuffix(unit)) * factor
    return float(said) / 1_000
