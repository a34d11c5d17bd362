"""Making a handshake: the requests of one that was taken, one after the other, and what they come to on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Final

import msgspec
import structlog

from posthouse.domain.balance import urls_of
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid, PosthouseError
from posthouse.domain.exchange import Failure
from posthouse.domain.handshake import CONFIRM_PATH, Handshake
from posthouse.domain.ids import ENDPOINT, AppId, EndpointId, EventId, format_id
from posthouse.domain.limits import (
    HANDSHAKE_BACKOFF_SECONDS,
    HANDSHAKE_BEGIN_SECONDS_MAX,
    HANDSHAKE_STEP_SECONDS_MAX,
)
from posthouse.domain.verification import (
    Reason,
    State,
    Verification,
    awaited,
    confirmed,
    lower,
    postponed,
    reached,
    refused,
)
from posthouse.ports.clock import Clock
from posthouse.ports.directory import SYSTEM, Audit
from posthouse.ports.store import Store
from posthouse.ports.transport import Transport
from posthouse.ports.verifications import Claim, VerificationQueue
from posthouse.send.tokens import Tokens
from posthouse.wire.consent import Passed, Waits
from posthouse.wire.handshake import StepRequest, compile_step, waits
from posthouse.wire.message import Unsendable
from posthouse_sdk.errors import SecretError

log = structlog.get_logger()

TOKEN_BYTES: Final = 32


def token_hash(token: str) -> bytes:
    """What is kept of a token that somebody may bring."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


class _Waiting(msgspec.Struct, frozen=True):
    """It is passed up to a place, at which somebody has to follow a URL within so many seconds."""

    place: int
    within: float


class _Reached(msgspec.Struct, frozen=True):
    """It is passed up to a place, from which the next claim goes on."""

    place: int


class _Lost(Exception):
    """The claim is no longer good."""


_Outcome = Passed | _Waiting | _Reached | Reason


class Handshakes:
    """Makes them as deliveries are made, through the same guard. `told` hears of each endpoint that is verified now, or failed,
    and was not before.

    `confirmed` and `refused` count what they came to.
    """

    def __init__(
        self,
        queue: VerificationQueue,
        store: Store,
        transport: Transport,
        clock: Clock,
        *,
        public_url: str = "",
        random: Callable[[int], bytes] = token_bytes,
    ) -> None:
        self._queue = queue
        self._store = store
        self._transport = transport
        self._clock = clock
        self.public_url = public_url.rstrip("/")
        self._random = random
        self.told: Callable[[Claim, Verification], object] = lambda _claim, _verification: None
        self._tokens = Tokens(transport, clock)
        self.confirmed = 0
        self.refused = 0

    async def make(self, claim: Claim) -> Verification | None:
        """Make the rest of what was taken, and put on record what it came to; None where somebody else has it by now. A step
        that might not end before the claim's lease does is left to who takes it next, at once.

        Raises what the store does. What goes wrong on our side costs the target nothing: it is made again.
        """
        ends_at = asyncio.get_running_loop().time() + HANDSHAKE_BEGIN_SECONDS_MAX
        endpoint = await self._endpoint(claim.app_id, claim.endpoint_id)
        if endpoint is None or endpoint.handshake is None:
            # A server of another release took the handshake away, or it is just being taken away: nobody needs to look again.
            await self._queue.settle(claim, lambda old, _: (msgspec.structs.replace(old, next_at=None), None))
            return None
        try:
            allowing, outcome = await self._made(claim, endpoint, endpoint.handshake, ends_at)
        except _Lost:
            return None
        except PosthouseError:
            raise
        except SecretError as error:  # it does not open with our master key
            log.warning("handshake.failed", endpoint=format_id(ENDPOINT, claim.endpoint_id), error=str(error))
            return await self._postponed(claim)
        except Exception:
            log.exception("handshake.failed", endpoint=format_id(ENDPOINT, claim.endpoint_id))
            return await self._postponed(claim)
        return await self._settled(claim, endpoint.handshake, allowing, outcome)

    async def _postponed(self, claim: Claim) -> Verification | None:
        """It is our fault: no try of the target's is spent."""
        seconds = HANDSHAKE_BACKOFF_SECONDS[1]
        return await self._queue.settle(claim, lambda old, now: (postponed(old, now=now, seconds=seconds), None))

    async def _settled(
        self, claim: Claim, handshake: Handshake, allowing: float | None, outcome: _Outcome
    ) -> Verification | None:
        was = claim.verification.state

        def change(old: Verification, now: float) -> tuple[Verification, Audit | None]:
            nonlocal was
            was = old.state
            rated = msgspec.structs.replace(old, allowing=lower(old.allowing, allowing))
            match outcome:
                case Reason():
                    new = refused(old, handshake, outcome, now=now)
                case _Waiting(place=place, within=within):
                    new = awaited(rated, handshake, place, within=within, now=now)
                case _Reached(place=place):
                    new = reached(old, place, allowing=allowing, now=now)
                case Passed():
                    new = confirmed(rated, handshake, now=now)
            return new, _entry(claim.endpoint_id, old, new)

        new = await self._queue.settle(claim, change)
        if new is not None:
            self.confirmed += isinstance(outcome, Passed)
            self.refused += isinstance(outcome, Reason)
            if new.state is not was and new.state is not State.UNVERIFIED:
                self.told(claim, new)
        return new

    async def _made(
        self, claim: Claim, endpoint: Endpoint, handshake: Handshake, ends_at: float
    ) -> tuple[float | None, _Outcome]:
        """The lowest rate that was allowed, and what it came to. From `ends_at` on, in the event loop's time, no step begins
        but the first. Raises _Lost."""
        if claim.verification.waits_until is not None:
            return None, Reason.NOT_CONFIRMED
        allowing: float | None = None
        urls, steps = urls_of(endpoint), handshake.steps
        first, loop = claim.verification.place, asyncio.get_running_loop()
        for place in range(first, len(urls) * len(steps)):
            if place > first and loop.time() >= ends_at:
                return allowing, _Reached(place)
            url, step = urls[place // len(steps)], place % len(steps)
            try:
                async with asyncio.timeout(HANDSHAKE_STEP_SECONDS_MAX):
                    verdict = await self._step(claim, endpoint, url, handshake, step)
            except TimeoutError:
                return None, Reason.NO_ANSWER
            match verdict:
                case Reason():
                    return None, verdict
                case Waits(within=within):
                    return allowing, _Waiting(place, within)
                case Passed(allowed_per_second=rate):
                    allowing = lower(allowing, rate)
        return allowing, Passed()

    async def _step(
        self, claim: Claim, endpoint: Endpoint, url: str, handshake: Handshake, place: int
    ) -> Passed | Waits | Reason:
        step = handshake.steps[place]
        confirm_url = await self._confirm_url(claim) if waits(step) else ""
        now = self._clock.now()
        try:
            made = compile_step(
                endpoint,
                step,
                url=url,
                now=now,
                random=self._random,
                event_id=EventId(self._clock.new_id()),
                confirm_url=confirm_url,
                path=f"handshake.steps[{place}]",
                checked=True,
            )
            token = await self._token(made, endpoint)
            if isinstance(token, Failure):
                return Reason.NO_ANSWER
            request = made.render(token)
        except (Invalid, Unsendable) as error:
            log.warning("handshake.unusable", endpoint=format_id(ENDPOINT, endpoint.id), error=str(error))
            return Reason.UNUSABLE
        result = await self._transport.send(request)
        if isinstance(result, Failure):
            # For the operator alone: what it was would tell the owner of the URL of the network that we are in.
            log.info("handshake.no_answer", endpoint=format_id(ENDPOINT, endpoint.id), fault=result.fault.value)
            return Reason.NO_ANSWER
        return made.judge(result)

    async def _token(self, made: StepRequest, endpoint: Endpoint) -> str | Failure | None:
        if made.grant is None:
            return None
        return await self._tokens.bearer(made.grant, seconds=endpoint.timeouts.total)

    async def _confirm_url(self, claim: Claim) -> str:
        """A new one, which is expected from now on. Raises _Lost."""
        token = token_urlsafe(TOKEN_BYTES)
        if not await self._queue.expect(claim, token_hash(token)):
            raise _Lost
        return f"{self.public_url}{CONFIRM_PATH}{token}"

    async def _endpoint(self, app_id: AppId, endpoint_id: EndpointId) -> Endpoint | None:
        configs = await self._store.apps([app_id])
        return next((each for config in configs for each in config.endpoints if each.id == endpoint_id), None)


def _entry(endpoint_id: EndpointId, old: Verification, new: Verification) -> Audit | None:
    """What is put on record: where it is verified now, or failed, and was not before."""
    if new.state is old.state or new.state is State.UNVERIFIED:
        return None
    thing = format_id(ENDPOINT, endpoint_id)
    if new.sendable:
        return Audit(SYSTEM, "endpoint.verified", thing)
    return Audit(SYSTEM, "endpoint.verification_failed", thing, {"reason": str(new.reason)})
