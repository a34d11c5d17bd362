"""What routing costs where an app has very many endpoints with filters, in this process and its limited ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from bench.figures import Figure, Report
from bench.harness import Bench
from bench.measures.rendering import PAYLOAD
from bench.scale import Scale
from posthouse.adapters.cel.expressions import CelExpressions
from posthouse.adapters.memory import MemoryDatabase, MemoryStore
from posthouse.adapters.system.clock import SystemClock
from posthouse.dispatch.configs import Configs
from posthouse.dispatch.filtering import Filtering
from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId, EventId, uuid7
from posthouse.settle.progress import Progress

APP: Final = AppId(uuid7(1, 1))
ENDPOINTS: Final = 1_000
FILTERS: Final = 200
EVENTS: Final = 100
LARGE: Final = msgspec.json.encode(
    {"order_id": 123456789, "items": [{"sku": f"abc-{n}", "count": n % 7} for n in range(5_000)]}
)


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    del bench
    asyncio.run(_measure(scale, report))


async def _measure(scale: Scale, report: Report) -> None:
    what = f"one event for an app with {ENDPOINTS:,} endpoints that have {FILTERS} distinct filters, without its deliveries"
    kinds = {
        "routing_ms": (PAYLOAD, _of_fields, "on a payload of the benchmark"),
        "routing_large_ms": (LARGE, _of_fields, "on one with an array of 5,000 items"),
        "routing_large_array_ms": (LARGE, _of_array, "on the same, where the filters look at the array"),
    }
    expressions = CelExpressions()
    try:
        for name, (payload, text, how) in kinds.items():
            route = await _routing(expressions, payload, text)
            await route(3)
            events = EVENTS if scale.events >= EVENTS * 10 else 5
            samples = tuple([await route(events) for _ in range(scale.runs)])
            report.add(Figure(name, samples, f"{what}, {how}", 2))
    finally:
        await expressions.close()


def _of_fields(number: int) -> str:
    return f"event.data.order_id % 200 == {number} && event.type.startsWith('order.')"


def _of_array(number: int) -> str:
    return f"event.data.items[{number}].count == {number % 7} && event.type.startsWith('order.')"


async def _routing(
    expressions: CelExpressions, payload: bytes, text: Callable[[int], str]
) -> Callable[[int], Coroutine[Any, Any, float]]:
    """Routes so many events, one after the other, and gives the milliseconds of one."""
    clock = SystemClock()
    database = MemoryDatabase(clock=clock.now, partitions=1)
    database.put_app(APP, partition=0)
    for number in range(ENDPOINTS):
        config = EndpointConfig(url="https://example.com/hook", filter=text(number % FILTERS))
        database.put_endpoint(EndpointId(uuid7(2, number + 1)), APP, config)
    configs = Configs(MemoryStore(database), clock, changed=lambda _: None)
    await configs.load([APP])
    progress = Progress()
    progress.take(0)
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        tasks.add(asyncio.get_running_loop().create_task(work))

    def offer(event: Event, _: int, endpoints: Sequence[Endpoint]) -> None:
        del endpoints

    filtering = Filtering(
        expressions, configs, progress, clock, offer=offer, skip=lambda *_: None, moved=lambda: None,
        has_room=lambda: True, spawn=spawn,
    )  # fmt: skip

    async def run(events: int) -> float:
        started = time.perf_counter()
        for number in range(events):
            event = _event(number, payload)
            decided = filtering.decide(event, 1, [configs.known(APP)], None)
            progress.opened(event, len(decided.turns))
            filtering.add(decided.turns)
            while tasks:
                await tasks.pop()
        milliseconds = (time.perf_counter() - started) / events * 1_000
        if filtering.failures:
            raise RuntimeError(f"{filtering.failures} filters had no value")
        return milliseconds

    return run


def _event(number: int, payload: bytes) -> Event:
    at = 1_800_000_000.0 + number * 0.0002
    return Event(
        id=EventId(uuid7(int(at * 1000), number)),
        partition=0,
        seq=number,
        app_id=APP,
        type="order.created",
        payload=payload,
        content_type="application/json",
        created_at=at,
        config_version=1,
    )
