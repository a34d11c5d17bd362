"""The verifier of a process: takes handshakes that are due, a few at once, until it is closed."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.ids import ENDPOINT, AppId, format_id
from posthouse.domain.limits import (
    HANDSHAKE_LEASE_SECONDS,
    HANDSHAKE_LOOK_SECONDS,
    HANDSHAKES_AT_ONCE_MAX,
    HANDSHAKES_PER_APP_MAX,
)
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.store import Store
from posthouse.ports.transport import Transport
from posthouse.ports.verifications import Claim, VerificationQueue
from posthouse.send.handshaking import Handshakes

log = structlog.get_logger()


class Verifier:
    """Of all that is due whoever comes first makes it: what a process took that died is taken again as its lease ends. An app
    whose targets are slow has a few of the places and never all."""

    def __init__(
        self,
        queue: VerificationQueue,
        store: Store,
        transport: Transport,
        clock: Clock,
        *,
        public_url: str = "",
        at_once: int = HANDSHAKES_AT_ONCE_MAX,
        per_app: int = HANDSHAKES_PER_APP_MAX,
        lease_seconds: float = HANDSHAKE_LEASE_SECONDS,
    ) -> None:
        self.queue = queue
        self.handshakes = Handshakes(queue, store, transport, clock, public_url=public_url)
        self._at_once = at_once
        self._per_app = per_app
        self._lease_seconds = lease_seconds
        self._woken = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._apps: Counter[AppId] = Counter()

    @property
    def running(self) -> int:
        """Handshakes under way here."""
        return len(self._running)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    async def close(self) -> None:
        """Begin no more; what is under way is left, and is made again by whoever takes it next."""
        self._closing = True
        self.wake()
        if self._task is not None:
            await self._task
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                while not self._closing and await self._took_one():
                    pass
            except PosthouseError as error:
                log.warning("handshakes.not_taken", error=str(error))
            except Exception:
                log.exception("handshakes.not_taken")
            if not self._closing:
                await set_or_over(self._woken, HANDSHAKE_LOOK_SECONDS)

    async def _took_one(self) -> bool:
        """Take the one that is due for longest, of an app that has a place left; whether there was one."""
        if len(self._running) >= self._at_once:
            return False
        busy = [app_id for app_id, count in self._apps.items() if count >= self._per_app]
        claims = await self.queue.claim(limit=1, lease_seconds=self._lease_seconds, without=busy)
        for claim in claims.taken:
            self._apps[claim.app_id] += 1
            task = asyncio.get_running_loop().create_task(self._make(claim))
            self._running.add(task)
        return bool(claims.taken)

    async def _make(self, claim: Claim) -> None:
        task = asyncio.current_task()
        assert task is not None, "it runs in one of its own"
        try:
            await self.handshakes.make(claim)
        except PosthouseError as error:
            log.warning("handshake.not_settled", endpoint=format_id(ENDPOINT, claim.endpoint_id), error=str(error))
        except Exception:
            log.exception("handshake.not_settled", endpoint=format_id(ENDPOINT, claim.endpoint_id))
        finally:
            self._apps[claim.app_id] -= 1
            if not self._apps[claim.app_id]:
                del self._apps[claim.app_id]
            self._running.discard(task)  # before anybody looks whether there is a place
            self._woken.set()
