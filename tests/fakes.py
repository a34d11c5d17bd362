"""Small fakes of the ports, and time that a test owns.

A test under `virtual_time` runs on an event loop whose clock stands still while anything can run, and otherwise jumps to
the next timer: an hour of retries takes milliseconds. With PYTHONHASHSEED set, it happens in the same order each time.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, ParamSpec

from posthouse.adapters.memory import MemoryDatabase, MemoryStore
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.delivery import Delivery, DeliveryClass, JournalBatch
from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.errors import StoreRejected
from posthouse.domain.event import Event
from posthouse.domain.exchange import Answer, Failure, Fault, Request, Result, Timings
from posthouse.domain.ids import EVENT, AppId, EndpointId, EventId, parse_id, unix_ms_of, uuid7
from posthouse.domain.trigger import TriggerFacts
from posthouse.ports.store import Journalled

P = ParamSpec("P")

EPOCH: Final = 1_800_000_000.0  # unix seconds when virtual time begins
BOOT: Final = 1_000.0  # the boot clock then
PATIENCE_SECONDS: Final = 30.0


class _JumpingSelector(selectors.SelectSelector):
    """Where the loop would wait, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits for another: nothing will ever happen again")
            self.seconds += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.seconds

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as when the machine sleeps."""
        self._jumping.seconds += seconds


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class FakeClock:
    """`ports.clock.Clock` on the running loop's time. Ids count up; draws come from a seed."""

    def __init__(self, *, seed: int = 0, draw: float | None = None) -> None:
        self._random = random.Random(seed)
        self._count = seed << 32
        self._draw = draw
        self._floor = 0
        self.cpu_seconds = 0.0

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def boot(self) -> float:
        return asyncio.get_running_loop().time() + BOOT

    def cpu(self) -> float:
        return self.cpu_seconds

    def new_id(self) -> bytes:
        self._count += 1
        return uuid7(max(int(self.now() * 1000), self._floor), self._count)

    def ids_after(self, newest: bytes) -> None:
        self._floor = max(self._floor, unix_ms_of(newest) + 1)

    def draw(self) -> float:
        return self._random.random() if self._draw is None else self._draw

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FakeTelemetry:
    """`ports.telemetry.Telemetry` that remembers."""

    def __init__(self) -> None:
        self.published_events = 0
        self.published_bytes = 0
        self.publish_batches: list[int] = []
        self.attempts: list[tuple[str, str, str]] = []
        self.delays: list[float] = []
        self.journal_batches: list[int] = []
        self.fired_late: list[float] = []

    def published(self, count: int, size: int) -> None:
        self.published_events += count
        self.published_bytes += size

    def publish_batch(self, events: int, seconds: float) -> None:
        self.publish_batches.append(events)

    def attempt(self, outcome: str, reason: str, kind: str, duration_seconds: float) -> None:
        self.attempts.append((outcome, reason, kind))

    def delivered_after(self, seconds: float) -> None:
        self.delays.append(seconds)

    def journal_batch(self, results: int, seconds: float) -> None:
        self.journal_batches.append(results)

    def schedule_fired(self, late_seconds: float) -> None:
        self.fired_late.append(late_seconds)

    def watch(self, name: str, read: Callable[[], float | None]) -> None:
        pass

    def watch_cache(self, name: str, read: Callable[[], CacheFacts]) -> None:
        pass

    def watch_triggers(self, read: Callable[[], Iterable[TriggerFacts]]) -> None:
        pass


class Sent:
    """A request as the fake transport saw it; one that brings a batch has several events."""

    def __init__(self, request: Request, at: float) -> None:
        self.request = request
        self.at = at
        self.path = request.target.path
        self.headers = dict(
            line.lower().split(": ", 1) for line in request.head.decode("latin-1").split("\r\n")[1:] if line
        )
        raw = parse_id(EVENT, self.headers["webhook-id"])
        self.event_ids = [_event_of(part["id"]) for part in json.loads(request.body)] if raw is None else [EventId(raw)]
        self.event_id = self.event_ids[0]


def _event_of(text: str) -> EventId:
    raw = parse_id(EVENT, text)
    assert raw is not None
    return EventId(raw)


Reply = Callable[[Sent], Awaitable[Result]]


class FakeTransport:
    """`ports.transport.Transport` to targets that are functions."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply: Reply = reply or confirm
        self.sent: list[Sent] = []
        self.running: list[Sent] = []
        self.ways: list[tuple[bool, bool]] = []  # of each, whether it was to be written `once`, and `anew`
        self.closed = False

    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        sent = Sent(request, asyncio.get_running_loop().time())
        self.sent.append(sent)
        self.ways.append((once, anew))
        self.running.append(sent)
        try:
            return await self.reply(sent)
        finally:
            self.running.remove(sent)

    async def close(self) -> None:
        self.closed = True


async def confirm(_: Sent) -> Result:
    """A good target."""
    return answer()


def answer(status: int = 200, *headers: tuple[bytes, bytes], body: bytes = b"") -> Answer:
    return Answer(status, headers, body, Timings(total_us=1_000), address="192.0.2.1")


def failure(fault: Fault = Fault.CONNECT_FAILED) -> Failure:
    return Failure(fault, "refused", Timings(total_us=1_000))


async def until(
    fact: Callable[[], bool | Awaitable[bool]], what: str = "the fact", seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until something is so, looking every few milliseconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = fact()
        if not isinstance(found, bool):
            found = await found
        if found:
            return
        assert asyncio.get_running_loop().time() < deadline, f"waited {seconds:g} s in vain for {what}"
        await asyncio.sleep(0.005)


def an_event(seq: int = 1, *, partition: int = 0, **fields: Any) -> Event:
    """An event of the log; its id tells its position."""
    made: dict[str, Any] = {
        "id": EventId(uuid7(int(EPOCH * 1000) + seq, partition << 32 | seq)),
        "partition": partition,
        "seq": seq,
        "app_id": AppId(uuid7(1, 1)),
        "type": "order.created",
        "payload": b'{"n":1}',
        "content_type": "application/json",
        "created_at": EPOCH + seq,
        "config_version": 1,
    }
    return Event(**made | fields)


def an_endpoint(number: int = 1, *, partition: int = 0, **fields: Any) -> Endpoint:
    made: dict[str, Any] = {
        "id": EndpointId(uuid7(2, partition << 32 | number)),
        "app_id": AppId(uuid7(1, 1)),
        "partition": partition,
        "revision": 1,
        "url": f"https://example.com/{number}",
    }
    return Endpoint(**made | fields)


def an_app(*endpoints: Endpoint, number: int = 1, partition: int = 0, version: int = 1, **fields: Any) -> AppConfig:
    return AppConfig(
        app_id=AppId(uuid7(1, number)), partition=partition, version=version, endpoints=endpoints, **fields
    )


class ScriptedStore(MemoryStore):
    """The reference store; its journal takes what the test says, and remembers what was written."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.batches: list[JournalBatch] = []  # as they were tried
        self.written: list[JournalBatch] = []
        self.faults: list[Exception | None] = []  # of the next tries
        self.refuses: Callable[[JournalBatch], bool] = lambda _: False
        self.lost: set[int] = set()
        self.open = asyncio.Event()
        self.open.set()

    async def journal(self, batch: JournalBatch, *, now: float, lease_seconds: float) -> Journalled:
        self.batches.append(batch)
        await self.open.wait()
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        if self.refuses(batch):
            raise StoreRejected("the data are refused")
        self.written.append(batch)
        return Journalled(set(batch.epochs) - self.lost)


def a_delivery(seq: int = 1, endpoint: int = 1, *, partition: int = 0, size: int = 7, **fields: Any) -> Delivery:
    made: dict[str, Any] = {
        "event": an_event(seq, partition=partition, payload=b"x" * size),
        "epoch": 1,
        "endpoint_id": an_endpoint(endpoint, partition=partition).id,
        "number": 1,
        "kind": DeliveryClass.LIVE,
        "offered_at": asyncio.get_running_loop().time() + BOOT,
        "fresh": True,
        "row": False,
    }
    return Delivery(**made | fields)
