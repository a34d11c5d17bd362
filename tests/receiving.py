"""A receiver on loopback that remembers all that came, answers as the test says, and what was asked of its pace."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from tests.targets import Peer, RawTarget, target

JITTER_SECONDS = 0.05
"""How much later than it was sent a request may be noticed, on a busy machine."""


class Received:
    """One request, when it came and which events it brought."""

    def __init__(self, raw: bytes) -> None:
        self.at = asyncio.get_running_loop().time()
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.path = first.split(" ")[1]
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.replay = self.headers.get("webhook-replay") == "true"
        self.request_id = self.headers["webhook-id"]
        self.ids = [self.request_id]
        if self.request_id.startswith("req_"):
            self.ids = [part["id"] for part in json.loads(self.body)]
        self.confirmed: list[str] = []  # of its events


def ok(*, body: bytes = b"ok") -> bytes:
    return b"HTTP/1.1 200 So\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def status(code: int, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {code} So\r\nContent-Length: 0\r\n{lines}\r\n".encode("latin-1")


Answering = Callable[[Received], Awaitable[bytes | None]]


class Receiver:
    """`answer` gives the bytes of an answer; None closes the connection without one."""

    def __init__(self) -> None:
        self.served = RawTarget()
        self.requests: list[Received] = []
        self.running = 0
        self.most = 0
        self.seconds = 0.0
        self.answer: Answering = self.confirm

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.served.port}{path}"

    async def confirm(self, _: Received) -> bytes | None:
        return ok()

    def always(self, answer: bytes) -> None:
        async def same(_: Received) -> bytes:
            return answer

        self.answer = same

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = Received(await peer.request())
            self.requests.append(request)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                if self.seconds:
                    await asyncio.sleep(self.seconds)
                answer = await self.answer(request)
            finally:
                self.running -= 1
            if answer is None:
                peer.close()
                return
            if answer.startswith(b"HTTP/1.1 2"):
                refused = _refused(answer)
                request.confirmed = [event for event in request.ids if event not in refused]
            await peer.send(answer)

    @property
    def confirmed(self) -> Counter[str]:
        """How often each event was."""
        return Counter(event for request in self.requests for event in request.confirmed)

    def received(self, *, replay: bool | None = None) -> list[str]:
        """Events in the order in which they came."""
        return [e for request in self.requests if replay in (None, request.replay) for e in request.ids]

    def too_many(self, per_second: float, burst: int) -> list[str]:
        """Spans of w seconds with more than rate · w + burst requests, with `JITTER_SECONDS` of doubt about w."""
        times = [request.at for request in self.requests]
        return [
            f"{last - first + 1} requests in {end - begin:.3f} s"
            for first, begin in enumerate(times)
            for last, end in enumerate(times[first:], first)
            if last - first + 1 > per_second * (end - begin + JITTER_SECONDS) + burst
        ]

    def out_of_order(self, line: Sequence[str]) -> list[str]:
        """Those of a line that came before all before them were confirmed, other than as replays."""
        wrong, confirmed = [], set[str]()
        place = {event: n for n, event in enumerate(line)}
        for request in self.requests:
            if not request.replay:
                together: set[str] = set()
                for event in request.ids:
                    if event in place and not set(line[: place[event]]) <= confirmed | together:
                        wrong.append(event)
                    together.add(event)
            confirmed.update(request.confirmed)
        return wrong


def _refused(answer: bytes) -> set[str]:
    try:
        results = json.loads(answer.partition(b"\r\n\r\n")[2])["results"]
    except (ValueError, TypeError, KeyError):
        return set()
    return {each["id"] for each in results if not each["confirmed"]}


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with target(made) as made.served:
        yield made
