"""The gateway: a request of another system becomes an event, or is set aside with the reason.

It is answered that it was taken only when its event is in the log, or what it was is on record: whatever dies before leaves it
to its sender to try again, and by its key that is the same event.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from typing import Final, assert_never

import structlog

from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import Overloaded, PosthouseError
from posthouse.domain.event import Draft
from posthouse.domain.ids import RefusalId
from posthouse.domain.inbound import KIND, NOT_VERIFIED, UNCONFIRMED, Answer
from posthouse.domain.limits import (
    ERROR_LENGTH_MAX,
    INBOUND_INLINE_BYTES_MAX,
    TRIGGER_SET_ASIDE_MAX,
    TRIGGER_TOLD_SECONDS,
)
from posthouse.domain.trigger import Standing, Trigger, TriggerFacts
from posthouse.domain.verdict import Postponed, Published, Refused, Verdict
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.expressions import Expressions
from posthouse.ports.inbound import InboundBook
from posthouse.ports.sources import Observation
from posthouse.ports.triggers import Refusal
from posthouse.trigger.entrances import Entrance, Entrances, InletKind, not_now
from posthouse.trigger.mapping import LeftOut
from posthouse.trigger.tallies import Tallies
from posthouse.wire.inbound import Genuine, Judged, NotGenuine, Shaken
from posthouse.wire.inbound_seen import InboundRequest
from posthouse_sdk.errors import ReceiverError

log = structlog.get_logger()

MALFORMED_BODY: Final = "malformed_body"


class Unverified(Exception):
    """Nobody vouches for a request; `status` is what its sender is answered, and nothing else."""

    def __init__(self, status: int) -> None:
        super().__init__("not verified")
        self.status: Final = status


class Gateway:
    """Takes requests from `start` on, or even before; `close` puts on record what it has counted."""

    def __init__(
        self,
        book: InboundBook,
        kind: InletKind | None,
        door: ObservedEvents,
        catalogue: CatalogueCache,
        expressions: Expressions,
        clock: Clock,
        *,
        payload_bytes_max: int,
        set_aside_max: int = TRIGGER_SET_ASIDE_MAX,
        failing: Callable[[Trigger, Standing], None] = lambda _trigger, _standing: None,
    ) -> None:
        """`failing` is told once of a trigger that failed several times in a row."""
        self._book = book
        self._door = door
        self.clock: Final = clock
        self._set_aside_max = set_aside_max
        self._tallies = Tallies(book, clock, failing)
        self._entrances = Entrances(
            book,
            self._tallies,
            kind,
            catalogue,
            expressions,
            clock,
            payload_bytes_max=payload_bytes_max,
        )
        self._woken = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def cached(self) -> CacheFacts:
        return self._entrances.cached

    def facts(self) -> Iterable[TriggerFacts]:
        """How those go that there are, as far as this process answers for them."""
        if self._task is None:
            return []
        return [
            TriggerFacts(each.reference, KIND, self._tallies.standing(each.id, each.set_aside))
            for each in self._entrances.listed
            if each.enabled
        ]

    def forget(self) -> None:
        """A trigger was made or changed here."""
        self._entrances.forget()
        self._woken.set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        self._closing = True
        self._woken.set()
        if self._task is not None:
            await self._task
            await self._tell()

    async def find(self, reference: str) -> Entrance:
        """What takes requests for an id or uid. Raises NotFound, Overloaded, StoreUnavailable."""
        return await self._entrances.find(reference)

    async def take(self, entrance: Entrance, request: InboundRequest) -> Answer:
        """What the sender is answered. Raises Unverified, QuotaExceeded, Overloaded, StoreUnavailable."""
        try:
            judged = await self._judged(entrance, request)
        except ReceiverError as error:
            self._tallies.failed(entrance.trigger, "cannot_verify", str(error))
            raise not_now() from error
        match judged:
            case NotGenuine(status=status, reason=reason):
                entrance.count.unverified += 1
                self._look_at(entrance, request, NOT_VERIFIED, reason)
                if status >= 500:  # it is signed, and does not open with the key that is here
                    self._tallies.failed(entrance.trigger, "cannot_open", reason)
                    raise not_now()
                raise Unverified(status)
            case Shaken(answer=answer, handshake=handshake, confirm_url=confirm_url):
                log.info("inbound.handshake", trigger=entrance.trigger.reference, handshake=handshake)
                if confirm_url is not None:
                    self._look_at(entrance, request, UNCONFIRMED, f"to confirm, somebody has to go to {confirm_url}")
                return answer
            case Genuine():
                if entrance.rate is not None:
                    entrance.rate.take(self.clock.boot())
                return await self._taken(entrance, judged)
            case _:
                assert_never(judged)

    async def _judged(self, entrance: Entrance, request: InboundRequest) -> Judged:
        if len(request.body) <= INBOUND_INLINE_BYTES_MAX:
            return entrance.inlet.receive(request)
        return await asyncio.to_thread(entrance.inlet.receive, request)

    async def _taken(self, entrance: Entrance, genuine: Genuine) -> Answer:
        observation = Observation(
            key=genuine.key,
            seen=genuine.seen,
            data=genuine.content.data,
            content_type=genuine.content.content_type,
            at=genuine.at,
        )
        count = entrance.count
        fault = genuine.content.fault
        verdict = await self._published(entrance, observation) if fault is None else Refused(MALFORMED_BODY, fault)
        match verdict:
            case LeftOut():
                count.left_out += 1
            case Published(repeated=True):
                count.repeated += 1
            case Published():
                count.published += 1
                count.published_at = self.clock.now()
            case Refused(code=code, reason=reason):
                await self._set_aside(entrance, observation, code, reason)
            case Postponed(reason=reason):
                self._tallies.failed(entrance.trigger, "postponed", reason)
                raise Overloaded("this cannot be stored now; send it again", retry_after=2)
            case _:
                assert_never(verdict)
        count.well()
        if isinstance(verdict, Refused) and entrance.settings.answer_refused is not None:
            return entrance.settings.answer_refused.answer()
        return genuine.answer

    async def _published(self, entrance: Entrance, observation: Observation) -> Verdict | LeftOut:
        async with entrance.alone(observation.key):
            mapped = await entrance.mapping.draft_of(observation)
            if not isinstance(mapped, Draft):
                return mapped
            (verdict,) = await self._door.in_order([mapped])
            return verdict

    async def _set_aside(self, entrance: Entrance, observation: Observation, code: str, reason: str) -> None:
        """Raises Overloaded where there is no room: then it is for the sender to keep it."""
        log.warning("inbound.set_aside", trigger=entrance.trigger.reference, code=code, reason=reason)
        refusal = self._refusal(observation, code, reason)
        if not await self._book.keep(entrance.trigger.id, refusal, kept_max=self._set_aside_max):
            self._tallies.failed(
                entrance.trigger,
                "too_many_set_aside",
                f"{self._set_aside_max} were set aside: look why, then try them again or let them be",
            )
            raise not_now()

    def _look_at(self, entrance: Entrance, request: InboundRequest, code: str, reason: str) -> None:
        """Keep a request for somebody to look at: the newest few, soon. Its key is none that an event could have."""
        seen = entrance.inlet.excerpt(request)
        key = f"{code}/{hashlib.sha256(seen + reason.encode('utf-8', 'replace')).hexdigest()}"
        entrance.count.newest.append(self._refusal(Observation(key=key, seen=seen, at=request.at), code, reason))

    def _refusal(self, observation: Observation, code: str, reason: str) -> Refusal:
        return Refusal(
            id=RefusalId(self.clock.new_id()), observation=observation, code=code, reason=reason[:ERROR_LENGTH_MAX]
        )

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            await self._tell()
            if not self._closing:
                await set_or_over(self._woken, TRIGGER_TOLD_SECONDS)

    async def _tell(self) -> None:
        try:
            await self._tallies.tell()
            await self._entrances.look(self.clock.boot() - TRIGGER_TOLD_SECONDS / 2)
            if any(each.enabled and each.starting for each in self._entrances.listed):
                await self._book.activate(now=self.clock.now())
        except PosthouseError as error:
            log.warning("inbound.not_told", error=str(error))
        except Exception:
            log.exception("inbound.not_told")
