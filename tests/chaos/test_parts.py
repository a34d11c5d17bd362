"""The plan and the proxy, which the rest rests on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.chaos.plan import OF_OTHERS, OF_PROCESSES, PROCESSES, plan
from tests.chaos.proxy import Proxy


def test_a_seed_makes_one_plan() -> None:
    assert plan(7, 60.0) == plan(7, 60.0) != plan(8, 60.0)
    assert str(plan(7, 60.0)).startswith("seed 7, 60 s\n")


def test_a_plan_keeps_to_its_time_and_has_some_of_everything() -> None:
    made = plan(7, 60.0)
    assert {step.act for step in made.steps} == {*OF_PROCESSES, *OF_OTHERS}
    assert all(0 <= step.at < 60.0 for step in made.steps)
    assert all(step.whom < PROCESSES for step in made.to_processes)
    assert sorted(made.to_processes + made.others, key=lambda step: step.at) == list(made.steps)


class Echo:
    """Answers what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.changed = asyncio.Condition()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                async with self.changed:
                    self.heard += data
                    self.changed.notify_all()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def hears(self, data: bytes) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.heard == data)


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    made = Echo()
    server = await asyncio.start_server(made, "127.0.0.1", 0)
    yield made, server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0)


async def test_a_connection_is_cut_on_both_sides(echo: tuple[Echo, int]) -> None:
    proxy = Proxy(echo[1], late=True)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    proxy.sever()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    proxy.refusing = True
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await proxy.close()


@pytest.mark.parametrize("late", [True, False])
async def test_what_was_held_up_comes_late_or_never_if_its_side_is_gone(echo: tuple[Echo, int], late: bool) -> None:
    proxy = Proxy(echo[1], late=late)
    await proxy.start()
    _, gone = await asyncio.open_connection("127.0.0.1", proxy.port)
    reader, stays = await asyncio.open_connection("127.0.0.1", proxy.port)
    stays.write(b"one")
    assert await reader.readexactly(3) == b"one"
    proxy.stall()
    gone.write(b"two")
    gone.close()
    await gone.wait_closed()
    while not any(side.ended for side in proxy.sides):  # noqa: ASYNC110 - the fact is a socket's
        await asyncio.sleep(0.001)
    assert echo[0].heard == b"one"
    proxy.flow()
    await echo[0].hears(b"onetwo" if late else b"one")
    stays.write(b"three")
    assert await reader.readexactly(5) == b"three"
    await echo[0].hears(b"onetwothree" if late else b"onethree")
    stays.close()
    await proxy.close()
