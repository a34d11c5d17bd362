"""A server that answers as it is told, for tests of whoever asks: one step a request, the last one for ever.

A step is a status (with the body that Posthouse would send), an `Answer`, `DROP` (the connection is closed without an answer),
`CUT` (in the middle of the answer), `HANG` (until the server ends), or a function of the request that returns one of these.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

PATIENCE_SECONDS = 30
DROP: Final = "drop"
CUT: Final = "cut"
HANG: Final = "hang"


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int  # counted from 1

    @property
    def events(self) -> list[Any]:
        """The events that it publishes, as decoded JSON."""
        told = json.loads(self.body)
        return told if isinstance(told, list) else [told]

    @property
    def keys(self) -> list[str]:
        return [event["idempotency_key"] for event in self.events]


class Answer(NamedTuple):
    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


Step = int | str | Answer | Callable[[Asked], Any]


def accepted(asked: Asked) -> Answer:
    """What Posthouse answers to events that it takes."""

    def receipt(event_type: str, number: int) -> dict[str, Any]:
        return {"id": f"evt_{number}", "type": event_type, "created_at": "2026-11-28T06:00:00Z", "apps": 2}

    if "?" in asked.path:
        return Answer(202, receipt("raw", 0))
    receipts = [receipt(event["type"], number) for number, event in enumerate(asked.events)]
    return Answer(202, {"data": receipts} if asked.path.endswith("/batch") else receipts[0])


def problem(status: int, code: str, detail: str = "it is so", **more: Any) -> Answer:
    headers = tuple((name.replace("_", "-"), more.pop(name)) for name in ("retry_after",) if name in more)
    return Answer(status, {"status": status, "code": code, "detail": detail, **more}, headers)


class Answering:
    """`url` is where it is; `asked` are the requests so far."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps or [202])
        self.asked: list[Asked] = []
        self._came = threading.Condition()
        self._ended = threading.Event()
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, count: int) -> list[Asked]:
        """The requests, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.asked) >= count, PATIENCE_SECONDS), self.asked
            return list(self.asked)

    @property
    def events(self) -> list[Any]:
        """All events that came, in order."""
        return [event for asked in list(self.asked) for event in asked.events]

    def close(self) -> None:
        self._ended.set()
        for connection in (self._listener, *self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection, len(self._connections)), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while (asked := _read(lines, number)) is not None:
                with self._came:
                    step = self.steps[min(len(self.asked), len(self.steps) - 1)]
                    self.asked.append(asked)
                    self._came.notify_all()
                while callable(step):
                    step = step(asked)
                if step == HANG:
                    self._ended.wait(PATIENCE_SECONDS)
                if step in (DROP, HANG):
                    return
                answer = _bytes(asked, step)
                connection.sendall(answer[: len(answer) // 2] if step == CUT else answer)
                if step == CUT:
                    return


def _read(lines: Any, number: int) -> Asked | None:
    first = lines.readline().decode("latin-1").split()
    if not first:
        return None
    headers = {}
    while line := lines.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return Asked(first[0], first[1], headers, lines.read(int(headers.get("content-length", "0"))), number)


def _bytes(asked: Asked, step: Any) -> bytes:
    if step in (202, CUT):
        step = accepted(asked)
    elif isinstance(step, int):
        step = problem(step, "so")
    assert isinstance(step, Answer), step
    body = step.body if isinstance(step.body, bytes) else json.dumps(step.body).encode()
    lines = [f"HTTP/1.1 {step.status} So", f"Content-Length: {len(body)}", *(": ".join(pair) for pair in step.headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@contextmanager
def answering(*steps: Step) -> Iterator[Answering]:
    server = Answering(*steps)
    try:
        yield server
    finally:
        server.close()
