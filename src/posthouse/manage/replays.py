"""Replays: past events sent to an endpoint again, as jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict, Invalid, NotFound
from posthouse.domain.estimate import PACE_MINUTES, PACE_SECONDS_MAX, Pace
from posthouse.domain.ids import APP, ENDPOINT, REPLAY, EndpointId, JobId, format_id, parse_id
from posthouse.domain.limits import (
    EVENT_PATTERNS_MAX,
    REPLAY_COUNTED_MAX,
    REPLAY_DRY_RUN_SECONDS_MAX,
    REPLAY_SPAN_SECONDS_MAX,
    REPLAY_STEP_EVENTS_MAX,
    REPLAYS_LIVE_PER_APP_MAX,
)
from posthouse.domain.replay import Replay, ReplayState, Select, Turn, Wanted, is_wanted
from posthouse.domain.routing import is_pattern
from posthouse.manage.access import audit, find_app
from posthouse.ports.clock import Clock
from posthouse.ports.directory import App, Directory, StoredEndpoint
from posthouse.ports.inspect import Inspector
from posthouse.ports.jobs import ReplayBook

DAY_SECONDS: Final = 86_400

_ACTIONS: Final = {
    Turn.PAUSE: "replay.paused",
    Turn.RESUME: "replay.resumed",
    Turn.CANCEL: "replay.cancelled",
}


class ReplayFields(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; times in unix seconds. Without `until`: up to now."""

    endpoint: str
    since: float
    until: float | None
    select: Select
    types: tuple[str, ...] = ()


class ReplayView(msgspec.Struct, frozen=True):
    """A replay and an estimate of the seconds until everything of it was tried; None where there is no saying."""

    replay: Replay
    eta_seconds: float | None


class Count(msgspec.Struct, frozen=True):
    """What a replay would select if it began now: exactly, or where it is not `exact` at least."""

    wanted: Wanted
    selected: int
    scanned: int
    exact: bool


class Replays:
    """Replays of an app, to an administrator or to the app itself."""

    def __init__(self, directory: Directory, book: ReplayBook, inspector: Inspector, clock: Clock) -> None:
        self._directory = directory
        self._book = book
        self._inspector = inspector
        self._clock = clock

    async def create(self, principal: Principal, app: str, fields: ReplayFields) -> ReplayView:
        """Raises NotFound, Invalid, Conflict (codes `endpoint_disabled`, `too_many_replays`)."""
        wanted, endpoint = await self._wanted(principal, app, fields)
        if not endpoint.enabled:
            raise Conflict(
                "the endpoint is disabled; enable it, then replay", code="endpoint_disabled", path="endpoint"
            )
        replay = Replay(id=JobId(self._clock.new_id()), wanted=wanted, state=ReplayState.PENDING)
        entry = audit(
            principal,
            "replay.created",
            format_id(REPLAY, replay.id),
            app=format_id(APP, wanted.app_id),
            endpoint=format_id(ENDPOINT, endpoint.id),
            select=wanted.select.value,
        )
        made = await self._book.create(replay, entry, live_max=REPLAYS_LIVE_PER_APP_MAX)
        return (await self._estimated([made]))[0]

    async def count(self, principal: Principal, app: str, fields: ReplayFields) -> Count:
        """What it would select now, counted up to a bound. Raises NotFound, Invalid."""
        wanted, endpoint = await self._wanted(principal, app, fields)
        deadline = self._clock.boot() + REPLAY_DRY_RUN_SECONDS_MAX
        bounds = await self._book.bounds(wanted)
        position, selected, scanned = bounds.first, 0, 0
        while position < bounds.last:
            if selected >= REPLAY_COUNTED_MAX or self._clock.boot() >= deadline:
                return Count(wanted, selected, scanned, exact=False)
            scan = await self._book.scan(wanted, after=position, until=bounds.last, limit=REPLAY_STEP_EVENTS_MAX)
            if scan.reached == position:
                # What is being dispatched now may be wanted in a moment, or delivered.
                return Count(wanted, selected, scanned, exact=False)
            position = scan.reached
            scanned += len(scan.candidates)
            selected += sum(is_wanted(candidate, wanted, endpoint.config) for candidate in scan.candidates)
        return Count(wanted, selected, scanned, exact=True)

    async def page(self, principal: Principal, app: str | None, *, before: bytes, limit: int) -> list[ReplayView]:
        """Of an app, or of all that the principal may see; newest first, from below an id. Raises NotFound."""
        app_id = principal.app_id if app is None else (await find_app(self._directory, principal, app)).id
        return await self._estimated(await self._book.page(app_id, before=before, limit=limit))

    async def get(self, principal: Principal, app: str, reference: str) -> ReplayView:
        """Raises NotFound."""
        return (await self._estimated([await self._find(principal, app, reference)]))[0]

    async def turn(self, principal: Principal, app: str, reference: str, turn: Turn) -> ReplayView:
        """Pause, resume or cancel it; asking twice changes nothing. Raises NotFound, Conflict (codes `replay_ended`,
        `endpoint_disabled`)."""
        replay = await self._find(principal, app, reference)
        wanted = replay.wanted
        if turn is Turn.RESUME and replay.state is ReplayState.PAUSED:
            endpoint = await self._directory.get_endpoint(wanted.app_id, format_id(ENDPOINT, wanted.endpoint_id))
            if endpoint is not None and not endpoint.enabled:
                raise Conflict("the endpoint is disabled; enable it, then resume", code="endpoint_disabled")
        entry = audit(principal, _ACTIONS[turn], format_id(REPLAY, replay.id), app=format_id(APP, wanted.app_id))
        changed = await self._book.turn(replay, turn, entry, now=self._clock.now())
        if changed is None:
            raise _not_found(reference)
        return (await self._estimated([changed]))[0]

    async def _find(self, principal: Principal, app: str, reference: str) -> Replay:
        found = await find_app(self._directory, principal, app)
        raw = parse_id(REPLAY, reference)
        replay = None if raw is None else await self._book.get(found.id, JobId(raw))
        if replay is None:
            raise _not_found(reference)
        return replay

    async def _wanted(self, principal: Principal, app: str, fields: ReplayFields) -> tuple[Wanted, StoredEndpoint]:
        found: App = await find_app(self._directory, principal, app)
        endpoint = await self._directory.get_endpoint(found.id, fields.endpoint)
        if endpoint is None:
            raise NotFound(f"there is no endpoint {fields.endpoint[:80]!r}", code="endpoint_not_found", path="endpoint")
        now = self._clock.now()
        until = now if fields.until is None else min(fields.until, now)
        if fields.since >= now:
            raise Invalid("a replay is of what has happened; this is yet to come", path="since")
        if until <= fields.since:
            raise Invalid("a replay ends after it starts; this is not after since", path="until")
        if until - fields.since > REPLAY_SPAN_SECONDS_MAX:
            raise Invalid(
                f"a replay spans at most {REPLAY_SPAN_SECONDS_MAX / DAY_SECONDS:g} days; start several", path="since"
            )
        _check_types(fields.types)
        wanted = Wanted(
            partition=found.partition,
            app_id=found.id,
            endpoint_id=endpoint.id,
            select=fields.select,
            since=fields.since,
            until=until,
            types=fields.types,
        )
        return wanted, endpoint

    async def _estimated(self, replays: Sequence[Replay]) -> list[ReplayView]:
        """With their estimates: one query, however many replays they are."""
        asked = {replay.wanted.endpoint_id for replay in replays if replay.state is ReplayState.RUNNING}
        paces: dict[EndpointId, Pace] = {}
        if asked:
            since = self._clock.now() - PACE_SECONDS_MAX
            paces = await self._inspector.paces(asked, since=since, minutes_max=PACE_MINUTES)
        return [ReplayView(replay, _eta_seconds(replay, paces.get(replay.wanted.endpoint_id))) for replay in replays]


def _eta_seconds(replay: Replay, pace: Pace | None) -> float | None:
    if replay.state is ReplayState.FINISHED:
        return 0.0
    if replay.total is None or pace is None or not pace.open:
        return None
    left = max(replay.total - replay.sent, 0)
    return pace.drain_seconds(left)


def _check_types(types: Sequence[str]) -> None:
    if len(types) > EVENT_PATTERNS_MAX:
        raise Invalid(f"a replay has at most {EVENT_PATTERNS_MAX} patterns", path="types")
    for index, pattern in enumerate(types):
        if not is_pattern(pattern):
            raise Invalid(
                "a pattern is an event type (order.created), a beginning (order.*), or * for all",
                path=f"types[{index}]",
            )


def _not_found(reference: str) -> NotFound:
    return NotFound(f"there is no replay {reference[:80]!r}", code="replay_not_found")
