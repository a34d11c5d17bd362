"""Trying an endpoint: one signed request now, and what the target answered. Nothing is stored but that it was tried."""

from __future__ import annotations

import asyncio
from secrets import token_bytes
from typing import Any, Final

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Conflict, Invalid, Overloaded
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Result
from posthouse.domain.ids import ENDPOINT, EventId, format_id
from posthouse.domain.limits import TRIALS_AT_ONCE_MAX
from posthouse.intake.parse import check_type
from posthouse.manage.access import audit, endpoint_not_found, find_endpoint
from posthouse.manage.requests import RequestView, shown_by, view_of
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.store import Store
from posthouse.ports.transport import Transport
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.judge import Judge, Judgement
from posthouse.send.preparing import Prepared, prepared_alone
from posthouse.send.rendering import written
from posthouse.send.tokens import Tokens
from posthouse.wire.answer import redacted_answer
from posthouse.wire.encryption.answers import Opener, opener_of
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import AnyRenderer, renderer_of
from posthouse.wire.transforming import NotEvaluated, NotTransformed

TYPE: Final = "endpoint.test"
UNSENDABLE: Final = Fault.UNSENDABLE.value
DATA: Final = b'{"message":"This is a test. Nothing has happened."}'


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was made, and what came of it. `judgement` is what a delivery's would have been; of what the rule in it
    says nothing is done."""

    event_id: EventId
    type: str
    url: str
    at: float
    request: RequestView
    result: Result
    judgement: Judgement


class Trials:
    """The request is made as a delivery's is, through the same guard, whether or not the endpoint is enabled or paused."""

    def __init__(
        self,
        directory: Directory,
        store: Store,
        transport: Transport,
        clock: Clock,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
    ) -> None:
        self._directory = directory
        self._store = store
        self._transport = transport
        self._clock = clock
        self._expressions = expressions
        self._writer = writer
        self._judge = Judge(expressions)
        self._turns = asyncio.Semaphore(TRIALS_AT_ONCE_MAX)

    async def run(
        self, principal: Principal, app: str, reference: str, *, type: str | None, data: bytes | None
    ) -> Trial:
        """Send an event of a type: with these data (JSON), else the first example of the type, else a line that says so.

        Raises Invalid, NotFound, Overloaded, Conflict (the endpoint cannot be spoken to as it is stored, or the event cannot be
        made into what it should get).
        """
        owner, found = await find_endpoint(self._directory, principal, app, reference)
        if type is not None:
            check_type(type, path="type")
        if self._turns.locked():
            raise Overloaded(f"{TRIALS_AT_ONCE_MAX} tests run already; try again shortly", retry_after=2)
        async with self._turns:
            configs = await self._store.apps([owner.id])
            endpoints = [e for config in configs for e in config.endpoints if e.id == found.id]
            if not endpoints:
                raise endpoint_not_found(reference)
            now = self._clock.now()
            event = Event(
                id=EventId(self._clock.new_id()),
                partition=owner.partition,
                seq=0,
                app_id=owner.id,
                type=type or TYPE,
                payload=data if data is not None else await sample_of(self._directory, principal, type, now=now),
                content_type=JSON_CONTENT,
                created_at=now,
                config_version=0,
            )
            endpoint = endpoints[0]
            spoken_as = await spoken(self._expressions, self._writer, endpoint, event)
            if isinstance(spoken_as.made, NotTransformed):
                made = spoken_as.made
                raise Conflict(f"nothing can be sent of this event: {made.words}", code=made.reason)
            assert spoken_as.shown_as is not None, "nothing is masked of what came with the request"
            assert spoken_as.url is not None
            try:
                shown = await written(self._writer, spoken_as.shown_as, [event], now=now, replay=False)
            except Unsendable as error:
                raise Conflict(f"nothing can be sent of this event: {error}", code=UNSENDABLE) from None
            await self._directory.record(audit(principal, "endpoint.tested", format_id(ENDPOINT, found.id)))
            result = await self._send(spoken_as.renderer, endpoint, event, now)
            judgement = await self._judge.judge(endpoint, event, spoken_as.read(result), 1)
        return Trial(
            event_id=event.id,
            type=event.type,
            url=spoken_as.url,
            at=now,
            request=view_of(shown, spoken_as.url),
            result=_shown(result, endpoint),
            judgement=judgement,
        )

    async def _send(self, renderer: AnyRenderer, endpoint: Endpoint, event: Event, now: float) -> Result:
        """With a new token where it takes one: a test says what holds now."""
        token = None
        if renderer.grant is not None:
            bearer = await Tokens(self._transport, self._clock).bearer(renderer.grant, seconds=endpoint.timeouts.total)
            if isinstance(bearer, Failure):
                return bearer
            token = bearer
        try:
            request = await written(self._writer, renderer, [event], now=now, replay=False, token=token)
        except Unsendable as error:
            return Failure(Fault.UNSENDABLE, str(error), NO_TIMINGS)
        return await self._transport.send(request)


async def sample_of(directory: Directory, principal: Principal, type: str | None, *, now: float) -> bytes:
    """The first example of a type that the principal sees."""
    entry = None if type is None else await directory.get_event_type(principal, type, now=now)
    examples: tuple[Any, ...] = () if entry is None else entry.examples
    return msgspec.json.encode(examples[0]) if examples else DATA


class Spoken(msgspec.Struct, frozen=True):
    """What is made of an event for an endpoint, and what writes its request. `shown_as` writes it as it may be shown, and `url`
    is where it goes, likewise; None where nothing could be made of what may be shown. `opener` opens what is answered."""

    made: Prepared | NotTransformed | None
    renderer: AnyRenderer
    shown_as: AnyRenderer | None
    url: str | None
    opener: Opener | None

    def read(self, result: Result) -> Result:
        """What came, as the endpoint's rules see it."""
        return result if self.opener is None else self.opener(result)


async def spoken(
    expressions: Expressions, writer: Writer, endpoint: Endpoint, event: Event, *, masked: Event | None = None
) -> Spoken:
    """`masked` is the event as it may be shown, where that is not as it is.

    Raises Conflict (the endpoint cannot be spoken to as it is stored), Overloaded.
    """
    try:
        made = await prepared_alone(expressions, writer, endpoint, event)
        shown = made if masked is None else await prepared_alone(expressions, writer, endpoint, masked)
        renderer = renderer_of(endpoint, random=token_bytes, checked=True)
        shown_as = shown_by(endpoint, url=endpoint.url)
        opener = opener_of(endpoint)
    except NotEvaluated as error:
        raise Overloaded(f"an expression could not be evaluated: {error}; try again shortly", retry_after=5) from error
    except (Invalid, ValueError) as error:
        raise Conflict(f"the endpoint cannot be spoken to: {error}", code="endpoint_unusable") from error
    if isinstance(made, Prepared):
        renderer = made.by(renderer)
    if isinstance(shown, NotTransformed):
        return Spoken(made, renderer, None, None, opener)
    if shown is None:
        return Spoken(made, renderer, shown_as, endpoint.url, opener)
    return Spoken(made, renderer, shown.by(shown_as), shown.url or endpoint.url, opener)


def _shown(result: Result, endpoint: Endpoint) -> Result:
    """What the endpoint keeps of an answer is also all that a trial shows of it."""
    if isinstance(result, Answer) and endpoint.redact_answer is not None:
        return redacted_answer(result, endpoint.redact_answer)
    return result
