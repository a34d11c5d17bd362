"""The targets of all endpoints, in one server: each path answers as its mood is, and all that comes is noted."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from typing import Final

from tests.chaos.history import Arrival, History

SLOW_SECONDS: Final = {"slow": 0.3, "crawl": 2.5}  # the latter is long enough for its row to say that it is in flight
FAILS_SHARE: Final = 0.01  # of the requests to a target in a good mood


class Receiver:
    """`moods` by path: fail (500), busy (503 with Retry-After), slow, crawl, hang (no answer), cut (the connection ends).
    Otherwise 200, but for a few that fail."""

    def __init__(self, history: History, chance: random.Random) -> None:
        self._history = history
        self._chance = chance
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.moods: dict[str, str] = {}
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            pass  # the sender or the way to it is gone
        except asyncio.CancelledError:
            pass  # the test ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and what is answered; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        at = time.time()
        path, number = first.split(" ")[1], next(self._numbers)
        ids = [headers["webhook-id"]]
        if ids[0].startswith("req_"):
            ids = [part["id"] for part in json.loads(body)]
        process, _, life = headers.get("chaos-sender", "0.0").partition(".")
        arrivals = [
            Arrival(path, event, at, (int(process), int(life)), headers.get("webhook-replay") == "true", number)
            for event in ids
        ]
        self._history.arrivals += arrivals
        mood = self.moods.get(path, "")
        if mood == "hang":
            await reader.read()  # until the sender has had enough
            return False
        if mood == "cut":
            return False
        if mood in SLOW_SECONDS:
            await asyncio.sleep(SLOW_SECONDS[mood])
        more, status = "", 200
        if mood == "busy":
            status, more = 503, "Retry-After: 1\r\n"
        elif mood == "fail" or self._chance.random() < FAILS_SHARE:
            status = 500
        writer.write(f"HTTP/1.1 {status} So\r\n{more}Content-Length: 0\r\n\r\n".encode())
        now = time.time()
        for a in arrivals:
            a.status, a.answered = status, now
        await writer.drain()
        return True

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
