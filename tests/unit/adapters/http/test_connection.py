"""One connection, fed by hand: whatever bytes come in whatever pieces, one verdict comes out and nothing is kept after it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.adapters.http import connection as module
from posthouse.adapters.http.broken import Broken
from posthouse.adapters.http.connection import INTERIM_ANSWERS_MAX, WIRE_BYTES_MAX, Connection, PoolKey
from posthouse.domain.exchange import Fault
from posthouse.domain.limits import RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX, RESPONSE_READ_BYTES_MAX

KEY = PoolKey("http", "target.example", 80, "93.184.216.34")
REQUEST = b"POST / HTTP/1.1\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written and notes how it ends."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


class Register:
    def __init__(self) -> None:
        self.open = 0

    def opened(self, connection: Connection) -> None:
        self.open += 1

    def lost(self, connection: Connection) -> None:
        self.open -= 1


class Bench:
    """A connection on a wire, with a request sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, head: bytes = REQUEST) -> None:
        self.register = Register()
        self.wire = Wire()
        self.connection = Connection(KEY, loop, self.register)
        self.connection.connection_made(self.wire)
        self.waiter = self.send(head)

    def send(self, head: bytes = REQUEST, body: bytes = b"") -> asyncio.Future[Broken | None]:
        self.waiter = self.connection.exchange(
            head, body, now=100.0, first_byte_seconds=5.0, total_seconds=10.0, total_deadline=110.0
        )
        return self.waiter

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.aborted:
                self.connection.data_received(piece)

    def end(self, error: Exception | None = None) -> None:
        if error is None and not self.wire.aborted:
            self.connection.eof_received()
        self.connection.connection_lost(error)

    def verdict(self) -> Broken | None:
        return self.waiter.result()

    def answer(self) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes, bool, bool]:
        assert self.verdict() is None
        connection = self.connection
        body = b"".join(connection.chunks)
        return connection.status, tuple(connection.headers), body, connection.truncated, connection.reusable


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


ANSWERS: list[tuple[bytes, int, bytes, bool]] = [  # bytes, status, body, reusable
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", 301, b"", True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n", 200, b"ok!", True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, b"ok", True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 N\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 500, b"", True),
    (b"HTTP/1.1 999 Own\r\nContent-Length: 0\r\n\r\n", 999, b"", True),
]


@pytest.mark.parametrize(("sent", "status", "body", "reusable"), ANSWERS)
def test_answers(loop: asyncio.AbstractEventLoop, sent: bytes, status: int, body: bytes, reusable: bool) -> None:
    bench = Bench(loop)
    bench.feed(sent)
    assert bench.answer()[0::2] == (status, body, reusable)
    assert bench.wire.aborted is not reusable


@given(st.data())
def test_pieces_make_no_difference(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    sent = data.draw(st.sampled_from(ANSWERS))[0]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=12)))
    whole, pieces = Bench(loop), Bench(loop)
    whole.feed(sent)
    pieces.feed(*(sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)))
    assert pieces.answer() == whole.answer()


@given(st.lists(st.sampled_from(ANSWERS), min_size=2, max_size=5))
def test_a_kept_connection_remembers_nothing(
    loop: asyncio.AbstractEventLoop, answers: list[tuple[bytes, int, bytes, bool]]
) -> None:
    bench = Bench(loop)
    for sent, status, body, reusable in answers:
        fresh = Bench(loop)
        fresh.feed(sent)
        bench.feed(sent)
        assert bench.answer() == fresh.answer()
        assert bench.answer()[0::2] == (status, body, reusable)
        if not reusable:
            break
        bench.send()


@given(st.data())
def test_what_is_known_of_an_answer_changes_nothing(loop: asyncio.AbstractEventLoop, data: st.DataObject) -> None:
    sent = data.draw(st.sampled_from([answer for answer in ANSWERS if answer[3]]))[0]
    head = data.draw(st.sampled_from([REQUEST, b"HEAD / HTTP/1.1\r\n\r\n"]))
    bench, fresh = Bench(loop), Bench(loop, head)
    bench.feed(sent)
    assert bench.answer()[4]
    changed = bytearray(sent)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    pieces = [bytes(changed)]
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(changed)))
        pieces = [pieces[0][:cut], pieces[0][cut:]]
    bench.send(head)
    for one in (bench, fresh):
        one.feed(*[piece for piece in pieces if piece])
        if not one.waiter.done():
            one.end()
    assert bench.verdict() == fresh.verdict()
    if fresh.verdict() is None:
        assert bench.answer() == fresh.answer()


def test_an_answer_with_the_head_of_the_one_before_is_not_parsed(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    head = b"HTTP/1.1 200 OK\r\nDate: Sun\r\nContent-Length: 2\r\n\r\n"
    bench.feed(head + b"ok")
    first = bench.answer()
    bench.connection._parser = None
    for body in (b"ok", b"no"):
        bench.send()
        bench.feed(head + body)
        assert bench.answer() == (200, first[1], body, False, True)


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 C\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"Connection: close\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
        b"\x15\x03\x01",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=40), max_size=12))
def test_whatever_comes_there_is_one_verdict(loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> None:
    bench = Bench(loop)
    bench.feed(*pieces)
    if not bench.waiter.done():
        bench.end()
    else:
        bench.connection.connection_lost(None)
    verdict = bench.verdict()  # raises where it was a bug of ours
    assert verdict is None or isinstance(verdict.fault, Fault)
    assert bench.register.open == 0
    assert not bench.connection.reusable


MALFORMED = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x00\x01\x02\x03",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 000 None\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
    b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_ANSWERS_MAX + 1),
]


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_is_not_http(loop: asyncio.AbstractEventLoop, sent: bytes) -> None:
    bench = Bench(loop)
    bench.feed(sent)
    verdict = bench.verdict()
    assert verdict is not None
    assert verdict.fault is Fault.MALFORMED_RESPONSE
    assert verdict.detail.isprintable()
    assert bench.wire.aborted


def test_tls_on_a_plain_port_is_named(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.feed(b"\x15\x03\x01\x00\x02\x02\x46")
    verdict = bench.verdict()
    assert verdict is not None
    assert "https" in verdict.detail


def early(status: int | None, unanswered: bool = False) -> tuple[Fault, int | None, bool]:
    return Fault.CLOSED_EARLY, status, unanswered


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", early(None, unanswered=True)),
        (b"HTTP/1.", early(None)),
        (b"HTTP/1.1 503 ", early(503)),
        (b"HTTP/1.1 503 Busy\r\nServer: x\r\nDate", early(503)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", early(None)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", early(200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", early(200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", early(200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", early(200)),
    ],
)
@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "Connection reset by peer")])
def test_closed_before_the_end(
    loop: asyncio.AbstractEventLoop, sent: bytes, expected: tuple[Fault, int | None, bool], error: Exception | None
) -> None:
    bench = Bench(loop)
    if sent:
        bench.feed(sent)
    bench.end(error)
    verdict = bench.verdict()
    assert verdict is not None
    assert (verdict.fault, verdict.status, verdict.unanswered) == expected
    assert ("reset by peer" in verdict.detail) is (error is not None)


def test_an_old_status_is_not_told_again(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.feed(ANSWERS[0][0])
    bench.send()
    bench.feed(b"HTTP/1.")
    bench.end()
    verdict = bench.verdict()
    assert verdict is not None
    assert verdict.status is None


def test_a_body_that_the_end_of_the_connection_ends(loop: asyncio.AbstractEventLoop) -> None:
    for headers in (b"", b"Connection: close\r\n", b"Transfer-Encoding: gzip\r\n"):
        bench = Bench(loop)
        bench.feed(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\nall", b" of it")
        assert not bench.waiter.done()
        bench.end()
        assert bench.answer()[0::2] == (200, b"all of it", False)
    bench = Bench(loop)
    bench.feed(b"HTTP/1.1 200 OK\r\n\r\nall of it?")
    bench.end(ConnectionResetError(104, "Connection reset by peer"))
    verdict = bench.verdict()
    assert verdict is not None
    assert verdict.fault is Fault.CLOSED_EARLY


def head_of(size: int) -> bytes:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("step", [1000, 10**6])
def test_the_size_of_the_head_is_bounded_exactly(loop: asyncio.AbstractEventLoop, step: int) -> None:
    for size, fits in ((RESPONSE_HEADER_BYTES_MAX, True), (RESPONSE_HEADER_BYTES_MAX + 1, False)):
        sent = head_of(size) + b"ok"
        bench = Bench(loop)
        bench.feed(*(sent[at : at + step] for at in range(0, len(sent), step)))
        if fits:
            assert bench.answer()[0::2] == (200, b"ok", True)
        else:
            verdict = bench.verdict()
            assert verdict is not None
            assert (verdict.fault, verdict.status) == (Fault.HEADERS_TOO_LARGE, 200)


def test_endless_heads_end(loop: asyncio.AbstractEventLoop) -> None:
    for piece in (b"X: " + b"x" * 1000 + b"\r\n", b"x" * 1000, b"\r\nX: y"):
        bench = Bench(loop)
        bench.feed(b"HTTP/1.1 200 OK", b"\r\n" if piece.startswith(b"X") else b" ", *[piece] * 5000)
        verdict = bench.verdict()
        assert verdict is not None
        assert verdict.fault is Fault.HEADERS_TOO_LARGE


def test_the_number_of_headers_is_bounded(loop: asyncio.AbstractEventLoop) -> None:
    for count, fits in ((RESPONSE_HEADERS_MAX, True), (RESPONSE_HEADERS_MAX + 1, False)):
        bench = Bench(loop)
        bench.feed(b"HTTP/1.1 204 N\r\n" + b"A: b\r\n" * count + b"\r\n")
        verdict = bench.verdict()
        assert (verdict is None) is fits
        if verdict is not None:
            assert verdict.fault is Fault.HEADERS_TOO_LARGE


def test_a_body_is_read_up_to_the_limit(loop: asyncio.AbstractEventLoop) -> None:
    for length in (RESPONSE_READ_BYTES_MAX, RESPONSE_READ_BYTES_MAX + 1):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length
        body = b"x" * length
        for pieces in ([head + body], [head, *(body[at : at + 5000] for at in range(0, length, 5000))]):
            bench = Bench(loop)
            bench.feed(*pieces)
            status, _, read, truncated, reusable = bench.answer()
            assert status == 200
            assert len(read) == RESPONSE_READ_BYTES_MAX
            assert truncated is (length > RESPONSE_READ_BYTES_MAX)
            assert reusable is not truncated
            assert bench.wire.aborted is truncated


def test_a_body_that_is_all_wrapping_ends_too(loop: asyncio.AbstractEventLoop) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for piece in (b"1;" + b"x" * 500 + b"\r\nx\r\n", b"0\r\nX: " + b"x" * 1000, b"0\r\n" + b"X: y\r\n" * 200):
        bench = Bench(loop)
        bench.feed(start, *[piece] + [piece if piece.startswith(b"1") else piece[3:]] * (WIRE_BYTES_MAX // 500))
        status, _, _, truncated, reusable = bench.answer()
        assert (status, truncated, reusable) == (200, True, False)


@pytest.mark.parametrize("extra", [b"x", b"H", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\0"])
@pytest.mark.parametrize("sent", [ANSWERS[0][0], ANSWERS[2][0], ANSWERS[5][0]])
def test_bytes_after_the_answer_spoil_the_connection_not_the_answer(
    loop: asyncio.AbstractEventLoop, sent: bytes, extra: bytes
) -> None:
    together = Bench(loop)
    together.feed(sent + extra)
    assert together.answer()[4] is False
    assert together.wire.aborted
    apart = Bench(loop)
    apart.feed(sent)
    assert apart.answer()[4] is True
    apart.feed(extra)  # nobody has asked again
    assert apart.answer()[4] is False
    assert apart.wire.aborted


def test_the_answer_to_head_has_no_body(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop, b"HEAD / HTTP/1.1\r\n\r\n")
    bench.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    assert bench.answer()[0::2] == (200, b"", False)


def test_an_answer_before_all_was_sent_counts_and_closes(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.wire.unsent = 1
    bench.feed(ANSWERS[0][0])
    assert bench.answer()[0::2] == (200, b"ok", False)
    assert bench.wire.aborted


def test_headers_keep_order_and_lose_case_and_padding(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.feed(b"HTTP/1.1 204 N\r\nX-B:  two words \t\r\nx-a:\r\nX-B: again\r\n\r\n")
    assert bench.answer()[1] == ((b"x-b", b"two words"), (b"x-a", b""), (b"x-b", b"again"))


def test_headers_of_interim_answers_and_trailers_are_not_the_answers(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    bench.feed(b"0\r\nX-Trailer: 1\r\n\r\n")
    assert bench.answer()[1] == ((b"transfer-encoding", b"chunked"),)


def test_head_and_body_go_out_in_order(loop: asyncio.AbstractEventLoop) -> None:
    for body in (b"", b"small", b"x" * 100_000):
        bench = Bench(loop)
        bench.wire.written = b""
        bench.feed(ANSWERS[0][0])
        bench.send(REQUEST, body)
        assert bench.wire.written == REQUEST + body


def test_deadlines_of_the_phases(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loop)
    assert bench.connection.deadline == 105.0  # the first byte
    bench.connection.pause_writing()
    assert bench.connection.deadline == 110.0  # not all is sent: the total limit only
    monkeypatch.setattr(module, "monotonic", lambda: 103.0)
    bench.connection.resume_writing()
    assert bench.connection.deadline == 108.0  # it is sent only now
    bench = Bench(loop)
    bench.feed(b"H")
    assert bench.connection.deadline == 110.0  # the rest
    bench.connection.expire(110.1)
    verdict = bench.verdict()
    assert verdict is not None
    assert (verdict.fault, verdict.detail) == (Fault.TOTAL_TIMEOUT, "no complete answer within 10 s in all")
    assert bench.wire.aborted
    bench = Bench(loop)
    bench.connection.expire(105.1)
    verdict = bench.verdict()
    assert verdict is not None
    assert (verdict.fault, verdict.detail) == (
        Fault.FIRST_BYTE_TIMEOUT,
        "no answer within 5 s of sending the request",
    )


def test_a_target_that_speaks_first(loop: asyncio.AbstractEventLoop) -> None:
    wire = Wire()
    connection = Connection(KEY, loop, Register())
    connection.connection_made(wire)
    connection.data_received(b"220 mail.example ESMTP\r\n")
    assert wire.aborted
    waiter = connection.exchange(
        REQUEST, b"", now=100.0, first_byte_seconds=5.0, total_seconds=10.0, total_deadline=110.0
    )
    verdict = waiter.result()
    assert verdict is not None
    assert verdict.fault is Fault.MALFORMED_RESPONSE
    assert wire.written == b""


def test_our_own_faults_are_raised(loop: asyncio.AbstractEventLoop) -> None:
    for fault in (OSError(12, "Cannot allocate memory"), MemoryError(), AttributeError("a bug")):
        bench = Bench(loop)
        bench.end(fault)
        with pytest.raises(type(fault)):
            bench.verdict()


def test_a_bug_in_a_callback_is_raised(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.connection.headers = cast(list[tuple[bytes, bytes]], None)
    bench.feed(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    with pytest.raises(TypeError):
        bench.verdict()
    assert bench.wire.aborted


def test_a_connection_given_up_is_closed_and_says_nothing(loop: asyncio.AbstractEventLoop) -> None:
    bench = Bench(loop)
    bench.connection.abort()
    bench.connection.data_received(ANSWERS[0][0])
    bench.end()
    assert not bench.waiter.done()
    assert bench.register.open == 0


def test_a_connection_given_up_before_it_is_made_is_closed_then(loop: asyncio.AbstractEventLoop) -> None:
    connection, wire = Connection(KEY, loop, Register()), Wire()
    connection.abort()
    connection.connection_made(wire)
    assert wire.aborted
