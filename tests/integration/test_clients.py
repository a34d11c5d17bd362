"""Clients that do nothing must not take what deliveries need: so many may be connected, and no more."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes import until
from tests.serving import ask, call, serving
from tests.targets import OK, Peer, target


async def confirming(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


async def test_more_clients_than_there_is_room_for_are_told_to_come_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.bootstrap.room_for_clients", lambda *_, **__: 3)
    async with target(confirming) as served, serving(database) as server:
        await call(server.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(server.port, "POST", "/v1/apps", {"uid": "acme"})
        await call(server.port, "POST", "/v1/apps/acme/endpoints", {"url": f"http://127.0.0.1:{served.port}/"})
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        event = await call(server.port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": {}})
        await until(lambda: len(served.peers) > 0, f"{event} at the target")
        idle.append(await asyncio.open_connection("127.0.0.1", server.port))

        async def refused() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            try:
                async with asyncio.timeout(0.3):
                    told = await reader.read()
            except TimeoutError:
                return False  # it is in: one before it was not counted out yet
            finally:
                writer.close()
            assert told.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"), told
            return True

        await until(refused)
        for _, writer in idle:
            writer.close()

        async def answered() -> bool:
            try:
                return (await ask(server.port, "GET", "/healthz", key=None)).status == 200
            except (OSError, EOFError):
                return False

        await until(answered)
