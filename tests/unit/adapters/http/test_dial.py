"""Dialling several addresses: how the time for connecting is shared. And dials that nobody waits for any more."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

import pytest
from tests.targets import on_both_loops

from posthouse.adapters.http.connection import Connection, PoolKey
from posthouse.adapters.http.dial import CONNECT_SECONDS_MIN, Dialler, NotDialled
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.transport import HttpTransport
from posthouse.adapters.http.waits import Waits
from posthouse.adapters.http.ways import Way
from posthouse.domain.exchange import Fault


class Register:
    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Swallowed(Dialler):
    """Every address swallows packets: each dial takes its whole share, without waiting for it to pass."""

    def __init__(self, waits: Waits | None = None) -> None:
        super().__init__(Register(), Waits() if waits is None else waits)
        self.shares: list[float] = []

    async def _connect(self, key: PoolKey, way: Way, seconds: float) -> socket.socket | NotDialled:
        self.shares.append(seconds)
        return NotDialled(Fault.CONNECT_TIMEOUT, f"swallowed by {key.address}", key.address)


def keys(count: int) -> list[PoolKey]:
    return [PoolKey("http", "a.example", 80, f"93.184.216.{n}") for n in range(1, count + 1)]


async def dial(dialler: Dialler, count: int, *, connect: float, total: float, now: float | None = None) -> NotDialled:
    began = monotonic() if now is None else now
    result = await dialler.dial(keys(count), Way(), "", connect_seconds=connect, deadline=began + total)
    assert isinstance(result, NotDialled)
    return result


async def test_an_address_that_swallows_packets_leaves_time_for_the_next() -> None:
    dialler = Swallowed()
    result = await dial(dialler, 2, connect=8.0, total=60.0)
    assert dialler.shares == [pytest.approx(4.0, abs=0.1), pytest.approx(8.0, abs=0.1)]
    assert (result.fault, result.address) == (Fault.CONNECT_TIMEOUT, "93.184.216.2")


async def test_a_share_is_long_enough_to_connect_in() -> None:
    dialler = Swallowed()
    await dial(dialler, 16, connect=5.0, total=60.0)
    assert min(dialler.shares) >= CONNECT_SECONDS_MIN
    dialler = Swallowed()
    await dial(dialler, 2, connect=0.5, total=60.0)
    assert dialler.shares[0] == pytest.approx(0.5, abs=0.1)


async def test_the_total_limit_goes_before_the_limit_of_connecting() -> None:
    dialler = Swallowed()
    await dial(dialler, 1, connect=5.0, total=2.0)
    assert dialler.shares == [pytest.approx(2.0, abs=0.1)]


async def test_once_the_time_is_over_no_other_address_is_tried() -> None:
    dialler = Swallowed()
    result = await dial(dialler, 3, connect=5.0, total=0.0)
    assert len(dialler.shares) == 1
    assert result.address == "93.184.216.1"


async def test_the_time_for_connecting_is_not_what_a_standstill_took() -> None:
    waits = Waits()
    waits.stood_still(100.0)
    dialler = Swallowed(waits)
    await dial(dialler, 2, connect=8.0, total=60.0, now=waits.now())
    assert dialler.shares == [pytest.approx(4.0, abs=0.1), pytest.approx(8.0, abs=0.1)]


@pytest.mark.parametrize("turns", [0, 1, 2])
@on_both_loops
async def test_of_a_dial_that_is_cancelled_nothing_is_kept(turns: int) -> None:
    """In one of these turns the connection is made."""
    transport = HttpTransport(GuardPolicy(allow_loopback=True))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        address, port = server.getsockname()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        opening = asyncio.create_task(
            transport._dialler._open(sock, PoolKey("http", address, port, address), Way(), "", 5.0)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await transport.close()
        assert not transport._open
