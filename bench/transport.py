"""What a request costs the sender: `python -m bench.transport [requests]`.

Microseconds of this process's CPU (user and system) for a request and its answer over kept connections on loopback. The
target is a bare asyncio protocol in a process of its own, so that its cost is not counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, cast

import uvloop

from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.transport import HttpTransport
from posthouse.domain.endpoint import Timeouts
from posthouse.domain.exchange import Answer, Request, Target

REQUESTS: Final = 100_000
CONCURRENCY: Final = (1, 16, 64)
BODY: Final = (
    b'{"type":"order.created","timestamp":"2024-06-01T12:00:00Z","data":{"id":42,"note":"' + b"x" * 400 + b'"}}'
)
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ndate: Sat, 01 Jun 2024 12:00:00 GMT\r\nserver: bench\r\n"
    b"content-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
)


class Echo(asyncio.Protocol):
    """Answers each request with the same bytes; a request is known by its length."""

    def __init__(self, request_bytes: int) -> None:
        self._request_bytes = request_bytes
        self._pending = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        requests, self._pending = divmod(self._pending + len(data), self._request_bytes)
        if requests:
            self._transport.write(ANSWER * requests)


def serve(pipe: Pipe, request_bytes: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Echo(request_bytes), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


def build(port: int) -> Request:
    head = (
        f"POST /hooks HTTP/1.1\r\nhost: 127.0.0.1:{port:5d}\r\nuser-agent: Posthouse/0.1\r\n"
        "content-type: application/json\r\nwebhook-id: evt_06b1v8k3m5x0000000000000000\r\n"
        "webhook-timestamp: 1717243200\r\nwebhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    )
    target = Target("http", "127.0.0.1", port, "/hooks", f"127.0.0.1:{port}")
    return Request(target, head.encode(), BODY, Timeouts())


async def measure(port: int, requests: int, concurrency: int) -> tuple[float, float]:
    """Microseconds of CPU, and of the clock, for one request."""
    transport = HttpTransport(GuardPolicy(allow_loopback=True), idle_per_key_max=concurrency)
    request = build(port)

    async def sender(count: int) -> None:
        for _ in range(count):
            result = await transport.send(request)
            assert isinstance(result, Answer), result
            assert result.status == 200

    await asyncio.gather(*(sender(200) for _ in range(concurrency)))
    each = requests // concurrency
    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.gather(*(sender(each) for _ in range(concurrency)))
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    await transport.close()
    return cpu / (each * concurrency) * 1e6, clock / (each * concurrency) * 1e6


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    request = build(0)
    process = context.Process(target=serve, args=(theirs, len(request.head) + len(request.body)), daemon=True)
    process.start()
    port: int = ours.recv()
    loops: dict[str, Callable[[Coroutine[Any, Any, tuple[float, float]]], tuple[float, float]]] = {
        "uvloop": uvloop.run,
        "asyncio": asyncio.run,
    }
    print(f"{'loop':8} {'concurrency':>11} {'cpu µs/request':>15} {'clock µs/request':>17}")
    for name, run in loops.items():
        for concurrency in CONCURRENCY:
            cpu, clock = run(measure(port, requests, concurrency))
            print(f"{name:8} {concurrency:11} {cpu:15.1f} {clock:17.1f}", flush=True)
    process.terminate()
    process.join()


if __name__ == "__main__":
    main()
