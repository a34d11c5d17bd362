"""Which partitions are ours, under which epoch, and until when.

The database's clock grants leases and ends them. Here they are counted on the boot clock from before each renewal was sent,
less a margin: when that runs out, nothing is started any more, whatever the database may think.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import LEASE_MARGIN_SECONDS, LEASE_SECONDS
from posthouse.ports.clock import Clock
from posthouse.ports.store import Claim, Store

log = structlog.get_logger()

RENEW_SECONDS: Final = LEASE_SECONDS / 4
ROUND_SECONDS: Final = 0.5  # a partition that was released is taken within this


class Ownership:
    """Claims, renews and releases partitions. `epochs` is the live map of what is ours, shared with the journal.

    `taken` is awaited with new claims before they count as started; `lost` is called with the partitions that are ours no
    more. `exclusive`: this process holds the data directory's lock, so every earlier owner is dead. `dead` finds owners
    whose session ended without a release.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        owner: bytes,
        exclusive: bool,
        taken: Callable[[Sequence[Claim]], Awaitable[None]],
        lost: Callable[[Collection[int]], None],
        dead: Callable[[Collection[bytes]], Awaitable[set[bytes]]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._exclusive = exclusive
        self._taken = taken
        self._lost = lost
        self._dead = dead
        self._partitions = 0
        self._valid_until = 0.0
        self._renew_at = 0.0
        self._suspensions = 0
        self._overcome = 0
        self._closing = False
        self._round = asyncio.Lock()
        self.epochs: dict[int, int] = {}

    @property
    def valid(self) -> bool:
        """Whether our leases certainly hold: asked before every send."""
        return self._clock.boot() < self._valid_until

    def suspend(self) -> None:
        """Our session was lost: others may count us dead and take our partitions. Nothing starts until they are renewed
        with the session back."""
        self._suspensions += 1
        self._valid_until = 0.0
        self._renew_at = 0.0

    async def start(self) -> None:
        """Take what is to be had at once."""
        async with self._round:
            await self._claim()
        self._renew_at = self._clock.boot() + RENEW_SECONDS if self.valid else 0.0

    async def run(self) -> None:
        """Renew, and claim what becomes free, until cancelled or closed."""
        while True:
            try:
                async with self._round:
                    if self._closing:
                        return
                    if self._clock.boot() >= self._renew_at:
                        await self.renew()
                    await self._claim()
            except StoreUnavailable as error:
                log.warning("ownership.store_unavailable", error=str(error))
            await self._clock.sleep(ROUND_SECONDS)

    async def renew(self) -> None:
        """Extend our leases; what others took meanwhile is lost."""
        suspensions = self._suspensions
        if suspensions > self._overcome and self._dead is not None and await self._dead({self._owner}):
            return  # the session is not back
        before = self._clock.boot()
        asked = dict(self.epochs)
        ours = await self._store.renew(self._owner, asked, lease_seconds=LEASE_SECONDS)
        self.drop([p for p, epoch in asked.items() if p not in ours and self.epochs.get(p) == epoch])
        if suspensions == self._suspensions:
            self._overcome = suspensions
            self._valid_until = before + LEASE_SECONDS - LEASE_MARGIN_SECONDS
            self._renew_at = before + RENEW_SECONDS

    async def _claim(self) -> None:
        self._partitions = self._partitions or await self._store.partitions()
        missing = self._partitions - len(self.epochs)
        if missing <= 0 or self._closing or self._suspensions > self._overcome:
            return
        dead: set[bytes] = set()
        if self._dead is not None:
            others = set(await self._store.owners()) - {self._owner}
            dead = await self._dead(others) if others else set()
        suspensions = self._suspensions
        before = self._clock.boot()
        claims = await self._store.claim(
            self._owner, limit=missing, lease_seconds=LEASE_SECONDS, exclusive=self._exclusive, dead=dead
        )
        # Only once: a later claim by "exclusive" would take partitions from ourselves.
        self._exclusive = False
        if not claims:
            return
        self.drop([claim.partition for claim in claims])
        for claim in claims:
            self.epochs[claim.partition] = claim.epoch
        if len(claims) == len(self.epochs) and suspensions == self._suspensions:
            self._valid_until = before + LEASE_SECONDS - LEASE_MARGIN_SECONDS
        log.info("partitions.taken", count=len(claims))
        try:
            await self._taken(claims)
        except StoreUnavailable:
            await self.abandon([c.partition for c in claims if self.epochs.get(c.partition) == c.epoch])
            raise

    def drop(self, partitions: Collection[int]) -> None:
        """Partitions are ours no more: forget everything about them."""
        gone = [partition for partition in partitions if self.epochs.pop(partition, None) is not None]
        if gone:
            log.warning("partitions.lost", partitions=gone)
            self._lost(gone)

    async def abandon(self, partitions: Collection[int]) -> None:
        """Forget partitions and let their leases end, so that they are taken and derived afresh (by us, or by anybody).

        They are not released: whoever takes them must not think that all that was sent is on record."""
        epochs = {partition: self.epochs[partition] for partition in partitions if partition in self.epochs}
        self.drop(epochs)
        try:
            if epochs:
                await self._store.renew(self._owner, epochs, lease_seconds=-1.0)  # over already
        except StoreUnavailable as error:
            log.warning("partitions.not_given_up", error=str(error))  # their leases will expire

    async def close(self) -> None:
        """Claim and renew nothing more; returns when a round that is under way has ended."""
        self._closing = True
        async with self._round:
            pass

    async def release(self) -> None:
        """Planned hand-over of everything. What is recorded from this call on is not recorded as an owner."""
        epochs = dict(self.epochs)
        self.epochs.clear()
        self._valid_until = 0.0
        self._lost(list(epochs))
        await self._store.release(self._owner, epochs)
