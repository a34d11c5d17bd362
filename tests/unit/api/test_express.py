"""What is taken before ASGI, what is not, and that a client cannot tell which it was. Over real connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from tests.fakes import until

from posthouse.api.express import LESSONS_MAX, Answer, Headers, expressing
from posthouse.api.server import Server

PATIENCE_SECONDS = 20
OK = [(b"content-type", b"text/plain")]


class Desk:
    """A server that takes what `takes` says and answers what it was told of; ASGI answers all else, and in the same way."""

    def __init__(self) -> None:
        self.port = 0
        self.takes = True
        self.judged = 0  # heads that were parsed and offered
        self.taken: list[bytes] = []
        self.passed: list[bytes] = []
        self.waiting: list[tuple[Answer, bytes]] = []
        self.holds = False
        self.server: Server | None = None

    def credential(self, headers: Headers) -> bytes | None:
        self.judged += 1
        return dict(headers).get(b"x-kind", b"")

    def take(self, url: bytes, credential: bytes, headers: Headers, body: bytes, answer: Answer) -> bool:
        if not self.takes:
            return False
        self.taken.append(body)
        self.waiting.append((answer, b"%b|%b|%b" % (url, credential, body)))
        if not self.holds:
            asyncio.get_running_loop().call_soon(self.answer)
        return True

    def answer(self) -> None:
        answer, text = self.waiting.pop(0)
        answer(202, OK, text)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.passed.append(body)
        text = b"%b|%b|%b" % (scope["raw_path"], dict(scope["headers"]).get(b"x-kind", b""), body)
        headers = [*OK, (b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": text})


@asynccontextmanager
async def desk(*, keep_alive_seconds: float = 5.0) -> AsyncIterator[Desk]:
    made = Desk()
    listening = socket.create_server(("127.0.0.1", 0))
    made.port = listening.getsockname()[1]
    config = uvicorn.Config(
        made,
        http=expressing(made),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=keep_alive_seconds,  # type: ignore[arg-type] # uvicorn waits for parts of a second, too
    )
    made.server = Server(config)
    task = asyncio.create_task(made.server.serve(sockets=[listening]))
    try:
        yield made
    finally:
        made.server.should_exit = True
        await task


def request(body: bytes = b"{}", *, url: bytes = b"/v1/events", method: bytes = b"POST", more: bytes = b"") -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: x\r\nX-Kind: plain\r\n%bContent-Length: %d\r\n\r\n" % (
        method,
        url,
        more,
        len(body),
    )
    return head + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head, await reader.readexactly(length)


async def test_a_small_event_in_one_piece_is_taken() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for number in range(3):
            writer.write(request(b'{"n":%d}' % number))
            head, body = await read_answer(reader)
            assert head == b"HTTP/1.1 202 Accepted\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(
                body
            )
            assert body == b'/v1/events|plain|{"n":%d}' % number
        assert len(served.taken) == 3
        assert served.passed == []
        writer.close()


@pytest.mark.parametrize("at", [10, 40, -1, -2])
async def test_what_comes_in_pieces_is_answered_all_the_same(at: int) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        data = request(b'{"a":1}')
        writer.write(data[:at])
        await writer.drain()
        await until(lambda: served.server is not None and _has_brought_something(served.server))
        writer.write(data[at:])
        _, body = await read_answer(reader)
        assert body == b'/v1/events|plain|{"a":1}'
        # Where the head was whole and the body was not, ASGI has it: its slowness is limited there.
        assert (served.passed if at < 0 else served.taken) == [b'{"a":1}']
        writer.close()


def _has_brought_something(server: Server) -> bool:
    return any(not getattr(connection, "silent", True) for connection in server.server_state.connections)


async def test_what_is_not_taken_goes_through_asgi_as_it_came() -> None:
    async with desk() as served:
        served.takes = False
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for body in (b"", b"{}", b"x" * 70_000):
            writer.write(request(body))
            assert (await read_answer(reader))[1] == b"/v1/events|plain|" + body
        assert served.passed == [b"", b"{}", b"x" * 70_000]
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        request(url=b"/v1/apps"),
        request(url=b"/v1/events?dry_run=true"),
        request(method=b"PUT"),
    ],
)
async def test_other_requests_are_not_even_offered(data: bytes) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(data)
        await read_answer(reader)
        assert served.taken == []
        writer.close()


async def test_who_expects_a_go_ahead_gets_one() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request(b"{}", more=b"Expect: 100-continue\r\n")[:-2])
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await read_answer(reader))[1] == b"/v1/events|plain|{}"
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with desk() as served:
        served.holds = True
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"".join(request(b'{"n":%d}' % number) for number in range(4)))
        await until(lambda: len(served.waiting) == 1)
        assert served.passed == [], "the others wait for the answer of the first"
        served.answer()
        for number in range(4):
            assert (await read_answer(reader))[1] == b'/v1/events|plain|{"n":%d}' % number
        writer.close()


@pytest.mark.parametrize("data", [request(more=b"Connection: close\r\n"), request().replace(b"HTTP/1.1", b"HTTP/1.0")])
async def test_who_wants_the_connection_closed_finds_it_closed(data: bytes) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(data)
        head, _ = await read_answer(reader)
        assert b"connection: close\r\n" in head
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.read() == b""
        assert len(served.taken) == 1
        writer.close()


async def test_a_server_about_to_end_says_so_and_answers_what_it_took() -> None:
    async with desk() as served:
        assert served.server is not None
        served.holds = True
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        other_reader, other = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        await until(lambda: len(served.waiting) == 1)
        served.server.part()
        other.write(request())
        await until(lambda: len(served.waiting) == 2)
        served.server.should_exit = True
        await asyncio.sleep(0.5)
        served.answer()
        served.answer()
        assert (await read_answer(reader))[0].startswith(b"HTTP/1.1 202")
        assert b"connection: close" in (await read_answer(other_reader))[0]
        writer.close()
        other.close()


async def test_a_client_that_went_away_harms_nobody() -> None:
    async with desk() as served:
        served.holds = True
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        await until(lambda: len(served.waiting) == 1)
        writer.transport.abort()
        assert served.server is not None
        await until(lambda: served.server is not None and not served.server.server_state.connections)
        served.answer()
        served.holds = False
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        assert (await read_answer(reader))[0].startswith(b"HTTP/1.1 202")
        writer.close()


async def test_what_is_not_http_is_refused() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        writer.write(head + b"zz\r\nnot a chunk\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
        assert served.taken == []
        writer.close()


# Heads that are known.


async def test_the_head_of_the_next_request_is_not_parsed_again() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for number, url in enumerate([b"/v1/events", b"/v1/apps/a/events", b"/v1/apps/bcd/events"] * 2):
            writer.write(request(b"x" * number * 100, url=url))
            assert (await read_answer(reader))[1] == b"%b|plain|%b" % (url, b"x" * number * 100)
        assert (served.judged, len(served.taken), served.passed) == (1, 6, [])
        writer.close()


async def test_another_head_is_parsed_and_then_known() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for kind in (b"plain", b"fancy", b"fancy", b"plain"):
            writer.write(request().replace(b"plain", kind))
            assert (await read_answer(reader))[1] == b"/v1/events|%b|{}" % kind
        assert served.judged == 3
        writer.close()


async def test_a_head_that_is_always_another_is_not_learnt_for_ever() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for number in range(LESSONS_MAX):
            writer.write(request(more=b"X-Request: %d\r\n" % number))
            await read_answer(reader)
        last = request(more=b"X-Request: last\r\n")
        for _ in range(3):
            writer.write(last)
            assert (await read_answer(reader))[1] == b"/v1/events|plain|{}"
        assert served.judged == LESSONS_MAX + 3
        writer.close()


@pytest.mark.parametrize("at", [3, 10, 40, -1, -2])
async def test_pieces_and_pairs_of_what_is_known_are_answered_all_the_same(at: int) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        data = request(b'{"a":1}')
        writer.write(data)
        await read_answer(reader)
        writer.write(data[:at])
        await writer.drain()
        await asyncio.sleep(0.05)  # they are to arrive apart; were they not, it would be a case of another test
        writer.write(data[at:])
        assert (await read_answer(reader))[1] == b'/v1/events|plain|{"a":1}'
        writer.write(data + request(b"two"))
        assert (await read_answer(reader))[1] == b'/v1/events|plain|{"a":1}'
        assert (await read_answer(reader))[1] == b"/v1/events|plain|two"
        writer.write(request(url=b"/v1/apps"))
        assert (await read_answer(reader))[1] == b"/v1/apps|plain|{}"
        writer.write(data)
        assert (await read_answer(reader))[1] == b'/v1/events|plain|{"a":1}'
        writer.close()


async def test_what_is_known_waits_for_the_answer_before_it() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        await read_answer(reader)
        served.holds = True
        writer.write(request(b"first"))
        await until(lambda: len(served.waiting) == 1)
        writer.write(request(b"second"))
        await asyncio.sleep(0.05)
        assert served.taken == [b"{}", b"first"]
        served.answer()
        for body in (b"first", b"second"):
            assert (await read_answer(reader))[1] == b"/v1/events|plain|" + body
        writer.close()


async def test_what_is_known_and_not_taken_goes_through_asgi() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        await read_answer(reader)
        served.takes = False
        writer.write(request(b"other"))
        assert (await read_answer(reader))[1] == b"/v1/events|plain|other"
        assert served.passed == [b"other"]
        writer.close()


async def test_a_server_about_to_end_says_so_to_those_it_knows() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        await read_answer(reader)
        assert served.server is not None
        served.server.part()
        writer.write(request())
        assert b"connection: close" in (await read_answer(reader))[0]
        assert served.judged == 1
        writer.close()


# Connections that rest.


async def test_a_connection_that_rests_for_too_long_is_closed_and_not_before() -> None:
    async with desk(keep_alive_seconds=0.5) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        loop = asyncio.get_running_loop()
        for _ in range(8):
            writer.write(request())
            await read_answer(reader)
            rested_at = loop.time()
            await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.read() == b""
        assert loop.time() - rested_at > 0.4
        assert len(served.taken) == 8
        writer.close()


async def test_a_request_under_way_is_not_rest() -> None:
    async with desk(keep_alive_seconds=0.2) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request())
        await read_answer(reader)
        served.holds = True
        writer.write(request(b"slow"))
        await until(lambda: len(served.waiting) == 1)
        await asyncio.sleep(0.5)
        served.answer()
        assert (await read_answer(reader))[1] == b"/v1/events|plain|slow"
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.read() == b"", "and then it rests"
        writer.close()


@pytest.mark.parametrize("url", [b"/v1/events", b"/elsewhere"])
@pytest.mark.parametrize("where", ["whole", "in its head", "behind its head", "in its body"])
async def test_who_asks_to_upgrade_is_answered_as_if_it_had_not(url: bytes, where: str) -> None:
    """curl and Java's client ask for HTTP/2 so. The body is no request, and what follows is one."""
    asking = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        first, second = request(smuggled, url=url, more=asking), request(b"{}", url=url, more=asking)
        cuts = {"whole": 0, "in its head": 40, "behind its head": first.index(smuggled), "in its body": len(first) - 3}
        if cut := cuts[where]:
            writer.write(first[:cut])
            await until(lambda: served.server is not None and _has_brought_something(served.server))
        writer.write(first[cut:])
        assert (await read_answer(reader))[1] == b"%b|plain|%b" % (url, smuggled)
        writer.write(second + second)
        for _ in range(2):
            assert (await read_answer(reader))[1] == b"%b|plain|{}" % url
        assert sorted(served.taken + served.passed) == sorted([smuggled, b"{}", b"{}"])
        writer.close()


async def test_it_is_no_proxy() -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


@pytest.mark.parametrize("url", [b"/v1/events", b"/elsewhere"])
@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        (b"HTTP/1.1", b""),
        (b"HTTP/1.1", b"Host: x\r\nHost: y\r\n"),
        (b"HTTP/2.0", b"Host: x\r\n"),
        (b"HTTP/0.9", b"Host: x\r\n"),
    ],
    ids=["no host", "two hosts", "2.0", "0.9"],
)
async def test_what_is_no_request_of_this_protocol_is_refused(url: bytes, line: bytes, hosts: bytes) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST %b %b\r\n%bContent-Length: 2\r\n\r\n{}" % (url, line, hosts))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        assert served.taken == served.passed == []
        writer.close()


@pytest.mark.parametrize("url", [b"/v1/events", b"/elsewhere"])
async def test_a_request_of_http_1_0_needs_no_host(url: bytes) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST %b HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}" % url)
        assert (await read_answer(reader))[1] == b"%b||{}" % url
        writer.close()


async def refused_as_too_large(port: int, begun: bytes, line: bytes) -> None:
    """What began like this goes on with the same for ever: 20 MB here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begun)
    with suppress(ConnectionError):
        for _ in range(200):
            writer.write(line * 1000)
            await writer.drain()
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()


@pytest.mark.parametrize("line", [b"X: %b\r\n" % (b"a" * 100), b"a" * 102], ids=["many", "one"])
async def test_a_head_without_end_is_not_read_to_its_end(line: bytes) -> None:
    async with desk() as served:
        await refused_as_too_large(served.port, request()[: -len(b"\r\n{}")], line)
        assert served.judged == 0


def chunked(end: bytes, *, url: bytes) -> bytes:
    """A request with `{}` for a body, and what is to come behind it."""
    head = request(b"", url=url).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return b"%b1\r\n{\r\n1\r\n}\r\n0\r\n%b" % (head, end)


@pytest.mark.parametrize("url", [b"/v1/events", b"/elsewhere"])
@pytest.mark.parametrize("line", [b"X: %b\r\n" % (b"a" * 100), b"a" * 102], ids=["many", "one"])
async def test_trailers_without_end_are_not_read_to_their_end(line: bytes, url: bytes) -> None:
    async with desk() as served:
        await refused_as_too_large(served.port, chunked(b"", url=url), line)
        assert served.taken == served.passed == []


@pytest.mark.parametrize("url", [b"/v1/events", b"/elsewhere"])
async def test_a_trailer_is_no_header(url: bytes) -> None:
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(chunked(b"X-Kind: forged\r\n\r\n", url=url).replace(b"X-Kind: plain\r\n", b""))
        assert (await read_answer(reader))[1] == b"%b||{}" % url
        writer.write(request(b"next", url=url))
        assert (await read_answer(reader))[1] == b"%b|plain|next" % url
        writer.close()


async def test_a_body_in_chunks_has_no_limit_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.api.express.CLIENT_HEAD_BYTES_MAX", 100)
    async with desk() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        writer.write(head)
        for piece in (b"80\r\n", b"a" * 0x80, b"\r\n") * 3:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)  # each comes by itself
        writer.write(b"0\r\n\r\n")
        assert (await read_answer(reader))[1].endswith(b"|plain|" + b"a" * 384)
        writer.close()


async def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.api.express.CLIENT_FIRST_HEAD_SECONDS", 0.2)
    async with desk() as served:
        silent, halting, talking = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
        halting[1].write(request()[:30])
        talking[1].write(request())
        assert (await read_answer(talking[0]))[0].startswith(b"HTTP/1.1 202 ")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await silent[0].read() == await halting[0].read() == b""
        talking[1].write(request())
        assert (await read_answer(talking[0]))[0].startswith(b"HTTP/1.1 202 "), "it rests between requests"
        for _, writer in (silent, halting, talking):
            writer.close()
