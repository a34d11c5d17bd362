"""How inbound triggers go in this process: counted in memory, and added to what is on record every few seconds.

A process that dies takes with it what it has counted since then, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from posthouse.domain.ids import TriggerId
from posthouse.domain.limits import ERROR_LENGTH_MAX, INBOUND_UNVERIFIED_MAX, TRIGGER_FAILURES_TOLD
from posthouse.domain.trigger import Standing, Trigger, TriggerState
from posthouse.ports.clock import Clock
from posthouse.ports.inbound import InboundBook, Tally
from posthouse.ports.triggers import Refusal


@dataclass(slots=True)
class Count:
    """What came to one trigger, since this process began. `error` is what is wrong now, with its code."""

    published: int = 0
    repeated: int = 0
    left_out: int = 0
    unverified: int = 0
    published_at: float | None = None
    error: tuple[str, str] | None = None
    failures: int = 0  # in a row
    failing_since: float | None = None
    newest: deque[Refusal] = field(default_factory=lambda: deque(maxlen=INBOUND_UNVERIFIED_MAX))

    def failed(self, code: str, error: str, *, now: float) -> None:
        self.error = (code, error[:ERROR_LENGTH_MAX])
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now

    def well(self) -> None:
        self.error = self.failing_since = None
        self.failures = 0

    def standing(self, set_aside: int) -> Standing:
        return Standing(
            state=TriggerState.ACTIVE if self.error is None else TriggerState.FAILING,
            error_code=None if self.error is None else self.error[0],
            error=None if self.error is None else self.error[1],
            failures=self.failures,
            failing_since=self.failing_since,
            published=self.published,
            repeated=self.repeated,
            left_out=self.left_out,
            unverified=self.unverified,
            set_aside=set_aside,
            published_at=self.published_at,
        )


class Tallies:
    """Counts by trigger. `failing` is told once of one that failed several times in a row."""

    def __init__(self, book: InboundBook, clock: Clock, failing: Callable[[Trigger, Standing], None]) -> None:
        self._book = book
        self._failing = failing
        self._clock = clock
        self._counts: dict[TriggerId, Count] = {}
        self._told: dict[TriggerId, Standing] = {}

    def of(self, trigger_id: TriggerId) -> Count:
        return self._counts.setdefault(trigger_id, Count())

    def failed(self, trigger: Trigger, code: str, error: str) -> None:
        """Something is wrong with this one, which its sender is not told."""
        count = self.of(trigger.id)
        count.failed(code, error, now=self._clock.now())
        if count.failures == TRIGGER_FAILURES_TOLD:
            self._failing(trigger, count.standing(0))

    def standing(self, trigger_id: TriggerId, set_aside: int) -> Standing:
        count = self._counts.get(trigger_id)
        return Count().standing(set_aside) if count is None else count.standing(set_aside)

    def keep_only(self, there: Collection[TriggerId]) -> None:
        """Others are gone."""
        for trigger_id in self._counts.keys() - there:
            del self._counts[trigger_id]
            self._told.pop(trigger_id, None)

    async def tell(self) -> None:
        """Put on record what is not yet. Raises StoreUnavailable; then it is told the next time."""
        now = {trigger_id: count.standing(0) for trigger_id, count in self._counts.items()}
        changed = {
            trigger_id: standing
            for trigger_id, standing in now.items()
            if standing != self._told.get(trigger_id, Standing(state=TriggerState.ACTIVE))
        }
        if not changed:
            return
        newest = {trigger_id: list(self._counts[trigger_id].newest) for trigger_id in changed}
        for trigger_id in changed:
            self._counts[trigger_id].newest.clear()
        try:
            await self._book.add(
                list(self._tallies(changed, newest)), now=self._clock.now(), unverified_max=INBOUND_UNVERIFIED_MAX
            )
        except BaseException:
            for trigger_id, refusals in newest.items():
                if (count := self._counts.get(trigger_id)) is not None:
                    count.newest = deque([*refusals, *count.newest], maxlen=INBOUND_UNVERIFIED_MAX)
            raise
        self._told |= changed

    def _tallies(self, changed: dict[TriggerId, Standing], newest: dict[TriggerId, list[Refusal]]) -> Iterable[Tally]:
        for trigger_id, standing in changed.items():
            told = self._told.get(trigger_id, Standing())
            yield Tally(
                id=trigger_id,
                published=standing.published - told.published,
                repeated=standing.repeated - told.repeated,
                left_out=standing.left_out - told.left_out,
                unverified=standing.unverified - told.unverified,
                published_at=standing.published_at,
                error_code=standing.error_code,
                error=standing.error,
                newest=newest[trigger_id],
            )
