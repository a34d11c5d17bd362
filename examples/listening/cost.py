"""What a listener adds to a request: `python -m examples.listening.cost`.

An application that answers at once is called in a loop, alone and under a listener with 50 rules, in turns; shown are medians
over the turns, in microseconds a request. Nothing of a server or a network is in them.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from examples.listening.applications import asgi_application, wsgi_application

from posthouse_sdk.listening import AsgiListener, Listener, Memory, Rule, Spool, WsgiListener
from posthouse_sdk.listening.sink import Sink

TURNS: Final = 15
REQUESTS: Final = 20_000
REQUESTS_MATCHED: Final = 500
RULES: Final = [
    Rule("POST", "/orders", "order_create", status=201, data={"order": "{answer.id}"}),
    *(Rule(["POST", "PUT"], f"/shops/{{shop}}/things-{n}/{{id}}", "thing_changed") for n in range(49)),
]
CASES: Final = {
    "another method": ("GET", "/orders"),
    "another path": ("POST", "/users"),
    "a path like those of 49 rules": ("POST", "/shops/42/nothing/7"),
}
MATCHED: Final = ("POST", "/orders")


async def asgi_microseconds(app: Any, method: str, path: str, requests: int) -> float:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "query_string": b"", "headers": []}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None:
        pass

    began = time.perf_counter()
    for _ in range(requests):
        await app(scope, receive, send)
    return (time.perf_counter() - began) / requests * 1e6


def wsgi_microseconds(app: Any, method: str, path: str, requests: int) -> float:
    def start_response(*_: Any) -> Callable[[bytes], None]:
        return lambda _: None

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}
    began = time.perf_counter()
    for _ in range(requests):
        for _ in app(environ, start_response):
            pass
    return (time.perf_counter() - began) / requests * 1e6


def medians(turns: Iterable[tuple[float, float]]) -> tuple[float, float]:
    alone, under = zip(*turns, strict=True)
    return statistics.median(alone), statistics.median(under)


async def measure(kind: str, what: str, sink: Sink, method: str, path: str, requests: int) -> None:
    listener = Listener(RULES, sink)
    listener.start()
    app, under = asgi_application, AsgiListener(asgi_application, listener)
    wsgi_under = WsgiListener(wsgi_application, listener)
    found = []
    for _ in range(TURNS):
        if kind == "ASGI":
            alone = await asgi_microseconds(app, method, path, requests)
            found.append((alone, await asgi_microseconds(under, method, path, requests)))
        else:
            alone = wsgi_microseconds(wsgi_application, method, path, requests)
            found.append((alone, wsgi_microseconds(wsgi_under, method, path, requests)))
    listener.close(0.0)
    bare, with_it = medians(found)
    print(
        f"{kind}  {what:32} alone {bare:7.2f}   under a listener {with_it:8.2f}   added {with_it - bare:8.2f}",
        flush=True,
    )


async def main() -> None:
    nowhere = {"url": "http://127.0.0.1:9", "api_key": "none"}
    with tempfile.TemporaryDirectory() as name:
        for kind in ("ASGI", "WSGI"):
            for what, (method, path) in CASES.items():
                await measure(kind, what, Spool(Path(name) / "x", relays=False), method, path, REQUESTS)
            memory = Memory(url=nowhere["url"], api_key=nowhere["api_key"], buffer_events=10**6, exit_seconds=0)
            await measure(kind, "matched, memory", memory, *MATCHED, REQUESTS_MATCHED)
            for fsync in (False, True):
                spool = Spool(Path(name) / f"{kind}-{fsync}", relays=False, fsync=fsync)
                await measure(kind, f"matched, spool, fsync={fsync}", spool, *MATCHED, REQUESTS_MATCHED)


if __name__ == "__main__":
    asyncio.run(main())
