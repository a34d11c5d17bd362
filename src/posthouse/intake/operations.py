"""Telling operators of what no attempt caused: through the ordinary publisher, into their reserved app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from posthouse.domain.errors import Conflict, PosthouseError, QuotaExceeded
from posthouse.domain.ids import APP, ENDPOINT, REPLAY, TRIGGER, AppId, EndpointId, EventId, format_id
from posthouse.domain.limits import CALLBACKS_TOLD_SECONDS, NEWS_PENDING_MAX, QUOTA_APPS_MAX, QUOTA_TOLD_SECONDS
from posthouse.domain.operations import (
    News,
    callback_failed,
    chain_stopped,
    draft_of_news,
    endpoint_verification_failed,
    endpoint_verified,
    is_told,
    log_rewound,
    quota_reached,
    replay_finished,
    schedule_failing,
    trigger_failing,
)
from posthouse.domain.replay import Replay
from posthouse.domain.schedule import Schedule, idempotency_key_of
from posthouse.domain.trigger import Standing, Trigger
from posthouse.domain.verdict import Refused
from posthouse.domain.verification import Verification
from posthouse.intake.publisher import Publisher
from posthouse.ports.clock import Clock
from posthouse.ports.verifications import Claim

log = structlog.get_logger()

OWED_PER_ENDPOINT: Final = "owed_per_endpoint"
REWOUND_SECONDS: Final = 1.0  # partitions whose logs are found to have lost their ends within it are told of together
PARTITION: Final = 0
"""Where the operators' app is."""


class Operators:
    """Publishes operational events.

    `tell` has published when it returns. The others are for those who cannot wait: they never raise, and what the publisher
    does not take is lost, but for what `log_rewound` says.
    """

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self._told: dict[tuple[AppId, str], float] = {}  # when (boot clock) that of an app or endpoint was last told
        self._telling: set[asyncio.Task[None]] = set()
        self._rewound: dict[int, float] = {}  # partitions, and when the newest event that was seen of each was appended
        self._rewinding: asyncio.Task[None] | None = None

    async def tell(self, news: News, *, once: str) -> None:
        """Publish, unless something was published under `once` within a day. Nothing is told of the operators' own app.

        Raises what `Publisher.submit` does, but for Conflict: then another one is just telling it.
        """
        if not is_told(news.app_id):
            return
        draft = draft_of_news(news, EventId(self._clock.new_id()), once=once)
        try:
            await self._publisher.submit(PARTITION, [draft])
        except Conflict:
            log.info("operations.told_by_another", once=once)

    def quota_refused(self, app_id: AppId, refusal: QuotaExceeded) -> None:
        """An app was refused something: told once an hour for a quota."""
        self._reached(app_id, refusal.code, refusal.limit)

    def owed_too_much(self, app_id: AppId, rows_max: int) -> None:
        """An endpoint of the app was owed more deliveries than it may be, and the oldest were given up."""
        self._reached(app_id, OWED_PER_ENDPOINT, rows_max)

    def _reached(self, app_id: AppId, quota: str, limit: float) -> None:
        self._seldom(
            app_id,
            quota,
            lambda at: quota_reached(app_id, quota=quota, limit=limit, at=at),
            name=f"{format_id(APP, app_id)}/{quota}",
            seconds=QUOTA_TOLD_SECONDS,
        )

    def chain_stopped(self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, reason: str, limit: int) -> None:
        """An answer asked for an event that may be of a loop: told once an hour for an app and reason."""
        self._seldom(
            app_id,
            f"chain.{reason}",
            lambda at: chain_stopped(app_id, endpoint_id, event=event, reason=reason, limit=limit, at=at),
            name=f"{format_id(APP, app_id)}/{reason}",
            seconds=CALLBACKS_TOLD_SECONDS,
        )

    def callback_failed(
        self, app_id: AppId, endpoint_id: EndpointId, event: EventId, *, action: str, reason: str
    ) -> None:
        """What an answer should make happen cannot be done: told once an hour for an endpoint and an action."""
        self._seldom(
            app_id,
            f"{format_id(ENDPOINT, endpoint_id)}.{action}",
            lambda at: callback_failed(app_id, endpoint_id, event=event, action=action, reason=reason, at=at),
            name=f"{format_id(ENDPOINT, endpoint_id)}/{action}",
            seconds=CALLBACKS_TOLD_SECONDS,
        )

    def _seldom(self, app_id: AppId, what: str, news_at: Callable[[float], News], *, name: str, seconds: float) -> None:
        """Tell it, unless it was told in the last so many seconds, by whatever process. `name` is what `once` counts by."""
        key, now = (app_id, what), self._clock.boot()
        last = self._told.get(key)
        if not is_told(app_id) or (last is not None and now - last < seconds):
            return
        if len(self._told) >= QUOTA_APPS_MAX:
            self._told.clear()
        at = self._clock.now()
        news = news_at(at)
        # Other processes may find the same: of those who say so in one such time, one is heard.
        once = f"{news.type}/{name}/{int(at // seconds)}"
        if self._tell_soon(news, once, failed=lambda: self._told.pop(key, None)):
            self._told[key] = now

    def replay_ended(self, replay: Replay) -> None:
        """A replay came to its end."""
        wanted, name = replay.wanted, format_id(REPLAY, replay.id)
        news = replay_finished(
            wanted.app_id,
            wanted.endpoint_id,
            replay=name,
            state=replay.state.value,
            deliveries=replay.selected,
            at=self._clock.now() if replay.finished_at is None else replay.finished_at,
        )
        self._tell_soon(news, f"{news.type}/{name}")

    def endpoint_verification(self, claim: Claim, verification: Verification) -> None:
        """An endpoint is verified now, or its handshake came to nothing for the last time."""
        if verification.sendable:
            news = endpoint_verified(claim.app_id, claim.endpoint_id, at=verification.since)
        else:
            news = endpoint_verification_failed(
                claim.app_id, claim.endpoint_id, reason=str(verification.reason), at=verification.since
            )
        self._tell_soon(news, f"{news.type}/{format_id(ENDPOINT, claim.endpoint_id)}/{claim.turn}")

    def schedule_failing(self, schedule: Schedule, occurrence: float, refusal: Refused) -> None:
        """The event of a schedule was refused, whose last one was not."""
        news = schedule_failing(
            schedule.app_id,
            schedule=schedule.reference,
            event_type=schedule.config.type,
            scheduled_at=occurrence,
            code=refusal.code,
            reason=refusal.reason,
            at=self._clock.now(),
        )
        self._tell_soon(news, f"{news.type}/{idempotency_key_of(schedule.id, int(occurrence))}")

    def trigger_failing(self, trigger: Trigger, standing: Standing) -> None:
        """A trigger has failed several times in a row."""
        since = standing.failing_since or self._clock.now()
        news = trigger_failing(
            trigger.app_id,
            trigger=trigger.reference,
            kind=trigger.config.kind,
            code=standing.error_code or "",
            reason=standing.error or "",
            failing_since=since,
            at=self._clock.now(),
        )
        self._tell_soon(news, f"{news.type}/{format_id(TRIGGER, trigger.id)}/{int(since)}")

    def log_rewound(self, partition: int, last_seen_at: float) -> None:
        """The log of a partition has lost its end. Told until it is stored: the store may be away again at such a time."""
        self._rewound[partition] = max(last_seen_at, self._rewound.get(partition, 0.0))
        if self._rewinding is None:
            self._rewinding = asyncio.get_running_loop().create_task(self._tell_rewound())

    async def _tell_rewound(self) -> None:
        try:
            while self._rewound:
                await self._clock.sleep(REWOUND_SECONDS)
                found = dict(self._rewound)
                now = self._clock.now()
                news = log_rewound(found, last_seen_at=max(found.values()), at=now)
                try:
                    await self.tell(news, once=f"{news.type}/{self._clock.new_id().hex()}")
                except PosthouseError as error:
                    log.warning("operations.not_told_yet", type=news.type, error=str(error))
                    continue
                for partition, last_seen_at in found.items():
                    if self._rewound[partition] == last_seen_at:
                        del self._rewound[partition]
        finally:
            self._rewinding = None

    def _tell_soon(self, news: News, once: str, *, failed: Callable[[], object] = lambda: None) -> bool:
        """False where too much is being told already, and this will not be."""
        if len(self._telling) >= NEWS_PENDING_MAX:
            log.warning("operations.not_told", type=news.type, error="too much at once")
            return False
        task = asyncio.get_running_loop().create_task(self._try(news, once, failed))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return True

    async def _try(self, news: News, once: str, failed: Callable[[], object]) -> None:
        try:
            await self.tell(news, once=once)
        except PosthouseError as error:
            failed()
            log.warning("operations.not_told", type=news.type, error=str(error))

    async def close(self) -> None:
        """Wait for what is being told; what could not be told by now is not."""
        await asyncio.gather(*self._telling, return_exceptions=True)
        if self._rewinding is not None:
            log.warning("operations.not_told", type="log.rewound", partitions=sorted(self._rewound))
            self._rewinding.cancel()
            await asyncio.gather(self._rewinding, return_exceptions=True)
