"""Verifying an endpoint: its handshake made now, because somebody asks, or confirmed by who followed a URL."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.errors import Conflict, NotFound, Overloaded, QuotaExceeded
from posthouse.domain.ids import ENDPOINT, AppId, format_id
from posthouse.domain.limits import (
    HANDSHAKE_LEASE_SECONDS,
    HANDSHAKES_ASKED_MAX,
    HANDSHAKES_ASKED_SECONDS,
    HANDSHAKES_PER_APP_MAX,
    TRIALS_AT_ONCE_MAX,
)
from posthouse.domain.verification import Verification
from posthouse.manage.access import audit, endpoint_not_found, endpoint_of, find_endpoint
from posthouse.ports.directory import Directory
from posthouse.ports.verifications import TooOften, VerificationQueue
from posthouse.send.handshaking import Handshakes, token_hash
from posthouse.wire.consent import allowed_per_second

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Verifications:
    """`at_once` handshakes at most are made in this process because somebody asks."""

    def __init__(
        self,
        directory: Directory,
        queue: VerificationQueue,
        handshakes: Handshakes,
        *,
        at_once: int = TRIALS_AT_ONCE_MAX,
    ) -> None:
        self._directory = directory
        self._queue = queue
        self._handshakes = handshakes
        self._at_once = at_once
        self._turns = asyncio.Semaphore(at_once)
        self._apps: Counter[AppId] = Counter()

    async def run(self, principal: Principal, app: str, reference: str) -> Verification:
        """Make the handshake now, from its first step on, and tell what it came to.

        Raises NotFound, Overloaded, Conflict (it has none), QuotaExceeded (it was asked for too often).
        """
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        if self._turns.locked():
            raise Overloaded(f"{self._at_once} handshakes are made already; try again shortly", retry_after=2)
        if self._apps[owner.id] >= HANDSHAKES_PER_APP_MAX:
            raise QuotaExceeded(
                f"{HANDSHAKES_PER_APP_MAX} handshakes of this app are made already; try again shortly",
                code="asked_too_often",
                limit=HANDSHAKES_PER_APP_MAX,
                retry_after=2,
            )
        async with self._turns, self._one_of(owner.id):
            claim = await self._queue.ask(
                owner.id,
                endpoint.id,
                lease_seconds=HANDSHAKE_LEASE_SECONDS,
                asked_max=HANDSHAKES_ASKED_MAX,
                asked_seconds=HANDSHAKES_ASKED_SECONDS,
                audit=audit(principal, "endpoint.verification_asked", format_id(ENDPOINT, endpoint.id)),
            )
            if claim is None:
                raise Conflict(
                    "the endpoint has no handshake: set its field handshake, or a profile that has one",
                    code="no_handshake",
                )
            if isinstance(claim, TooOften):
                raise QuotaExceeded(
                    f"the handshake of this endpoint was asked for {HANDSHAKES_ASKED_MAX} times within a minute; wait",
                    code="asked_too_often",
                    limit=HANDSHAKES_ASKED_MAX,
                    retry_after=max(1, math.ceil(claim.seconds)),
                )
            made = await self._handshakes.make(claim)
        if made is None:  # the endpoint was changed meanwhile: it is as it is now
            made = (await endpoint_of(self._directory, owner.id, reference)).verification
        if made is None:
            raise endpoint_not_found(reference)
        return made

    @asynccontextmanager
    async def _one_of(self, app_id: AppId) -> AsyncIterator[None]:
        """An app whose targets are slow has a few of the turns and never all."""
        self._apps[app_id] += 1
        try:
            yield
        finally:
            self._apps[app_id] -= 1
            if not self._apps[app_id]:
                del self._apps[app_id]

    async def confirm(self, token: str, *, rate: str | None) -> None:
        """Somebody follows a URL that a step brought; `rate` is the header `WebHook-Allowed-Rate` of the request. Raises
        NotFound, which tells nothing."""
        allowing = None if rate is None else allowed_per_second(rate.strip())
        known = _TOKEN.fullmatch(token) and await self._queue.follow(token_hash(token), allowing=allowing)
        if not known:
            raise NotFound("there is nothing to confirm here")
