"""Links between the workers of one supervisor: events are appended by the one that owns their partition, whoever was sent them.

Each worker listens on a Unix socket in the supervisor's private folder, and keeps a connection to each of the others. Over it
the other tells which partitions it owns, is handed drafts, and answers where they stand in the log. What goes over it are
frames: four bytes of length (big-endian), then MessagePack; all that is said in one turn of the loop goes in one.

A link is a shortcut. Whatever is wrong with one (its worker died, stands still, or is asked for too much), what was handed
over it is told as unknown, and its sender appends it itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, cast

import msgspec
import structlog

from posthouse.domain.errors import PosthouseError
from posthouse.domain.event import Draft
from posthouse.domain.limits import FLUSH_BYTES_MAX, HANDED_SECONDS_MAX
from posthouse.ports.handing import Handed
from posthouse.ports.log import Appended, AppendResult, AppMissing

log = structlog.get_logger()

Take = Callable[[int, Sequence[Draft]], "asyncio.Future[list[AppendResult]]"]
"""Append drafts of a partition here. Raises PosthouseError where they are not taken."""

FRAME_BYTES_MAX: Final = 2 * FLUSH_BYTES_MAX
FRAME_BYTES_FULL: Final = 256 * 1024  # a frame of so many payload bytes goes without waiting for the end of the turn
UNREAD_BYTES_MAX: Final = 4 * 1024 * 1024  # that the other worker has not taken yet; nothing more is handed to it then
LOOK_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 0.2

_LENGTH_BYTES: Final = 4


class _Handing(msgspec.Struct, array_like=True, gc=False):
    number: int
    partition: int
    drafts: list[Draft]


class _Answer(msgspec.Struct, array_like=True, gc=False):
    """Of each draft where it is, or None where its app is missing; None altogether where that is not known."""

    number: int
    places: list[Appended | None] | None


class _Said(msgspec.Struct, array_like=True, gc=False):
    """What an owner says: the partitions that are its own, where they changed, and what became of drafts."""

    owned: list[int] | None
    answers: list[_Answer]


_encode: Final = msgspec.msgpack.Encoder().encode
_handings: Final = msgspec.msgpack.Decoder(list[_Handing])
_said: Final = msgspec.msgpack.Decoder(_Said)
_MISSING: Final = AppMissing()


class _Frames(asyncio.Protocol):
    """A connection that carries frames. `full`: the other side does not read as fast as we write."""

    def __init__(self) -> None:
        self.full = False
        self._transport: asyncio.Transport | None = None
        self._bytes = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(UNREAD_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        at = 0
        while len(self._bytes) - at >= _LENGTH_BYTES:
            end = at + _LENGTH_BYTES + int.from_bytes(self._bytes[at : at + _LENGTH_BYTES], "big")
            if end - at > FRAME_BYTES_MAX:
                log.error("link.frame_too_large", bytes=end - at)
                self.abort()
                return
            if end > len(self._bytes):
                break
            try:
                self.frame(bytes(self._bytes[at + _LENGTH_BYTES : end]))
            except msgspec.MsgspecError as error:
                log.error("link.frame_unreadable", error=str(error))
                self.abort()
                return
            at = end
        del self._bytes[:at]

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost()

    def write(self, content: bytes) -> None:
        if self._transport is not None:
            self._transport.writelines([len(content).to_bytes(_LENGTH_BYTES, "big"), content])

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def frame(self, content: bytes) -> None:
        raise NotImplementedError

    def lost(self) -> None:
        raise NotImplementedError


class _Link(_Frames):
    """To another worker: what is handed to it, and what it says."""

    def __init__(self, owners: dict[int, _Link]) -> None:
        super().__init__()
        self._owners = owners
        self._loop = asyncio.get_running_loop()
        self._next: list[_Handing] = []
        self._next_bytes = 0
        self._number = 0
        self._waiting: dict[int, tuple[float, Handed]] = {}  # in the order of their numbers, and so of their time
        self.gone = self._loop.create_future()

    def hand(self, partition: int, drafts: Sequence[Draft], told: Handed) -> bool:
        if self.full or self._transport is None:
            return False
        self._number += 1
        self._waiting[self._number] = (self._loop.time() + HANDED_SECONDS_MAX, told)
        if not self._next:
            self._loop.call_soon(self._flush)
        self._next.append(_Handing(self._number, partition, [*drafts]))
        self._next_bytes += sum(len(draft.payload) for draft in drafts)
        if self._next_bytes >= FRAME_BYTES_FULL:
            self._flush()
        return True

    def _flush(self) -> None:
        if self._next:
            handings, self._next, self._next_bytes = self._next, [], 0
            self.write(_encode(handings))

    def frame(self, content: bytes) -> None:
        said = _said.decode(content)
        if said.owned is not None:
            self._disown()
            self._owners.update(dict.fromkeys(said.owned, self))
        for answer in said.answers:
            waiting = self._waiting.pop(answer.number, None)
            if waiting is not None:
                waiting[1](None if answer.places is None else [place or _MISSING for place in answer.places])

    def expire(self) -> None:
        """Whoever waited too long is told that nothing is known, and nothing more is handed to one that is so late."""
        now = self._loop.time()
        late = [number for number, (until, _) in self._waiting.items() if until <= now]
        if late:
            log.warning("link.late", drafts=len(late))
            self.abort()

    def lost(self) -> None:
        self._disown()
        self._next.clear()
        waiting, self._waiting = self._waiting, {}
        for _, told in waiting.values():
            told(None)
        if not self.gone.done():
            self.gone.set_result(None)

    def _disown(self) -> None:
        for partition in [partition for partition, link in self._owners.items() if link is self]:
            del self._owners[partition]


class _Owner(_Frames):
    """To a worker that hands us what is ours."""

    def __init__(self, links: Links) -> None:
        super().__init__()
        self._links = links
        self._loop = asyncio.get_running_loop()
        self._next: list[_Answer] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._links.came(self)

    def tell(self, owned: Collection[int]) -> None:
        self.write(_encode(_Said([*owned], [])))

    def frame(self, content: bytes) -> None:
        for handing in _handings.decode(content):
            try:
                appended = self._links.take(handing.partition, handing.drafts)
            except PosthouseError:
                self._answer(handing.number, None)
            else:
                appended.add_done_callback(partial(self._appended, handing.number))

    def _appended(self, number: int, appended: asyncio.Future[list[AppendResult]]) -> None:
        failed = appended.cancelled() or appended.exception() is not None
        self._answer(number, None if failed else _places(appended.result()))

    def _answer(self, number: int, places: list[Appended | None] | None) -> None:
        if not self._next:
            self._loop.call_soon(self._flush)
        self._next.append(_Answer(number, places))

    def _flush(self) -> None:
        answers, self._next = self._next, []
        self.write(_encode(_Said(None, answers)))

    def lost(self) -> None:
        self._links.went(self)


class Links:
    """The `Handing` of a worker: `number` of `count`, in `folder`. `owned` gives the partitions that are its own now, and
    `take` appends what is handed to it."""

    def __init__(
        self, folder: Path, number: int, count: int, *, owned: Callable[[], Collection[int]], take: Take
    ) -> None:
        self._folder = folder
        self._number = number
        self._count = count
        self._owned = owned
        self.take: Final = take
        self._owners: dict[int, _Link] = {}
        self._links: set[_Link] = set()
        self._served: set[_Owner] = set()
        self._told: frozenset[int] = frozenset()
        self._server: asyncio.Server
        self._tasks: list[asyncio.Task[None]] = []

    def hand(self, partition: int, drafts: Sequence[Draft], told: Handed) -> bool:
        link = self._owners.get(partition)
        return link is not None and link.hand(partition, drafts, told)

    async def start(self) -> None:
        """Listen, and keep a link to each of the others for as long as this runs."""
        path = self._path(self._number)
        path.unlink(missing_ok=True)  # of the worker before, which died
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Owner(self), path)
        others = [number for number in range(self._count) if number != self._number]
        self._tasks = [loop.create_task(self._keep(number)) for number in others]
        self._tasks.append(loop.create_task(self._look()))

    async def close(self) -> None:
        """End all links. What was handed over and not answered is told as unknown."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for frames in [*self._links, *self._served]:
            frames.abort()
        await asyncio.gather(*(link.gone for link in self._links))

    async def _keep(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError):
                _, link = await loop.create_unix_connection(lambda: _Link(self._owners), str(self._path(number)))
                self._links.add(link)
                try:
                    await asyncio.shield(link.gone)
                finally:
                    if link.gone.done():
                        self._links.discard(link)
            await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            owned = frozenset(self._owned())
            if owned != self._told:
                self._told = owned
                for served in self._served:
                    served.tell(owned)
            for link in [*self._links]:
                link.expire()

    def came(self, served: _Owner) -> None:
        self._served.add(served)
        served.tell(self._told)

    def went(self, served: _Owner) -> None:
        self._served.discard(served)

    def _path(self, number: int) -> Path:
        return self._folder / f"link-{number}.sock"


def _places(results: Sequence[AppendResult]) -> list[Appended | None] | None:
    places: list[Appended | None] = []
    for result in results:
        match result:
            case Appended():
                places.append(result)
            case AppMissing():
                places.append(None)
            case _:  # of another kind of draft than is handed over
                return None
    return places
