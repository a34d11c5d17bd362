"""Which partitions are ours, under which epoch, and until when.

The database's clock grants leases and ends them. Here they are counted on the boot clock from before each renewal was sent,
less a margin: when that runs out, nothing is started any more, whatever the database may think.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import LEASE_MARGIN_SECONDS, LEASE_SECONDS
from posthouse.ports.clock import Clock
from posthouse.ports.store import Claim, Store

log = structlog.get_logger()

RENEW_SECONDS: Final = LEASE_SECONDS / 4
RETRY_SECONDS: Final = 0.5


class Ownership:
    """Claims, renews and releases partitions. `epochs` is the live map of what is ours, shared with the journal.

    `taken` is awaited with new claims before they count as started; `lost` is called for each partition that is ours no
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
        lost: Callable[[int], None],
        dead: Callable[[Collection[bytes]], Awaitable[set[bytes]]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._exclusive = exclusive
        self._taken = taken
        self._lost = lost
        self._dead = dead
        self._valid_until = 0.0
        self.epochs: dict[int, int] = {}

    @property
    def valid(self) -> bool:
        """Whether our leases certainly hold: asked before every send."""
        return self._clock.boot() < self._valid_until

    async def start(self) -> None:
        """Take what is to be had at once."""
        await self._claim()

    async def run(self) -> None:
        """Renew, and claim what becomes free, until cancelled."""
        while True:
            await self._clock.sleep(RENEW_SECONDS)
            try:
                await self.renew()
                await self._claim()
            except StoreUnavailable as error:
                log.warning("ownership.store_unavailable", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)

    async def renew(self) -> None:
        """Extend our leases; what others took meanwhile is lost."""
        before = self._clock.boot()
        asked = dict(self.epochs)
        ours = await self._store.renew(self._owner, asked, lease_seconds=LEASE_SECONDS)
        for partition, epoch in asked.items():
            if partition not in ours and self.epochs.get(partition) == epoch:
                self.drop(partition)
        self._valid_until = before + LEASE_SECONDS - LEASE_MARGIN_SECONDS

    async def _claim(self) -> None:
        partitions = await self._store.partitions()
        missing = partitions - len(self.epochs)
        if missing <= 0:
            return
        dead: set[bytes] = set()
        if self._dead is not None:
            others = set(await self._store.owners()) - {self._owner}
            dead = await self._dead(others) if others else set()
        before = self._clock.boot()
        claims = await self._store.claim(
            self._owner, limit=missing, lease_seconds=LEASE_SECONDS, exclusive=self._exclusive, dead=dead
        )
        # Only once: a later claim by "exclusive" would take partitions from ourselves.
        self._exclusive = False
        if not claims:
            return
        for claim in claims:
            if claim.partition in self.epochs:
                self.drop(claim.partition)
            self.epochs[claim.partition] = claim.epoch
        if self._valid_until == 0.0 or len(claims) == len(self.epochs):
            self._valid_until = before + LEASE_SECONDS - LEASE_MARGIN_SECONDS
        log.info("partitions.taken", count=len(claims))
        try:
            await self._taken(claims)
        except StoreUnavailable:
            for claim in claims:
                if self.epochs.get(claim.partition) == claim.epoch:
                    await self.abandon(claim.partition)
            raise

    def drop(self, partition: int) -> None:
        """A partition is ours no more: forget everything about it."""
        if self.epochs.pop(partition, None) is not None:
            log.warning("partition.lost", partition=partition)
            self._lost(partition)

    async def abandon(self, partition: int) -> None:
        """Forget a partition and give it up, so that it is taken and derived afresh (by us, or by anybody)."""
        epoch = self.epochs.get(partition)
        self.drop(partition)
        if epoch is not None:
            try:
                await self._store.release(self._owner, {partition: epoch})
            except StoreUnavailable:
                log.warning("partition.release_failed", partition=partition)  # its lease will expire

    async def release(self) -> None:
        """Planned hand-over of everything."""
        epochs = dict(self.epochs)
        for partition in epochs:
            self.epochs.pop(partition)
            self._lost(partition)
        self._valid_until = 0.0
        await self._store.release(self._owner, epochs)
