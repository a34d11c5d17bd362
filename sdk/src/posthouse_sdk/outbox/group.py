"""The rows of one app in one round: published in their order, and where that fails, those found that are why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, assert_never

from posthouse_sdk.outbox.answers import Accepted, Faulty, HeldBack, Refused, Unavailable
from posthouse_sdk.outbox.pauses import Pauses, Stopped, Waits, app_name
from posthouse_sdk.outbox.publisher import Publisher
from posthouse_sdk.outbox.row import Row

FAULTS_MAX: Final = 3  # rows that the server fails at, one alone each, in one round without any that it takes


class Desk(Protocol):
    """What a group needs of its relay."""

    publisher: Publisher
    pauses: Pauses

    def may_send(self) -> None:
        """Asked right before each request. Raises Stopped: another relay may be at work."""

    async def refuse(self, row: Row, reason: str) -> None:
        """Set a row aside. Raises DatabaseError."""

    def accepted(self, at: float) -> None:
        """The server took something, at this time of its own."""


class Group:
    """The rows of one app in one round, published in their order."""

    def __init__(self, desk: Desk, app: str | None, done: list[int]) -> None:
        self._desk = desk
        self._app = app
        self._done = done
        self._left = set[str]()  # lines that began to wait in this round
        self._faults = 0

    async def publish(self, rows: Sequence[Row]) -> None:
        """Publish rows, and where that fails find those that are why. Raises Waits, Stopped, DatabaseError."""
        rows = [row for row in rows if row.line is None or row.line not in self._left]
        if large := [row for row in rows if row.data is None]:
            for row in large:
                await self._desk.refuse(row, "its data are larger than 16 MiB, which no server takes")
            rows = [row for row in rows if row.data is not None]
        if not rows:
            return
        self._desk.may_send()
        answer = await self._desk.publisher.publish(self._app, _body(rows), len(rows))
        match answer:
            case Accepted(at):
                self._accepted(rows, at)
            case Refused(whole=True, reason=reason):
                for row in rows:
                    await self._desk.refuse(row, reason)
            case Refused(reason=reason) if len(rows) == 1:
                await self._desk.refuse(rows[0], reason)
            case Refused(at=index) if index is not None and index < len(rows):
                for part in (rows[:index], rows[index : index + 1], rows[index + 1 :]):
                    await self.publish(part)
            case Faulty(reason) if len(rows) == 1:
                self._fault(rows[0], reason)
            case Refused() | Faulty():
                for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                    await self.publish(part)
            case HeldBack(reason, seconds):
                self._desk.pauses.hold(app_name(self._app), reason, seconds)
                raise Waits
            case Unavailable(reason, seconds, refused):
                raise Stopped(reason, seconds, refused=refused)
            case _:
                assert_never(answer)

    def _accepted(self, rows: Sequence[Row], at: float) -> None:
        self._done += [row.id for row in rows]
        self._faults = 0
        self._desk.accepted(at)
        if self._desk.pauses:
            for what in (app_name(self._app), *{row.line or row.id for row in rows}):
                self._desk.pauses.free(what)

    def _fault(self, row: Row, reason: str) -> None:
        self._faults += 1
        if self._faults >= FAULTS_MAX:
            raise Stopped(reason, None)
        if row.line is not None:
            self._left.add(row.line)
        self._desk.pauses.hold(row.id if row.line is None else row.line, reason, None)


def _body(rows: Sequence[Row]) -> bytes:
    return f"[{', '.join([row.as_json() for row in rows])}]".encode()
