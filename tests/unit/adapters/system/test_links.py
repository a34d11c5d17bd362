"""What is handed over a link is appended by the other worker, or told as unknown: over real sockets."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.fakes import until
from tests.making import draft, new_app

from posthouse.adapters.system import links
from posthouse.adapters.system.links import FRAME_BYTES_MAX, Links
from posthouse.domain.errors import Overloaded, StoreUnavailable
from posthouse.domain.event import Draft
from posthouse.ports.handing import HandedResult
from posthouse.ports.log import Appended, AppendResult, AppMissing

APP = new_app()


class Worker:
    """One that appends in memory, each draft at the next place; the even partitions are worker 0's."""

    def __init__(self, folder: Path, number: int, count: int = 2) -> None:
        self.owned = set(range(number, 8, count))
        self.taken: list[tuple[int, list[Draft]]] = []
        self.refusal: Exception | None = None
        self.fault: Exception | None = None
        self.held: list[asyncio.Future[list[AppendResult]]] | None = None
        self.links = Links(folder, number, count, owned=lambda: self.owned, take=self.take)

    def take(self, partition: int, drafts: Sequence[Draft]) -> asyncio.Future[list[AppendResult]]:
        if self.refusal is not None:
            raise self.refusal
        future: asyncio.Future[list[AppendResult]] = asyncio.get_running_loop().create_future()
        self.taken.append((partition, list(drafts)))
        if self.held is not None:
            self.held.append(future)
        elif self.fault is not None:
            future.set_exception(self.fault)
        else:
            known = [d.app_id == APP for d in drafts]
            future.set_result(
                [Appended(partition, len(self.taken), 3, 1.5) if is_known else AppMissing() for is_known in known]
            )
        return future

    async def hand(self, partition: int, *drafts: Draft) -> list[HandedResult] | None:
        """What is told of them; raises LookupError where they are not taken."""
        told: asyncio.Future[list[HandedResult] | None] = asyncio.get_running_loop().create_future()
        if not self.links.hand(partition, drafts, told.set_result):
            raise LookupError
        return await asyncio.wait_for(told, 10)

    def reaches(self, *partitions: int) -> Callable[[], bool]:
        return lambda: set(partitions) == set(self.links._owners)


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    async with AsyncExitStack() as stack:
        workers = Worker(folder, 0), Worker(folder, 1)
        for worker in workers:
            await worker.links.start()
            stack.push_async_callback(worker.links.close)
        await until(workers[0].reaches(1, 3, 5, 7), "the links to be there")
        await until(workers[1].reaches(0, 2, 4, 6), "the links to be there")
        yield workers


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


async def test_drafts_arrive_whole_and_their_places_come_back_in_order(folder: Path) -> None:
    async with two(folder) as (one, other):
        full = draft(
            APP, payload=b"\x00\xff" * 10, content_type="image/png", subject="s", key="k", channels=("a", "b"),
            attributes=b'{"a":"b"}', expires_at=5.5, app_uid="acme", depth=3, traceparent="00-1",
        )  # fmt: skip
        results = await asyncio.gather(*(one.hand(partition, full, draft(new_app())) for partition in (1, 3, 1, 5)))
        assert [partition for partition, _ in other.taken] == [1, 3, 1, 5]
        assert all(drafts[0] == full for _, drafts in other.taken)
        assert results == [[Appended(p, n, 3, 1.5), AppMissing()] for n, p in enumerate((1, 3, 1, 5), 1)]
        with pytest.raises(LookupError):
            await one.hand(0, full)  # its own


async def test_many_large_drafts_go_in_several_frames(folder: Path) -> None:
    async with two(folder) as (one, other):
        large = [draft(APP, payload=bytes([n]) * 60_000) for n in range(60)]
        results = await asyncio.gather(*(one.hand(1, each) for each in large))
        assert all(results)
        assert [drafts[0].payload for _, drafts in other.taken] == [each.payload for each in large]


async def test_what_the_owner_refuses_or_fails_at_is_unknown(folder: Path) -> None:
    async with two(folder) as (one, other):
        other.refusal = Overloaded("full", retry_after=1)
        assert await one.hand(1, draft(APP)) is None
        other.refusal, other.fault = None, StoreUnavailable("down")
        assert await one.hand(1, draft(APP)) is None
        other.fault = None
        assert await one.hand(1, draft(APP)) is not None, "and the link goes on"


async def test_partitions_that_move_are_told(folder: Path) -> None:
    async with two(folder) as (one, other):
        other.owned = {5, 6}
        await until(one.reaches(5, 6), "what is told anew")
        assert one.links.hand(1, [draft(APP)], lambda _: None) is False
        other.owned = set()
        await until(one.reaches(), "that it owns nothing")


async def test_what_has_no_answer_is_unknown_when_it_is_late_and_when_the_worker_dies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(folder) as (one, other):
        other.held = []
        waiting = asyncio.create_task(one.hand(1, draft(APP)))
        await until(lambda: bool(other.held), "it to be taken")
        await other.links.close()
        assert await waiting is None
        assert one.reaches()(), "nothing more is handed to it"
        await other.links.start()
        await until(one.reaches(1, 3, 5, 7), "the link to be there again")
        monkeypatch.setattr(links, "HANDED_SECONDS_MAX", 0.2)
        assert await one.hand(1, draft(APP)) is None
        for held in other.held:
            held.set_result([Appended(1, 1, 1, 1.0)])  # too late for anybody
        other.held = None
        await until(one.reaches(1, 3, 5, 7), "the link to be there again")
        assert await one.hand(1, draft(APP)) is not None


@pytest.mark.parametrize(
    "said",
    [(FRAME_BYTES_MAX + 1).to_bytes(4, "big"), b"\x00\x00\x00\x02\xc1\xc1"],
    ids=["a frame too large", "no MessagePack"],
)
async def test_what_is_no_frame_ends_its_connection_alone(folder: Path, said: bytes) -> None:
    async with two(folder) as (one, _):
        reader, writer = await asyncio.open_unix_connection(folder / "link-1.sock")
        writer.write(said)
        assert await asyncio.wait_for(reader.read(), 10) is not None, "up to its end"
        writer.close()
        assert await one.hand(1, draft(APP)) is not None
