"""The live stream: events and attempts as they come, to whoever may see them, from now or from a position on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid, Overloaded, Unauthorised
from posthouse.domain.ids import APP, AppId, format_id
from posthouse.domain.limits import STREAMS_MAX, STREAMS_PER_APP_MAX
from posthouse.domain.position import Position
from posthouse.manage.access import find_app
from posthouse.manage.stream_ends import Lookout
from posthouse.manage.stream_reader import POSITION_PATH, Stream, expired
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.stream import Ends, StreamSource, Wanted

DAY_SECONDS: Final = 86_400


class Kind(StrEnum):
    """What a stream may carry."""

    EVENTS = "events"
    ATTEMPTS = "attempts"


class Streams:
    """The streams of one process. `retention_days` is how long what they tell of is kept."""

    def __init__(
        self,
        source: StreamSource,
        directory: Directory,
        clock: Clock,
        *,
        retention_days: int,
        streams_max: int = STREAMS_MAX,
        per_app_max: int = STREAMS_PER_APP_MAX,
    ) -> None:
        self._source = source
        self._directory = directory
        self._clock = clock
        self._retention_seconds = retention_days * DAY_SECONDS
        self._streams_max = streams_max
        self._per_app_max = per_app_max
        self._held = Counter[AppId | None]()
        self.lookout = Lookout(source, clock)

    @property
    def count(self) -> int:
        return self._held.total()

    async def open(
        self,
        principal: Principal,
        still: Callable[[], Awaitable[object]],
        *,
        app: str | None,
        types: tuple[str, ...] | None,
        kinds: frozenset[Kind],
        data: bool,
        position: Position | None,
    ) -> Stream:
        """A stream from a position on, or from now, for the holder of a key: an administrator's tells of all, or of one app;
        an app's of itself. It holds a place until it is released, and ends once `still` raises Unauthorised.

        Raises Overloaded (too many streams, or the server stops), NotFound (the app), StoreUnavailable, and Invalid:
        `position_unknown`, `position_expired`, `position_of_other_kinds`.
        """
        app_id, partition = await self._scope(principal, app)
        self._take(principal.app_id)
        try:
            ends, at = await self.lookout.look()
            now = _now(ends, at, kinds, partition)
            if position is not None:
                self._check(position, now)
            self.lookout.begin()
        except BaseException:
            self._release(principal.app_id)
            raise

        async def may_go_on() -> bool:
            try:
                await still()
            except Unauthorised:
                return False
            return True

        return Stream(
            self.lookout,
            self._source,
            self._clock,
            position or now,
            wanted=Wanted(app_id, types),
            data=data,
            redactions=self._directory.redactions,
            may_go_on=may_go_on,
            lasts=self._lasts,
            release=lambda: self._release(principal.app_id),
        )

    async def _scope(self, principal: Principal, app: str | None) -> tuple[AppId | None, int | None]:
        """The app that the stream is of, and the partition that holds all of it; neither where it is the platform's."""
        if principal.app_id is not None and app is None:
            app = format_id(APP, principal.app_id)
        if app is None:
            return None, None
        found = await find_app(self._directory, principal, app)
        return found.id, found.partition

    def _take(self, app_id: AppId | None) -> None:
        if self.lookout.over.is_set():
            raise Overloaded("this server is stopping; connect again", retry_after=2)
        if self.count >= self._streams_max:
            raise Overloaded(f"{self._streams_max} streams are open at this server, and it has no more", retry_after=5)
        if app_id is not None and self._held[app_id] >= self._per_app_max:
            raise Overloaded(
                f"{self._per_app_max} streams of this app are open at this server, and an app gets no more: close one",
                retry_after=5,
            )
        self._held[app_id] += 1

    def _release(self, app_id: AppId | None) -> None:
        self._held[app_id] -= 1
        if self._held[app_id] == 0:
            del self._held[app_id]
        if self.count == 0:
            self.lookout.pause()

    def _lasts(self, position: Position) -> bool:
        return position.at >= self._clock.now() - self._retention_seconds

    def _check(self, position: Position, now: Position) -> None:
        """Raises Invalid where what follows a position cannot be told."""
        for its, ours in ((position.events, now.events), (position.attempts, now.attempts)):
            if (its is None) is not (ours is None):
                raise Invalid(
                    "this position is of a stream of other kinds; ask for the same kinds, or begin without it",
                    path=POSITION_PATH,
                    code="position_of_other_kinds",
                )
            if its is not None and ours is not None and its.keys() != ours.keys():
                raise _unknown()
        ahead = now.events or {}
        if any(seq > ahead[partition] for partition, seq in (position.events or {}).items()):
            raise _unknown()
        if not self._lasts(position):
            raise expired()


def _now(ends: Ends, at: float, kinds: frozenset[Kind], partition: int | None) -> Position:
    """The position at the ends."""
    partitions = ends.events.keys() if partition is None else (partition,)
    return Position(
        events={p: ends.events[p] for p in partitions} if Kind.EVENTS in kinds else None,
        attempts={p: ends.attempts.get(p, ends.before) for p in partitions} if Kind.ATTEMPTS in kinds else None,
        at=at,
    )


def _unknown() -> Invalid:
    return Invalid(
        "this position is not of this log: it is beyond its end, or of other partitions; begin without it",
        path=POSITION_PATH,
        code="position_unknown",
    )
