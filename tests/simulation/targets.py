"""The targets of a history: what each of their URLs does to a request, and whether it came at a pace that was allowed."""

from __future__ import annotations

import asyncio
import bisect
import json
import math
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.fakes import Sent, answer, failure
from tests.simulation.circuits import CIRCUITS

from posthouse.domain.callback import is_down
from posthouse.domain.endpoint import Ordering, RateLimit
from posthouse.domain.exchange import NO_TIMINGS, Answer, Failure, Fault, Result
from posthouse.domain.ids import EVENT, EndpointId, EventId, format_id

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


FAILURES_MIN: Final = 5  # the circuit opens after four, and as many more as are under way
PROBE_SECONDS: Final = 0.4  # a little less than the first wait


class _Pace:
    """No span of w seconds has more than rate · w + burst requests, by when they were let go: not in which order they began."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self.times: list[float] = []

    def exceeds(self, at: float, per_second: float, capacity: float) -> bool:
        bisect.insort(self.times, at)
        least = math.inf
        for requests, time in enumerate(self.times):
            least = min(least, requests - per_second * time)
            if requests + 1 - per_second * time - least > capacity:
                return True
        return False


class _Trouble:
    """How often in a row a URL was down for a process (which counts that in one circuit), and when a request last began."""

    __slots__ = ("began_at", "circuit", "failures", "since", "successes")

    def __init__(self) -> None:
        self.circuit: object = None
        self.successes: deque[float] = deque()
        self.failures = 0
        self.since = 0.0
        self.began_at = -math.inf


class Targets:
    """Each endpoint has a mood at its own URL and another one at its second."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.moods: dict[EndpointId, str] = {}
        self.second_moods: dict[EndpointId, str] = {}
        # Asked once, how much longer its next request takes, which is of these events.
        self.watched: dict[EndpointId, Callable[[Process, Sequence[EventId]], float]] = {}
        self._longer: dict[EndpointId, float] = {}
        self._paces: defaultdict[EndpointId, _Pace] = defaultdict(_Pace)
        self._troubles: defaultdict[tuple[Process, str], _Trouble] = defaultdict(_Trouble)
        self._held: dict[tuple[Process, EndpointId], tuple[Any, float]] = {}  # in which lane, until when

    def mood_of(self, endpoint_id: EndpointId, path: str) -> str:
        return (self.second_moods if path.endswith("/second") else self.moods)[endpoint_id]

    def started(self, process: Process, endpoint_id: EndpointId, sent: Sent, taken_at: float, *, anew: bool) -> None:
        """Rate limits hold whoever owns a lane; what a target asks for holds its lane."""
        world, path = self._world, sent.path
        watched = self.watched.pop(endpoint_id, None)
        if watched is not None:
            self._longer[endpoint_id] = watched(process, sent.event_ids)
        if world.owner_of(endpoint_id) != process.owner:
            return  # it is taken for dead and does not know yet: nobody can know that of it
        limit = world.flows[endpoint_id].rate_limit
        if (
            limit is not None
            and self.mood_of(endpoint_id, path) != "broken"  # then nothing was sent
            and self._paces[endpoint_id].exceeds(taken_at, limit.per_second, limit.capacity + self._slack(limit))
        ):
            world.checker.wrong(f"too many requests to {endpoint_id.hex()[-4:]}")
        if not anew:  # that a kept connection ends says nothing of its target, and costs a probe nothing
            self._look_at_circuit(process, endpoint_id, path)
        lane, until = self._held.get((process, endpoint_id), (None, 0.0))
        mine = process.engine.lanes._lanes.get(endpoint_id)
        if lane is not None and lane is mine and not world.weather.skew and world.now() < until - 0.001:
            world.checker.wrong(f"{endpoint_id.hex()[-4:]} asked to be left alone for {until - world.now():.3f} s more")

    def _slack(self, limit: RateLimit) -> float:
        """A successor knows by another clock when the last request was."""
        return 0.01 + limit.per_second * 2 * self._world.weather.skew

    def _look_at_circuit(self, process: Process, endpoint_id: EndpointId, path: str) -> None:
        """After so many failures in a row the circuit of a URL is open, and lets single probes pass."""
        world, trouble = self._world, self._troubles[process, path]
        lane = process.engine.lanes._lanes.get(endpoint_id)
        routes = () if lane is None else lane.peer.routes
        circuit = next((route.circuit for route in routes if route.url.endswith(path)), None)
        if circuit is None or circuit is not trouble.circuit:
            trouble.failures, trouble.circuit = 0, circuit  # it counts from anew
        gap = world.now() - trouble.began_at
        if gap > 2 * CIRCUITS.window_seconds:
            trouble.failures = 0  # the circuit looks back no further, and the successes of then are forgotten below
        while trouble.successes and trouble.successes[0] < world.now() - 2 * CIRCUITS.window_seconds:
            trouble.successes.popleft()
        if (
            trouble.failures >= FAILURES_MIN + world.concurrency_max + len(trouble.successes)
            and gap < PROBE_SECONDS
            and not world.weather.skew
        ):
            world.checker.wrong(
                f"{path[:38]} was down {trouble.failures} times in a row, and is asked again after {gap:.3f} s"
            )
        trouble.began_at = world.now()

    def answered(self, process: Process, endpoint_id: EndpointId, path: str, result: Result) -> None:
        """The process has the answer."""
        trouble = self._troubles[process, path]
        if isinstance(result, Failure) and result.stale:
            return
        if not is_down(result):
            trouble.successes.append(self._world.now())
        if not is_down(result) or self._world.now() > trouble.since + CIRCUITS.window_seconds / 2:
            trouble.failures, trouble.since = 0, self._world.now()
        if is_down(result):
            trouble.failures += 1
        if isinstance(result, Answer) and result.status == 503:
            seconds = float(result.header(b"retry-after") or 0)
            lane = process.engine.lanes._lanes.get(endpoint_id)
            self._held[process, endpoint_id] = (lane, self._world.now() + seconds)

    def count_anew(self, endpoint_id: EndpointId) -> None:
        """Its rate is another one now."""
        self._paces.pop(endpoint_id, None)

    def forgiven(self, endpoint_id: EndpointId) -> None:
        """It is enabled again by hand: what it asked for before is over."""
        self._held = {key: held for key, held in self._held.items() if key[1] != endpoint_id}

    async def reply(self, endpoint_id: EndpointId, sent: Sent, *, kept: bool) -> Result:
        """What becomes of a request, whether or not anybody still waits for it; perhaps on a kept connection."""
        world = self._world
        mood = self.mood_of(endpoint_id, sent.path)
        keys = [(endpoint_id, event_id) for event_id in sent.event_ids]
        if mood == "broken":
            raise OSError("no file descriptor is left")
        world.checker.reaches(keys)
        await asyncio.sleep(world.random.random() * 0.05 + self._longer.pop(endpoint_id, 0.0))
        if mood == "slow":
            await asyncio.sleep(3.0)
        elif mood == "hanging":
            await asyncio.sleep(10.0)
            return failure(Fault.TOTAL_TIMEOUT)
        elif mood == "asking":
            return answer(503, (b"retry-after", world.random.choice((b"2", b"5"))))
        elif mood == "gone" and world.random.random() < 0.3:
            return answer(410)
        elif mood == "cutting" and world.random.random() < 0.6:
            return Failure(Fault.CLOSED_EARLY, "cut", NO_TIMINGS, stale=kept)
        elif mood == "failing" or (mood == "flaky" and world.random.random() < 0.3):
            return answer(500)
        refused = set()
        if mood == "flaky" and len(sent.event_ids) > 1:
            refused = {event_id for event_id in sent.event_ids if world.random.random() < 0.2}
        ordered = world.database.endpoints[endpoint_id].config.ordering is not Ordering.NONE
        for key in keys:
            if key[1] not in refused:
                if (ordered and refused) or mood == "mute":
                    world.checker.may_repeat([key])  # what is behind a refused one comes again
                world.checker.confirms(key)
        if mood == "mute":
            return failure(Fault.TOTAL_TIMEOUT)
        told = [{"id": format_id(EVENT, event_id), "confirmed": False, "reason": "no"} for event_id in refused]
        return answer(body=json.dumps({"results": told}).encode())
