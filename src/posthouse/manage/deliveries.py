"""What was published, tried and is owed; sending again, and not sending any more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.delivery import AttemptOutcome, OwedReason
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.estimate import PACE_MINUTES, PACE_SECONDS_MAX, Pace, eta_seconds
from posthouse.domain.event import Event
from posthouse.domain.ids import (
    APP,
    ATTEMPT,
    ENDPOINT,
    EVENT,
    AttemptId,
    EndpointId,
    EventId,
    format_id,
    lower_bound,
    parse_id,
)
from posthouse.domain.limits import OWED_AHEAD_COUNTED_MAX, OWED_COUNTED_MAX, ROUTES_SHOWN_MAX, STATS_SECONDS_MAX
from posthouse.intake.parse import check_type
from posthouse.manage.access import admin_only, audit, endpoint_of, find_app
from posthouse.manage.explain import Explainer, Explanation, draft_of
from posthouse.manage.requests import RequestView, Signed, request_of, shown, signed_of
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Audit, Directory
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.inspect import (
    AttemptFacts,
    AttemptRecord,
    EndpointStats,
    EventFacts,
    Found,
    Inspector,
    OwedFacts,
    OwedReasons,
    Routes,
    Span,
    Where,
)
from posthouse.ports.writing import WRITTEN_HERE, Writer


class Deliveries:
    """Events, attempts and owed deliveries: of one app, to an administrator or to the app itself; without an
    app, of all that the principal may see."""

    def __init__(
        self,
        directory: Directory,
        inspector: Inspector,
        clock: Clock,
        explainer: Explainer,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
    ) -> None:
        self._directory = directory
        self._inspector = inspector
        self._clock = clock
        self._explainer = explainer
        self._expressions = expressions
        self._writer = writer

    async def events(
        self,
        principal: Principal,
        app: str | None,
        span: Span,
        *,
        type: str | None,
        subject: str | None = None,
        key: str | None = None,
        cause: str | None = None,
    ) -> Found[EventFacts]:
        where = await self._where(principal, app)
        _check_filter(type)
        cause_id = None if cause is None else _event_id(cause)
        return await self._inspector.events(where, span, type=type, subject=subject, key=key, cause=cause_id)

    async def event(self, principal: Principal, app: str | None, reference: str) -> tuple[EventFacts, Event, Routes]:
        """An event, its payload as it may be shown, and the first of the ways it took. Raises NotFound."""
        where = await self._where(principal, app)
        found = await self._inspector.event(where, _event_id(reference))
        if found is None:
            raise _event_not_found(reference)
        facts, event = found
        routes = await self._inspector.event_routes(where, facts.id, limit=ROUTES_SHOWN_MAX)
        return facts, await self._shown(event), routes

    async def explanation(self, principal: Principal, reference: str) -> Explanation:
        """Whom an event would reach today, and why nobody else: it tells of other apps, unless it is addressed to one. Raises
        NotFound, Forbidden."""
        found = await self._inspector.event(await self._where(principal, None), _event_id(reference))
        if found is None:
            raise _event_not_found(reference)
        _, event = found
        if event.app_id is None:
            admin_only(principal)
        return await self._explainer.explain(draft_of(event))

    async def event_attempts(
        self, principal: Principal, app: str | None, reference: str, span: Span
    ) -> list[AttemptFacts]:
        """Raises NotFound."""
        where = await self._where(principal, app)
        event_id = _event_id(reference)
        attempts = await self._inspector.event_attempts(where, event_id, span)
        if not attempts and await self._inspector.event(where, event_id) is None:
            raise _event_not_found(reference)
        return attempts

    async def attempts(
        self,
        principal: Principal,
        app: str | None,
        span: Span,
        *,
        endpoint: str | None,
        outcome: AttemptOutcome | None,
        type: str | None,
    ) -> Found[AttemptFacts]:
        where = await self._where(principal, app)
        _check_filter(type)
        endpoint_id = await self._endpoint_id(where, endpoint)
        return await self._inspector.attempts(where, span, endpoint_id=endpoint_id, outcome=outcome, type=type)

    async def attempt(
        self, principal: Principal, app: str | None, reference: str
    ) -> tuple[AttemptRecord, RequestView | None, tuple[Signed, ...] | None]:
        """An attempt and its request, made again from what it was made of, with what the event's type redacts masked; and what
        was signed of it, None where that cannot be made again. Raises NotFound."""
        where = await self._where(principal, app)
        raw = parse_id(ATTEMPT, reference)
        found = None if raw is None else await self._inspector.attempt(where, AttemptId(raw))
        if found is None:
            raise NotFound(f"there is no attempt {reference[:80]!r}", code="attempt_not_found")
        masked = False
        if (event := found.event) is not None:
            found = msgspec.structs.replace(found, event=await self._shown(event))
            masked = found.event is not event
        return (
            found,
            await request_of(found, self._expressions, self._writer),
            await signed_of(found, self._expressions, self._writer, masked=masked),
        )

    async def _shown(self, event: Event) -> Event:
        """The event with what its type redacts masked."""
        rules = await self._directory.redactions([event.type])
        return shown(event, rules.get(event.type, ()))

    async def owed(
        self,
        principal: Principal,
        app: str | None,
        *,
        before: tuple[bytes, bytes],
        limit: int,
        endpoint: str | None,
        reason: OwedReason | None = None,
        newest: bool = True,
    ) -> Found[OwedFacts]:
        where = await self._where(principal, app)
        endpoint_id = await self._endpoint_id(where, endpoint)
        found = await self._inspector.owed(
            where, before=before, limit=limit, endpoint_id=endpoint_id, reason=reason, newest=newest
        )
        return Found(await self._estimated(found.rows), found.reached)

    async def owed_reasons(self, principal: Principal, app: str | None, *, endpoint: str | None) -> OwedReasons:
        where = await self._where(principal, app)
        endpoint_id = await self._endpoint_id(where, endpoint)
        return await self._inspector.owed_reasons(where, endpoint_id=endpoint_id, counted_max=OWED_COUNTED_MAX)

    async def stats(
        self, principal: Principal, app: str, endpoint: str, *, since: float, until: float
    ) -> EndpointStats:
        """Raises NotFound, Invalid (the span is too long)."""
        if not 0 <= until - since <= STATS_SECONDS_MAX:
            raise Invalid(f"must be before until, by at most {STATS_SECONDS_MAX / 86_400:g} days", path="?since")
        where = await self._of(principal, app)
        found = await endpoint_of(self._directory, where.app_id, endpoint)
        return await self._inspector.stats(where, found.id, since=since, until=until, owed_max=OWED_COUNTED_MAX)

    async def resend(self, principal: Principal, app: str, *, event: str, endpoint: str) -> OwedFacts:
        """Owe an event to an endpoint again. Raises NotFound, Conflict (see `ports.inspect`)."""
        where, endpoint_id, event_id, entry = await self._change(principal, app, event, endpoint, "resent")
        owed = await self._inspector.resend(where, endpoint_id, event_id, now=self._clock.now(), audit=entry)
        return (await self._estimated([owed]))[0]

    async def cancel(self, principal: Principal, app: str, *, event: str, endpoint: str) -> OwedFacts:
        """Owe an event to an endpoint no more; what was owed. Raises NotFound, Conflict (see `ports.inspect`)."""
        where, endpoint_id, event_id, entry = await self._change(principal, app, event, endpoint, "cancelled")
        attempt_id = AttemptId(self._clock.new_id())
        return await self._inspector.cancel(
            where, endpoint_id, event_id, attempt_id=attempt_id, now=self._clock.now(), audit=entry
        )

    async def _change(
        self, principal: Principal, app: str, event: str, endpoint: str, what: str
    ) -> tuple[Where, EndpointId, EventId, Audit]:
        """The delivery that is to be changed, and how that goes on record. Raises NotFound."""
        where = await self._of(principal, app)
        event_id = _event_id(event)
        found = await endpoint_of(self._directory, where.app_id, endpoint)
        entry = audit(
            principal,
            f"delivery.{what}",
            format_id(EVENT, event_id),
            app=format_id(APP, where.app_id),
            endpoint=format_id(ENDPOINT, found.id),
        )
        return where, found.id, event_id, entry

    async def _estimated(self, rows: Sequence[OwedFacts]) -> list[OwedFacts]:
        """Owed rows with their `eta_seconds`: two queries, however many rows and endpoints they are of."""
        if not rows:
            return []
        now = self._clock.now()
        paces = await self._inspector.paces(
            {row.endpoint_id for row in rows}, since=now - PACE_SECONDS_MAX, minutes_max=PACE_MINUTES
        )
        # What cannot be estimated need not be counted either.
        asked = [row for row in rows if row.due_at is not None and _pace_of(row, paces).open]
        counted = await self._inspector.positions(asked, counted_max=OWED_AHEAD_COUNTED_MAX) if asked else []
        positions = {(row.endpoint_id, row.event_id): at for row, at in zip(asked, counted, strict=True)}
        return [
            msgspec.structs.replace(
                row,
                eta_seconds=eta_seconds(
                    _pace_of(row, paces),
                    position=positions.get((row.endpoint_id, row.event_id)),
                    due_at=row.due_at,
                    now=now,
                    in_flight=row.reason == OwedReason.IN_FLIGHT,
                ),
            )
            for row in rows
        ]

    async def _where(self, principal: Principal, app: str | None) -> Where | None:
        """No app is everything that the principal may see: all (None), or its own app."""
        if app is not None:
            return await self._of(principal, app)
        return None if principal.app_id is None else await self._of(principal, format_id(APP, principal.app_id))

    async def _of(self, principal: Principal, app: str) -> Where:
        found = await find_app(self._directory, principal, app)
        return Where(found.id, found.partition)

    async def _endpoint_id(self, where: Where | None, reference: str | None) -> EndpointId | None:
        """The id a filter means. One that was deleted still has attempts, so an id is taken as it is."""
        if reference is None:
            return None
        if where is None:
            raise Invalid("an endpoint is looked for in its app; say which with app", path="?endpoint")
        raw = parse_id(ENDPOINT, reference)
        if raw is not None:
            return EndpointId(raw)
        return (await endpoint_of(self._directory, where.app_id, reference)).id


def span(*, before: bytes, since: float | None, until: float | None, limit: int, newest: bool = True) -> Span:
    """A page of ids from times (unix seconds), each id bearing its own: from `since` on, before `until`."""
    end = before if until is None else min(before, lower_bound(int(until * 1000)))
    return Span(before=end, since=lower_bound(0 if since is None else int(since * 1000)), limit=limit, newest=newest)


def _pace_of(row: OwedFacts, paces: dict[EndpointId, Pace]) -> Pace:
    return paces.get(row.endpoint_id) or Pace(open=False)


def _check_filter(event_type: str | None) -> None:
    if event_type is not None:
        check_type(event_type, path="?type")


def _event_id(reference: str) -> EventId:
    raw = parse_id(EVENT, reference)
    if raw is None:
        raise _event_not_found(reference)
    return EventId(raw)


def _event_not_found(reference: str) -> NotFound:
    return NotFound(f"there is no event {reference[:80]!r}", code="event_not_found")
