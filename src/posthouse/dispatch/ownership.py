"""Which partitions are ours, under which epoch, and until when.

The database's clock grants leases and ends them. Here they are counted on the boot clock from before each renewal was sent,
less a margin: when that runs out, nothing is started any more, whatever the database may think.

Every live process owns its share of the partitions (`domain/share.py`): one below it claims what is free, one above it hands
over what is too much, a few partitions at a time while the rest goes on. Which processes live, the store says, and a lock that
can be had says who is dead. Views that differ for a moment do no harm: a claim takes only what is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import HAND_OVER_PARTITIONS_MAX, HAND_OVER_SECONDS_MAX, LEASE_MARGIN_SECONDS, LEASE_SECONDS
from posthouse.domain.share import share_of
from posthouse.ports.clock import Clock, set_or_over
from posthouse.ports.store import Claim, Store

log = structlog.get_logger()

RENEW_SECONDS: Final = LEASE_SECONDS / 4
ROUND_SECONDS: Final = 0.5  # a partition that was released is taken within this, should no word of it arrive


async def _nothing(_: Collection[int]) -> None:
    """There is nothing to stop."""


class Ownership:
    """Claims, renews and releases partitions. `epochs` is the live map of what is ours, shared with the journal.

    `taken` is awaited with new claims before they count as started; `lost` is called with the partitions that are ours no
    more. `leave` is awaited before partitions are handed over: it returns when nothing of them starts any more, and all that is
    known of them is in the store. `changed` is called when other processes should look at their shares, who then `wake`.
    `exclusive`: this process holds the data directory's lock, so every earlier owner is dead. `dead` finds owners whose
    session ended without a release.
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
        leave: Callable[[Collection[int]], Awaitable[None]] = _nothing,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._exclusive = exclusive
        self._taken = taken
        self._lost = lost
        self._dead = dead
        self._leave = leave
        self._changed = changed
        self._predecessors: set[bytes] = set()  # dead, whatever the store says of them
        self._woken = asyncio.Event()
        self._partitions = 0
        self._valid_until = 0.0
        self._renew_at = 0.0
        self._suspensions = 0
        self._overcome = 0
        self._closing = False
        self._round = asyncio.Lock()
        self._recorded: dict[int, float] = {}  # since when (boot clock) all that was sent is on record, or will be
        self.epochs: dict[int, int] = {}
        self.live = 1
        """How many processes share the partitions, this one among them, as of the last round."""

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
        """Take part, and take what is to be had at once."""
        async with self._round:
            if self._exclusive:
                self._predecessors = set(await self._store.processes()) - {self._owner}
            await self._store.attend(self._owner, seconds=LEASE_SECONDS)
            await self._balance()
        self._changed()
        self._renew_at = self._clock.boot() + RENEW_SECONDS if self.valid else 0.0

    async def run(self) -> None:
        """Renew, claim what becomes free and hand over what is too much, until cancelled or closed."""
        while True:
            self._woken.clear()
            more = False
            try:
                async with self._round:
                    if self._closing:
                        return
                    if self._clock.boot() >= self._renew_at:
                        await self.renew()
                    more = await self._balance()
            except StoreUnavailable as error:
                log.warning("ownership.store_unavailable", error=str(error))
            if not more:
                await set_or_over(self._woken, ROUND_SECONDS)

    def wake(self) -> None:
        """A process has joined or left, or partitions were released: look at once."""
        self._woken.set()

    async def renew(self) -> None:
        """Extend our leases; what others took meanwhile is lost."""
        suspensions = self._suspensions
        if suspensions > self._overcome and self._dead is not None and await self._dead({self._owner}):
            return  # the session is not back
        before = self._clock.boot()
        await self._store.attend(self._owner, seconds=LEASE_SECONDS)
        asked = dict(self.epochs)
        ours = await self._store.renew(self._owner, asked, lease_seconds=LEASE_SECONDS)
        self.drop([p for p, epoch in asked.items() if p not in ours and self.epochs.get(p) == epoch])
        if suspensions == self._suspensions:
            self._overcome = suspensions
            self._valid_until = before + LEASE_SECONDS - LEASE_MARGIN_SECONDS
            self._renew_at = before + RENEW_SECONDS

    async def _balance(self) -> bool:
        """One step towards our share; whether there is another to be made at once."""
        suspensions = self._suspensions
        self._partitions = self._partitions or await self._store.partitions()
        if self._closing or self._suspensions > self._overcome:
            return False
        processes = await self._store.processes()
        others = processes.keys() - {self._owner} - self._predecessors
        dead = await self._dead(others) if others and self._dead is not None else set()
        live = {process for process in others - dead if processes[process]}
        self.live = 1 + len(live)
        missing = share_of(self._owner, live, self._partitions) - len(self.epochs)
        if missing > 0:
            await self._claim(missing, dead, suspensions)
        elif missing < 0:
            await self._hand_over(sorted(self.epochs)[: min(-missing, HAND_OVER_PARTITIONS_MAX)])
            return missing < -HAND_OVER_PARTITIONS_MAX
        return False

    async def _claim(self, missing: int, dead: Collection[bytes], suspensions: int) -> None:
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
            self._recorded[claim.partition] = self._clock.boot() - claim.on_record_seconds
        if len(claims) == len(self.epochs) and suspensions == self._suspensions:
            self._valid_until = before + LEASE_SECONDS - LEASE_MARGIN_SECONDS
        log.info("partitions.taken", count=len(claims))
        try:
            await self._taken(claims)
        except StoreUnavailable:
            await self.abandon([c.partition for c in claims if self.epochs.get(c.partition) == c.epoch])
            raise

    async def _hand_over(self, partitions: Collection[int]) -> None:
        """Planned hand-over of some partitions, while the rest goes on."""
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS_MAX):
                await self._leave(partitions)
        except TimeoutError:
            log.warning("partitions.not_handed_over", partitions=partitions)
            await self.abandon(partitions)
            return
        epochs = {partition: self.epochs.pop(partition) for partition in partitions if partition in self.epochs}
        self._lost(list(epochs))
        await self._store.release(self._owner, epochs, on_record=self._on_record(epochs))
        log.info("partitions.handed_over", count=len(epochs))
        self._changed()

    def unrecorded(self, partitions: Collection[int]) -> None:
        """Something was sent of these that is not on record: whoever takes them must not go by what is."""
        self._recorded.update(dict.fromkeys(partitions, self._clock.boot()))

    def _on_record(self, partitions: Collection[int]) -> dict[int, float]:
        now = self._clock.boot()
        return {partition: now - self._recorded[partition] for partition in partitions}

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
        """Claim and renew nothing more, and let others share what there is among themselves; returns when a round that is under
        way has ended. What is owned stays so until it is released."""
        self._closing = True
        async with self._round:
            try:
                await self._store.attend(self._owner, seconds=0)
            except StoreUnavailable as error:
                log.warning("process.still_attends", error=str(error))  # for some seconds

    async def release(self) -> None:
        """Planned hand-over of everything, for good. What is recorded from this call on is not recorded as an owner."""
        epochs = dict(self.epochs)
        self.epochs.clear()
        self._valid_until = 0.0
        self._lost(list(epochs))
        await self._store.release(self._owner, epochs, on_record=self._on_record(epochs))
        self._changed()
