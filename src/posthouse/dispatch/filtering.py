"""Filters decide which endpoints an event reaches: at once where that is certain to be quick, else later, and then in order.

What is evaluated later is a *turn*: one event, for the endpoints of one app about which nothing is known yet. Progress counts
a turn as a delivery, so that the cursor waits for it; a crash, or a hand-over, leaves nothing behind but an event after the
cursor, which is routed again. Turns of an app are taken one by one, in the order of the log. Other endpoints of the app do
not wait, but for ordered ones about which an earlier turn is to decide: they stand behind it, whatever is known of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec
import structlog

from posthouse.dispatch.configs import Configs
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.expression import Facts, Failed, FailedBecause
from posthouse.domain.filters import OnFilterError
from posthouse.domain.ids import ENDPOINT, EVENT, AppId, EndpointId, format_id
from posthouse.domain.limits import (
    AT_ONCE_EXPRESSIONS_MAX,
    FILTERING_APP_BYTES_MAX,
    FILTERING_APP_EVENTS_MAX,
    FILTERING_AT_ONCE_MAX,
    FILTERING_BYTES_MAX,
    FILTERING_EVENTS_MAX,
    FILTERING_SECONDS_MAX,
    FILTERING_TURNS_MAX,
)
from posthouse.domain.matching import Attributes, Verdict
from posthouse.domain.routing import Asked, Entry, Router, distinct, judged
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import Expressions
from posthouse.send.filters import outcomes_of
from posthouse.settle.progress import Progress

log = structlog.get_logger()

TELL_SECONDS: Final = 10.0
OUT_OF_TIME: Final = Failed(FailedBecause.TOO_LONG, "its event waited too long")
OUT_OF_ROOM: Final = Failed(FailedBecause.UNAVAILABLE, "too many events wait for filters")
OUR_FAULT: Final = Failed(FailedBecause.UNAVAILABLE, "evaluating it failed")

Verdicts = dict[Asked, Verdict]
Skipped = tuple[Endpoint, Failed]
"""An endpoint whose delivery is given up, as its filter has no value."""


class _Waiting:
    """An event that waits for filters; `turns` are those that are left of it."""

    __slots__ = ("epoch", "event", "size", "turns")

    def __init__(self, event: Event, epoch: int) -> None:
        self.event = event
        self.epoch = epoch
        self.size = event.size
        self.turns = 0


class Turn:
    """One event, for those endpoints of one app that wait. `verdicts` are there once its filters were evaluated."""

    __slots__ = ("app_id", "entries", "since", "verdicts", "waiting")

    def __init__(self, waiting: _Waiting, app_id: AppId, entries: list[Entry], since: float) -> None:
        self.verdicts: Verdicts | None = None
        self.waiting = waiting
        self.app_id = app_id
        self.entries = entries
        self.since = since


class _Line:
    """The turns of an app. `candidates` are all endpoints about which any of them was to decide since there was none."""

    __slots__ = ("candidates", "evaluating", "partition", "size", "turns")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.turns: deque[Turn] = deque()
        self.candidates: set[EndpointId] = set()
        self.size = 0
        self.evaluating: asyncio.Task[Verdicts] | None = None

    def is_before(self, endpoint: Endpoint) -> bool:
        """Whether what an endpoint is to get next has to wait for a turn of these."""
        return endpoint.ordered and endpoint.id in self.candidates


class Decided(msgspec.Struct, gc=False):
    """What became of an event as it came by: whom it reaches now, what of it is given up, and what waits."""

    reached: list[Endpoint]
    skipped: list[Skipped]
    turns: list[Turn]


class Filtering:
    """Decides about filters. `offer` is given what an event reaches after it had to wait, `skip` a delivery that is given up as
    its filter has no value; `moved` is told where a turn came to nothing, and `has_room` is asked before anything is offered
    (at a bound it is offered all the same). `spawn` keeps a task.
    """

    def __init__(
        self,
        expressions: Expressions,
        configs: Configs,
        progress: Progress,
        clock: Clock,
        *,
        offer: Callable[[Event, int, Sequence[Endpoint]], None],
        skip: Callable[[Event, int, Endpoint, Failed], None],
        moved: Callable[[], None],
        has_room: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._expressions = expressions
        self._configs = configs
        self._progress = progress
        self._clock = clock
        self._offer = offer
        self._skip = skip
        self._moved = moved
        self._has_room = has_room
        self._spawn = spawn
        self._lines: dict[AppId, _Line] = {}
        self._slots = asyncio.Semaphore(FILTERING_AT_ONCE_MAX)
        self._room = asyncio.Event()
        self._tell_at = 0.0
        self._untold = 0
        self.events = 0  # that wait
        self.bytes = 0
        self.turns = 0
        self.failures = 0  # filters without a value, once for each endpoint and event

    def waits(self, app_id: AppId) -> bool:
        """Whether events of an app wait."""
        return app_id in self._lines

    def undecided(self, endpoint: Endpoint) -> int | None:
        """The `seq` from which on it may not be decided yet whether events reach an endpoint. None: all that came by are."""
        line = self._lines.get(endpoint.app_id)
        if line is None or not line.turns or not line.is_before(endpoint):
            return None
        return line.turns[0].waiting.event.seq

    # As an event comes by

    def decide(
        self, event: Event, epoch: int, routers: Sequence[Router], recorded: Callable[[Endpoint], bool] | None
    ) -> Decided:
        """What becomes of an event. What waits is not in its line before it is `add`ed. `recorded` says which deliveries have a
        home already."""
        decided = Decided([], [], [])
        apps: list[tuple[Router, Sequence[Entry]]] = []
        for router in routers:
            all_entries: Sequence[Entry] = (
                router.entries(event.type, event.channels)
                if event.only is None
                else [(endpoint, None) for endpoint in router.only(event.only)]
            )
            unrecorded = all_entries if recorded is None else [e for e in all_entries if not recorded(e[0])]
            apps.append((router, unrecorded))
        verdicts = self._at_once(event, [entries for router, entries in apps if router.filtered])
        waiting: _Waiting | None = None
        for router, entries in apps:
            known: Sequence[Entry] = entries
            later: list[Entry] = []
            if router.filtered:
                known = [entry for entry in entries if entry[1] is None or entry[1] in verdicts]
                later = [entry for entry in entries if entry[1] is not None and entry[1] not in verdicts]
            passed, skipped = self._judged(event, known, verdicts)
            line = self._lines.get(router.config.app_id)
            if line is not None:
                later += [(endpoint, None) for endpoint in passed if line.is_before(endpoint)]
                passed = [endpoint for endpoint in passed if not line.is_before(endpoint)]
            decided.reached += passed
            decided.skipped += skipped
            if later:
                waiting = waiting or _Waiting(event, epoch)
                decided.turns.append(Turn(waiting, router.config.app_id, later, self._clock.boot()))
        return decided

    def _at_once(self, event: Event, apps: Sequence[Sequence[Entry]]) -> Verdicts:
        """The verdicts that can be had now: where no expression matters, and of those that are known to be quick."""
        attributes = Attributes(event)
        verdicts: Verdicts = {}
        quick: list[list[Asked]] = []
        for entries in apps:
            asked = dict.fromkeys([one for _, one in entries if one is not None])
            quick.append([])
            for one in asked:
                condition = one.condition
                if condition.mixed and not isinstance(verdict := condition.judge(attributes, {}), Failed):
                    verdicts[one] = verdict
                elif not (condition.personal or condition.by_app):
                    quick[-1].append(one)
        together = [one for several in quick for one in several]
        if together and not self._evaluated_at_once(event, attributes, together, verdicts) and len(apps) > 1:
            # One app's filters need more than that, or the event is large: each app for itself.
            left = AT_ONCE_EXPRESSIONS_MAX
            for several in quick:
                left -= sum([len(one.condition.expressions) for one in several])
                if left < 0:
                    break  # the others have a turn of the event loop of their own
                if several:
                    self._evaluated_at_once(event, attributes, several, verdicts)
        return verdicts

    def _evaluated_at_once(
        self, event: Event, attributes: Attributes, asked: Sequence[Asked], verdicts: Verdicts
    ) -> bool:
        expressions = distinct(asked)
        outcomes = self._expressions.at_once(expressions, Facts(event=event))
        if outcomes is None:
            return False
        found = dict(zip(expressions, outcomes, strict=True))
        for one in asked:
            verdicts[one] = one.condition.judge(attributes, found)
        return True

    def _judged(
        self, event: Event, entries: Iterable[Entry], verdicts: Verdicts
    ) -> tuple[list[Endpoint], list[Skipped]]:
        """Whom an event reaches, in the order of the entries, and what is given up: where a filter has no value, what its
        endpoint says of that counts."""
        skipped: list[Skipped] = []
        passed: list[Endpoint] = []
        for endpoint, verdict in judged(entries, verdicts):
            if verdict is True:
                passed.append(endpoint)
            elif verdict is not False:
                self._tell(event, endpoint, verdict)
                if endpoint.on_filter_error is OnFilterError.DELIVER:
                    passed.append(endpoint)
                else:
                    skipped.append((endpoint, verdict))
        return passed, skipped

    def _tell(self, event: Event, endpoint: Endpoint, failed: Failed) -> None:
        self.failures += 1
        now = self._clock.boot()
        if now < self._tell_at:
            self._untold += 1
            return
        self._tell_at = now + TELL_SECONDS
        log.warning(
            "filter.failed",
            endpoint=format_id(ENDPOINT, endpoint.id),
            event_id=format_id(EVENT, event.id),
            because=failed.because.value,
            detail=failed.detail,
            default=endpoint.on_filter_error.value,
            untold=self._untold,
        )
        self._untold = 0

    # Turns

    def add(self, turns: Sequence[Turn]) -> None:
        """These wait, each at the end of its app's line. Progress counts them already."""
        for turn in turns:
            waiting = turn.waiting
            line = self._lines.get(turn.app_id)
            if line is None:
                line = self._lines[turn.app_id] = _Line(waiting.event.partition)
                self._configs.pinned.add(turn.app_id)
                self._spawn(self._run(turn.app_id, line))
            if not waiting.turns:
                self.events += 1
                self.bytes += waiting.size
            waiting.turns += 1
            self.turns += 1
            line.turns.append(turn)
            line.size += waiting.size
            line.candidates.update([endpoint.id for endpoint, _ in turn.entries if endpoint.ordered])
            while len(line.turns) > FILTERING_APP_EVENTS_MAX or (
                line.size > FILTERING_APP_BYTES_MAX and len(line.turns) > 1
            ):
                self._give_default(line, OUT_OF_ROOM)
        while self.events > FILTERING_EVENTS_MAX or self.turns > FILTERING_TURNS_MAX:
            self._give_default(max(self._lines.values(), key=lambda line: len(line.turns)), OUT_OF_ROOM)
        while self.bytes > FILTERING_BYTES_MAX:
            self._give_default(max(self._lines.values(), key=lambda line: line.size), OUT_OF_ROOM)

    def _give_default(self, line: _Line, because: Failed) -> None:
        """The first turn of a line does not wait any longer."""
        if line.evaluating is not None:
            line.evaluating.cancel()
            line.evaluating = None
        turn = line.turns[0]
        self._release(line, turn, _failed(turn, because) if turn.verdicts is None else turn.verdicts)

    async def _run(self, app_id: AppId, line: _Line) -> None:
        """Take the turns of an app until there is none."""
        while line.turns:
            turn = line.turns[0]
            verdicts = turn.verdicts = await self._verdicts(line, turn)
            while line.turns and line.turns[0] is turn and not self._has_room():
                self._room.clear()
                await self._room.wait()
            if line.turns and line.turns[0] is turn:
                self._release(line, turn, verdicts)
                if line.turns:
                    await self._clock.sleep(0)  # one event may reach very many
        if self._lines.get(app_id) is line:
            del self._lines[app_id]
            self._configs.pinned.discard(app_id)

    async def _verdicts(self, line: _Line, turn: Turn) -> Verdicts:
        """What a turn's filters say, as far as they do in time."""
        asked = list(dict.fromkeys([one for _, one in turn.entries if one is not None]))
        left = turn.since + FILTERING_SECONDS_MAX - self._clock.boot()
        if not asked:
            return {}
        if left <= 0:
            return _failed(turn, OUT_OF_TIME)
        task = line.evaluating = asyncio.get_running_loop().create_task(self._evaluate(turn, asked))
        try:
            await asyncio.wait({task}, timeout=left)
            if task.done() and not task.cancelled():
                return task.result()
        except Exception as error:
            log.error("filter.not_evaluated", exc_info=error)
            return _failed(turn, OUR_FAULT)
        finally:
            task.cancel()
            if line.evaluating is task:
                line.evaluating = None
        return _failed(turn, OUT_OF_TIME)

    async def _evaluate(self, turn: Turn, asked: Sequence[Asked]) -> Verdicts:
        event = turn.waiting.event
        attributes = Attributes(event)
        async with self._slots:
            outcomes = await outcomes_of(self._expressions, event, turn.app_id, asked)
        return {one: one.condition.judge(attributes, outcomes[one]) for one in asked}

    def _release(self, line: _Line, turn: Turn, verdicts: Verdicts) -> None:
        """The first turn of a line is over: offer what it reaches, to endpoints as they are by now."""
        self._leave(line, line.turns.popleft())
        router = self._configs.known(turn.app_id)
        entries = [
            (now, asked)
            for endpoint, asked in turn.entries
            if (now := router.endpoint(endpoint.id)) is not None and now.enabled
        ]
        event, epoch = turn.waiting.event, turn.waiting.epoch
        passed, skipped = self._judged(event, entries, verdicts)
        self._progress.came_to(event.partition, event.seq, len(passed) + len(skipped))
        if passed:
            self._offer(event, epoch, passed)
        for endpoint, failed in skipped:
            self._skip(event, epoch, endpoint, failed)
        self._moved()

    def _leave(self, line: _Line, turn: Turn) -> None:
        waiting = turn.waiting
        waiting.turns -= 1
        self.turns -= 1
        line.size -= waiting.size
        if not waiting.turns:
            self.events -= 1
            self.bytes -= waiting.size

    def roomier(self) -> None:
        """There may be room again."""
        self._room.set()

    def drop(self, partitions: Collection[int]) -> None:
        """These are not ours any more, or about to be handed over: what waits is routed by whoever has them next."""
        for app_id, line in list(self._lines.items()):
            if line.partition in partitions:
                del self._lines[app_id]
                self._configs.pinned.discard(app_id)
                while line.turns:
                    self._leave(line, line.turns.popleft())
                if line.evaluating is not None:
                    line.evaluating.cancel()
        self._room.set()


def _failed(turn: Turn, because: Failed) -> Verdicts:
    return {asked: because for _, asked in turn.entries if asked is not None}
