"""The transport against targets that hang, drip, lie, flood and vanish, on both event loops."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme
from tests.targets import OK, Peer, RawTarget, answer_ok, on_both_loops, target

from posthouse.adapters.http import addresses as addresses_module
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.resolver import Lookup, LookupFailed
from posthouse.adapters.http.transport import STANDSTILL_SECONDS, HttpTransport
from posthouse.domain.endpoint import Timeouts
from posthouse.domain.errors import SetupError
from posthouse.domain.exchange import Answer, Failure, Fault, Request, Result, Target
from posthouse.domain.limits import ERROR_LENGTH_MAX, RESPONSE_READ_BYTES_MAX
from posthouse.ports.transport import Transport

LOOPBACK = GuardPolicy(allow_loopback=True)
PATIENT = Timeouts(connect=5.0, first_byte=5.0, total=5.0)


class Names:
    """A resolver that a test holds the strings of: each lookup takes the next answer, the last one stays."""

    def __init__(self, *answers: tuple[str, ...] | LookupFailed | None) -> None:
        self.answers = list(answers)
        self.asked = asyncio.Event()

    async def lookup(self, name: str) -> Lookup | LookupFailed:
        self.asked.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        return answer if isinstance(answer, LookupFailed) else Lookup(answer or (), 0.0)

    async def close(self) -> None: ...


class Late:
    """A resolver that answers when told to."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()

    async def lookup(self, name: str) -> Lookup:
        await self.answer.wait()
        return Lookup(("127.0.0.1",), 0.0)

    async def close(self) -> None: ...


class Client:
    """A transport that is closed at the end, with requests made short."""

    def __init__(
        self,
        policy: GuardPolicy = LOOPBACK,
        names: Names | Late | None = None,
        ca_file: Path | None = None,
        idle_per_key_max: int = 32,
        idle_max: int = 512,
        idle_seconds_max: float = 30.0,
        surplus_seconds_max: float = 1.0,
    ) -> None:
        self.transport = HttpTransport(
            policy,
            resolver=names,
            ca_file=ca_file,
            idle_per_key_max=idle_per_key_max,
            idle_max=idle_max,
            idle_seconds_max=idle_seconds_max,
            surplus_seconds_max=surplus_seconds_max,
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()
        assert not self.transport._open

    async def send(
        self,
        at: RawTarget | int,
        *,
        host: str = "127.0.0.1",
        scheme: str = "http",
        body: bytes = b"{}",
        timeouts: Timeouts = PATIENT,
        method: str = "POST",
        once: bool = False,
        anew: bool = False,
    ) -> Result:
        port = at if isinstance(at, int) else at.port
        authority = f"{host}:{port}"
        head = f"{method} /hooks HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        request = Request(Target(scheme, host, port, "/hooks", authority), head, body, timeouts)
        return await self.transport.send(request, once=once, anew=anew)

    async def answer(self, at: RawTarget | int, **options: object) -> Answer:
        result = await self.send(at, **options)  # type: ignore[arg-type]
        assert isinstance(result, Answer), result
        return result

    async def failure(self, at: RawTarget | int, fault: Fault, **options: object) -> Failure:
        result = await self.send(at, **options)  # type: ignore[arg-type]
        assert isinstance(result, Failure), result
        assert result.fault is fault, result
        assert 0 < len(result.detail) <= ERROR_LENGTH_MAX
        assert result.detail.isprintable()
        return result


def limits(*, connect: float = 5.0, first_byte: float = 5.0, total: float = 5.0) -> Timeouts:
    return Timeouts(connect=connect, first_byte=first_byte, total=total)


def saying(data: bytes) -> Callable[[Peer], Awaitable[None]]:
    """The script of a target that answers with `data` and ends."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        peer.end()

    return script


async def hang(peer: Peer) -> None:
    await peer.request()


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody listens on, and nobody else gets."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_it_is_a_transport() -> None:
    transport: Transport = HttpTransport(LOOPBACK)
    assert transport


# Answers and connections.


@on_both_loops
async def test_requests_go_over_one_kept_connection() -> None:
    async with target(answer_ok) as served, Client() as client:
        first = await client.answer(served, body=b'{"n":1}')
        assert (first.status, first.body, first.address, first.truncated) == (200, b"ok", "127.0.0.1", False)
        assert first.header(b"content-length") == b"2"
        assert first.timings.connect_us is not None
        assert first.timings.tls_us is None
        second = await client.answer(served, body=b'{"n":2}')
        assert second.timings.connect_us is None
        assert second.timings.dns_us is None
        assert second.timings.first_byte_us is not None
        assert 0 < second.timings.first_byte_us <= second.timings.total_us
        assert len(served.peers) == 1
        assert [request.rpartition(b"\r\n")[2] for request in served.requests] == [b'{"n":1}', b'{"n":2}']


@on_both_loops
async def test_concurrent_requests_have_connections_of_their_own() -> None:
    async with target(answer_ok) as served, Client() as client:
        for _ in range(3):
            await asyncio.gather(*(client.answer(served) for _ in range(10)))
        await served.connections(10)
        assert len(served.peers) == 10
        assert len(served.requests) == 30


@on_both_loops
async def test_what_a_burst_opened_beyond_the_usual_is_kept_for_a_moment() -> None:
    async with target(answer_ok) as served, Client(idle_per_key_max=3, surplus_seconds_max=0.05) as client:
        await asyncio.gather(*(client.answer(served) for _ in range(10)))
        assert len(served.peers) == 10
        while len(client.transport._pool) > 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        await client.answer(served)
        assert len(served.peers) == 10


@on_both_loops
async def test_idle_connections_are_bounded_over_all_targets() -> None:
    async with Client(idle_max=2) as client, target(answer_ok) as a, target(answer_ok) as b, target(answer_ok) as c:
        for served in (a, b, c):
            await client.answer(served)
        await a.all_gone()  # idle longest
        assert len(client.transport._pool) == 2


@on_both_loops
async def test_idle_connections_are_closed_in_time() -> None:
    async with target(answer_ok) as served, Client(idle_seconds_max=0.05) as client:
        await client.answer(served)
        await served.all_gone()
        await client.answer(served)
        assert len(served.peers) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
)
@on_both_loops
async def test_what_is_not_to_be_used_again_is_closed(data: bytes) -> None:
    async with target(saying(data)) as served, Client() as client:
        assert (await client.answer(served)).body == b"ok"
        await served.all_gone()
        assert (await client.answer(served)).body == b"ok"
        assert len(served.peers) == 2


@on_both_loops
async def test_continue_is_skipped_and_redirects_are_answers() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.send(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")

    async with target(script) as served, Client() as client:
        answer = await client.answer(served)
        assert (answer.status, answer.header(b"location")) == (307, b"http://169.254.169.254/")


@on_both_loops
async def test_an_answer_before_the_request_was_read_counts() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async with target(script) as served, Client() as client:
        # The script does not read, then reads slowly: most of the body is still ours when the answer comes.
        answer = await client.answer(served, body=bytes(32 * 1024 * 1024))
        assert answer.status == 413
        await served.all_gone()


@on_both_loops
async def test_an_endless_body_is_cut_and_its_status_counts() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    async with target(script) as served, Client() as client:
        answer = await client.answer(served)
        assert (answer.status, answer.truncated, len(answer.body)) == (200, True, RESPONSE_READ_BYTES_MAX)
        await served.all_gone()


# Targets that fail.


@on_both_loops
async def test_a_target_that_hangs_is_left_at_the_first_byte_limit() -> None:
    async with target(hang) as served, Client() as client:
        started = time.monotonic()
        failure = await client.failure(served, Fault.FIRST_BYTE_TIMEOUT, timeouts=limits(first_byte=0.1))
        assert 0.1 <= time.monotonic() - started < 1.0
        assert failure.detail == "no answer within 0.1 s of sending the request"
        assert failure.timings.first_byte_us is None
        assert failure.timings.total_us >= 100_000
        await served.all_gone()


@pytest.mark.parametrize(
    ("start", "drop", "status"),
    [
        (b"", b"", None),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", 200),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 200),
    ],
    ids=["silent", "head", "length", "close", "chunked"],
)
@on_both_loops
async def test_a_target_that_drips_is_left_at_the_total_limit(start: bytes, drop: bytes, status: int | None) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while drop:
            await peer.send(drop)
            await asyncio.sleep(0.01)

    async with target(script) as served, Client() as client:
        failure = await client.failure(served, Fault.TOTAL_TIMEOUT, timeouts=limits(total=0.15))
        assert "within 0.15 s" in failure.detail
        assert failure.status == status
        await served.all_gone()


@on_both_loops
async def test_a_target_that_does_not_read_is_bounded_by_the_total_limit() -> None:
    taken = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer._reader._transport.pause_reading()  # type: ignore[attr-defined]
        await taken.wait()

    async with target(script) as served, Client() as client:
        body = bytes(64 * 1024 * 1024)
        await client.failure(served, Fault.TOTAL_TIMEOUT, body=body, timeouts=limits(first_byte=0.05, total=0.2))
        taken.set()


@pytest.mark.parametrize(
    ("data", "fault", "status"),
    [
        (b"", Fault.CLOSED_EARLY, None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Fault.CLOSED_EARLY, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", Fault.CLOSED_EARLY, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", Fault.CLOSED_EARLY, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Fault.MALFORMED_RESPONSE, 200),
        (b"\x00garbage\xff\r\n\r\n", Fault.MALFORMED_RESPONSE, None),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", Fault.MALFORMED_RESPONSE, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, Fault.HEADERS_TOO_LARGE, 200),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2_000, Fault.HEADERS_TOO_LARGE, 200),
    ],
)
@on_both_loops
async def test_bad_answers(data: bytes, fault: Fault, status: int | None) -> None:
    async with target(saying(data)) as served, Client() as client:
        failure = await client.failure(served, fault)
        assert (failure.status, failure.address) == (status, "127.0.0.1")
        await served.all_gone()
        assert len(served.peers) == 1  # a new connection is never tried again


@on_both_loops
async def test_a_reset_is_told_as_such() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with target(script) as served, Client() as client:
        failure = await client.failure(served, Fault.CLOSED_EARLY)
        assert "reset" in failure.detail
        assert len(served.peers) == 1


@on_both_loops
async def test_a_refused_connection(refused_port: int) -> None:
    async with Client() as client:
        failure = await client.failure(refused_port, Fault.CONNECT_FAILED)
        assert failure.detail == f"connection refused by 127.0.0.1:{refused_port}"
        assert failure.address == "127.0.0.1"
        assert failure.timings.connect_us is not None


@on_both_loops
async def test_a_target_that_does_not_accept() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        try:
            for _ in range(8):  # fill the queue of connections that nobody accepts
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            async with Client() as client:
                result = await client.send(port, timeouts=limits(connect=0.1, first_byte=0.1))
                assert isinstance(result, Failure)
                # A kernel may accept on the program's behalf without end; then the target is one that hangs.
                assert result.fault in (Fault.CONNECT_TIMEOUT, Fault.FIRST_BYTE_TIMEOUT)
        finally:
            for filler in fillers:
                filler.close()


# A process that stands still: its time is not the target's.


def stand_still(then: Callable[[], None]) -> None:
    """Block the event loop for longer than any limit here, and let what was waited for come right after it."""
    time.sleep(STANDSTILL_SECONDS + 0.5)
    then()


@on_both_loops
async def test_time_in_which_we_stood_still_is_not_the_targets() -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await go_on.wait()
        await peer.send(OK)

    async with target(script) as served, Client() as client:
        task = asyncio.create_task(client.send(served, timeouts=limits(first_byte=0.4, total=0.5)))
        await asked.wait()
        time.sleep(0.8)  # noqa: ASYNC251 (the process stands still)
        go_on.set()
        assert isinstance(await task, Answer)


@on_both_loops
async def test_a_standstill_while_a_name_is_looked_up_is_not_held_against_the_target() -> None:
    names = Late()
    async with target(answer_ok) as served, Client(names=names) as client:
        asyncio.get_running_loop().call_later(0.1, stand_still, names.answer.set)
        answer = await client.answer(served, host="hooks.example", timeouts=limits(connect=0.5, total=0.8))
        assert answer.timings.dns_us is not None
        assert answer.timings.dns_us < 500_000


@on_both_loops
async def test_what_begins_after_a_standstill_is_given_none_of_its_time() -> None:
    """It begins before anybody noticed: before, an attempt could end before it began, and was then lost to the records."""
    asked = asyncio.Event()

    async def hanging(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await asyncio.Event().wait()

    names = Late()
    async with target(hanging) as waiting, target(answer_ok) as served, Client(names=names) as client:
        task = asyncio.create_task(client.send(waiting))
        await asked.wait()
        time.sleep(STANDSTILL_SECONDS + 0.5)  # noqa: ASYNC251 (the process stands still)
        asyncio.get_running_loop().call_later(0.1, names.answer.set)
        began = time.monotonic()
        answer = await client.answer(served, host="hooks.example")
        assert answer.timings.dns_us is not None
        assert answer.timings.connect_us is not None
        taken_us = int((time.monotonic() - began) * 1_000_000)
        assert 90_000 < answer.timings.dns_us + answer.timings.connect_us <= answer.timings.total_us <= taken_us
        task.cancel()


@on_both_loops
async def test_after_a_standstill_the_limits_hold_as_before() -> None:
    async with Client(names=Names(None)) as client:
        asyncio.get_running_loop().call_later(0.1, stand_still, lambda: None)
        failure = await client.failure(80, Fault.DNS_TIMEOUT, host="hooks.example", timeouts=limits(connect=0.3))
        assert failure.timings.total_us < 1_000_000


# Kept connections that die.


@pytest.mark.parametrize("ending", [Peer.close, Peer.reset])
@on_both_loops
async def test_a_kept_connection_that_died_is_replaced_once(ending: Callable[[Peer], None]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        if peer.number == 1:
            ending(peer)
        else:
            await peer.send(OK)

    async with target(script) as served, Client() as client:
        await client.answer(served)
        answer = await client.answer(served)
        assert answer.timings.connect_us is not None
        assert len(served.peers) == 2
        assert [len(peer.requests) for peer in served.peers] == [2, 1]


@on_both_loops
async def test_a_kept_connection_is_not_replaced_twice() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(OK)
            await peer.request()
        peer.close()

    async with target(script) as served, Client() as client:
        await client.answer(served)
        await client.failure(served, Fault.CLOSED_EARLY)
        assert len(served.peers) == 2


@on_both_loops
async def test_a_request_that_is_to_be_written_once_is_not_written_again_over_another_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.close()

    async with target(script) as served, Client() as client:
        await client.answer(served)
        failure = await client.failure(served, Fault.CLOSED_EARLY, once=True)
        assert failure.stale
        assert [len(peer.requests) for peer in served.peers] == [2]
        await client.answer(served, anew=True)
        answer = await client.answer(served, anew=True)
        assert answer.timings.connect_us is not None
        assert [len(peer.requests) for peer in served.peers] == [2, 1, 1], "what is kept is left alone"


@on_both_loops
async def test_a_new_connection_that_ends_unanswered_is_not_stale() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close()

    async with target(script) as served, Client() as client:
        failure = await client.failure(served, Fault.CLOSED_EARLY, once=True)
        assert not failure.stale


@on_both_loops
async def test_a_kept_connection_that_began_to_answer_is_not_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")
        peer.close()

    async with target(script) as served, Client() as client:
        await client.answer(served)
        await client.failure(served, Fault.CLOSED_EARLY)
        assert len(served.peers) == 1


@on_both_loops
async def test_a_kept_connection_that_hangs_is_not_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with target(script) as served, Client() as client:
        await client.answer(served)
        await client.failure(served, Fault.FIRST_BYTE_TIMEOUT, timeouts=limits(first_byte=0.05))
        assert len(served.peers) == 1


@on_both_loops
async def test_a_byte_on_an_idle_connection_closes_it() -> None:
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await answered.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    async with target(script) as served, Client() as client:
        await client.answer(served)
        assert len(client.transport._pool) == 1
        answered.set()
        await served.all_gone()
        assert len(client.transport._pool) == 0
        assert (await client.answer(served)).body == b"ok"
        assert len(served.peers) == 2


# Cancellation, closing, and our own faults.


@on_both_loops
async def test_a_cancelled_request_closes_its_connection_and_poisons_none() -> None:
    asked = asyncio.Event()
    cancelled = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        asked.set()
        await cancelled.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async with target(script) as served, Client() as client:
        await client.answer(served)
        task = asyncio.create_task(client.send(served))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        await served.all_gone()
        assert len(client.transport._pool) == 0
        assert (await client.answer(served)).body == b"ok"
        assert len(served.peers) == 2


@on_both_loops
async def test_requests_cancelled_at_any_moment_leak_nothing() -> None:
    async with target(answer_ok) as served, Client() as client:
        for steps in range(40):
            task = asyncio.create_task(client.send(served))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert (await client.answer(served)).body == b"ok"
            assert len(client.transport._open) == len(client.transport._pool) or await settled(client)


async def settled(client: Client) -> bool:
    """Whether only idle connections are left, once the loop has closed the others."""
    async with asyncio.timeout(2):
        while len(client.transport._open) != len(client.transport._pool):  # noqa: ASYNC110
            await asyncio.sleep(0)
    return True


@pytest.mark.parametrize("scheme", ["http", "https"])
@on_both_loops
async def test_closing_ends_what_is_under_way(scheme: str) -> None:
    async def silent(peer: Peer) -> None: ...

    async with target(silent) as served, Client() as client:
        task = asyncio.create_task(client.send(served, scheme=scheme))
        await served.connections(1)
        await client.transport.close()
        with pytest.raises(RuntimeError, match="closed"):
            await task
        with pytest.raises(RuntimeError, match="closed"):
            await client.send(served)
        await served.all_gone()


@on_both_loops
async def test_closing_ends_lookups() -> None:
    names = Names(None)
    client = Client(names=names)
    task = asyncio.create_task(client.send(80, host="slow.example"))
    await names.asked.wait()
    await client.transport.close()
    with pytest.raises(RuntimeError, match="closed"):
        await task


@on_both_loops
async def test_without_file_descriptors_nobody_is_blamed() -> None:
    async with target(answer_ok) as served, Client() as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await client.send(served)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await client.answer(served)


# Names and addresses.


@on_both_loops
async def test_a_name_that_changes_its_mind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for the public address, 127.0.0.2 for the one inside."""
    monkeypatch.setattr(addresses_module, "TTL_SECONDS_MIN", 0.0)
    names = Names(("127.0.0.1",), ("127.0.0.2",), ("127.0.0.1", "127.0.0.2"), ("127.0.0.1",))
    policy = GuardPolicy(allowed_networks=(ip_network("127.0.0.1/32"),))
    async with target(answer_ok) as served, Client(policy, names) as client:
        answer = await client.answer(served, host="hooks.example")
        assert f"Host: hooks.example:{served.port}".encode() in served.requests[0]
        assert answer.timings.dns_us is not None
        for _ in range(2):  # rebound; then mixed: the kept connection to 127.0.0.1 helps neither
            failure = await client.failure(served, Fault.ADDRESS_REFUSED, host="hooks.example")
            assert "hooks.example is at 127.0.0.2, a loopback address" in failure.detail
        assert len(served.requests) == 1
        answer = await client.answer(served, host="hooks.example")
        assert answer.timings.connect_us is None
        assert len(served.peers) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "::ffff:127.0.0.1", "::1"]
)
@on_both_loops
async def test_spellings_of_loopback_are_refused(host: str) -> None:
    async with target(answer_ok) as served, Client(GuardPolicy()) as client:
        await client.failure(served, Fault.ADDRESS_REFUSED, host=host)
        assert not served.peers


@on_both_loops
async def test_localhost_is_resolved_and_judged() -> None:
    async with target(answer_ok) as served:
        async with Client(GuardPolicy()) as strict:
            await strict.failure(served, Fault.ADDRESS_REFUSED, host="localhost")
        async with Client() as lenient:
            assert (await lenient.answer(served, host="localhost")).status == 200
            assert (await lenient.answer(served, host="127.1")).address == "127.0.0.1"


@on_both_loops
async def test_the_next_address_is_tried_and_remembered() -> None:
    names = Names(("127.0.0.3", "127.0.0.1"))
    async with target(answer_ok) as served, Client(names=names) as client:
        assert (await client.answer(served, host="a.example")).address == "127.0.0.1"
        assert client.transport.addresses.known("a.example", time.monotonic()) == ("127.0.0.1", "127.0.0.3")


@on_both_loops
async def test_hosts_do_not_share_connections_even_at_one_address() -> None:
    async with target(answer_ok) as served, Client(names=Names(("127.0.0.1",))) as client:
        for host in ("a.example", "b.example", "a.example"):
            await client.answer(served, host=host)
        assert [len(peer.requests) for peer in served.peers] == [2, 1]


@on_both_loops
async def test_names_that_do_not_resolve() -> None:
    async with Client(names=Names(LookupFailed("the name does not exist in DNS"))) as client:
        failure = await client.failure(80, Fault.DNS_FAILED, host="nx.example")
        assert failure.detail == "cannot resolve nx.example: the name does not exist in DNS"
        assert failure.timings.dns_us is not None
    async with Client(names=Names(None)) as client:
        await client.failure(80, Fault.DNS_TIMEOUT, host="slow.example", timeouts=limits(connect=0.05))
        await client.failure(80, Fault.TOTAL_TIMEOUT, host="slow.example", timeouts=limits(total=0.05))


@on_both_loops
async def test_a_cancelled_lookup_leaves_the_others_waiting() -> None:
    async with target(answer_ok) as served, Client(names=Names(None)) as client:
        tasks = [asyncio.create_task(client.send(served, host="slow.example")) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        assert not tasks[1].done()
        tasks[1].cancel()
        await asyncio.wait(tasks)


@on_both_loops
async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, refused_port: int) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refused_port}")
    async with target(answer_ok) as served, Client() as client:
        await client.answer(served)


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@on_both_loops
async def test_tls_with_the_operators_authority(authority: trustme.CA, ca_file: Path) -> None:
    context = server_tls(authority, "hooks.example")
    asked: list[str | None] = []
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    async with (
        target(answer_ok, context) as served,
        Client(names=Names(("127.0.0.1",)), ca_file=ca_file) as client,
    ):
        answer = await client.answer(served, host="hooks.example", scheme="https", body=b"x" * 300_000)
        assert answer.timings.tls_us is not None
        assert answer.timings.connect_us is not None
        again = await client.answer(served, host="hooks.example", scheme="https")
        assert again.timings.tls_us is None
        assert len(served.peers) == 1
        assert asked == ["hooks.example"]


@on_both_loops
async def test_tls_to_an_address_is_verified_too(authority: trustme.CA, ca_file: Path) -> None:
    async with target(answer_ok, server_tls(authority, "127.0.0.1")) as served, Client(ca_file=ca_file) as client:
        await client.answer(served, scheme="https")
        await client.answer(served, scheme="https", host="127.1")


@on_both_loops
async def test_certificates_that_are_not_trusted(authority: trustme.CA, ca_file: Path) -> None:
    async with target(answer_ok, server_tls(authority, "hooks.example")) as served:
        async with Client(names=Names(("127.0.0.1",))) as client:
            failure = await client.failure(served, Fault.TLS_FAILED, host="hooks.example", scheme="https")
            assert "certificate" in failure.detail
            assert failure.timings.tls_us is not None
        async with Client(names=Names(("127.0.0.1",)), ca_file=ca_file) as client:
            failure = await client.failure(served, Fault.TLS_FAILED, host="other.example", scheme="https")
            assert "other.example" in failure.detail
            await client.failure(served, Fault.TLS_FAILED, scheme="https")
        assert not served.requests


@on_both_loops
async def test_old_versions_of_tls_are_not_spoken(authority: trustme.CA, ca_file: Path) -> None:
    context = server_tls(authority, "127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with target(answer_ok, context) as served, Client(ca_file=ca_file) as client:
        await client.failure(served, Fault.TLS_FAILED, scheme="https")


@on_both_loops
async def test_plain_http_where_tls_was_expected_and_the_reverse(authority: trustme.CA, ca_file: Path) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with target(plain) as served, Client() as client:
        failure = await client.failure(served, Fault.TLS_FAILED, scheme="https")
        assert "should the URL begin with http?" in failure.detail
    async with target(answer_ok, server_tls(authority, "127.0.0.1")) as served, Client() as client:
        result = await client.send(served)
        assert isinstance(result, Failure)
        assert result.fault in (Fault.CLOSED_EARLY, Fault.MALFORMED_RESPONSE)


@on_both_loops
async def test_handshakes_that_hang_or_break_off() -> None:
    async def silent(peer: Peer) -> None: ...

    async def breaks_off(peer: Peer) -> None:
        peer.close()

    async with target(silent) as served, Client() as client:
        failure = await client.failure(served, Fault.TLS_TIMEOUT, scheme="https", timeouts=limits(connect=0.1))
        assert failure.detail == "no TLS handshake within 0.1 s"
        failure = await client.failure(served, Fault.TOTAL_TIMEOUT, scheme="https", timeouts=limits(total=0.1))
        assert "within 0.1 s in all" in failure.detail
        await served.all_gone()
    async with target(breaks_off) as served, Client() as client:
        failure = await client.failure(served, Fault.TLS_FAILED, scheme="https")
        assert "handshake" in failure.detail


@on_both_loops
async def test_a_cancelled_handshake_leaks_nothing() -> None:
    async def silent(peer: Peer) -> None: ...

    async with target(silent) as served, Client() as client:
        task = asyncio.create_task(client.send(served, scheme="https"))
        await served.connections(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await served.all_gone()


@on_both_loops
async def test_tls_bodies_that_are_cut_off_are_not_complete(authority: trustme.CA, ca_file: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")
        peer.close()

    async with target(script, server_tls(authority, "127.0.0.1")) as served, Client(ca_file=ca_file) as client:
        failure = await client.failure(served, Fault.CLOSED_EARLY, scheme="https")
        assert failure.status == 200


def test_an_unusable_file_of_authorities_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing here")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(SetupError, match=name):
            HttpTransport(LOOPBACK, ca_file=tmp_path / name)
