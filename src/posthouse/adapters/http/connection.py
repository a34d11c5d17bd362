"""One connection to a target: writes a request, reads one answer, bounded in every direction.

Sources: RFC 9112 (HTTP/1.1 messages; section 6.3 for where a body ends, 9.3 for persistence), RFC 9110 section 15.2
(interim answers).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import Final, Protocol, cast

import httptools
import msgspec

from posthouse.adapters.http.broken import Broken, headers_too_large, malformed_answer, printable
from posthouse.adapters.http.known_answer import KnownAnswer, known_answer
from posthouse.adapters.http.reasons import OURS, errno_text, tls_text
from posthouse.domain.exchange import Fault
from posthouse.domain.limits import RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX, RESPONSE_READ_BYTES_MAX

INTERIM_ANSWERS_MAX: Final = 16
# An answer in chunks of one byte, or with endless trailers, is mostly not body: the bytes on the wire are bounded too.
WIRE_BYTES_MAX: Final = RESPONSE_HEADER_BYTES_MAX + 8 * RESPONSE_READ_BYTES_MAX
STATUS_BYTES_MIN: Final = len(b"HTTP/1.1 200")
TLS_ALERT: Final = b"\x15\x03"

# The phases of a connection, in order; DONE goes back to IDLE.
IDLE: Final = 0  # nothing asked; a byte arriving closes it
HEAD: Final = 1  # asked; no complete final head yet
BODY: Final = 2  # the final head is in
DONE: Final = 3  # the answer is complete
CLOSED: Final = 4


class PoolKey(msgspec.Struct, frozen=True):
    """All that two requests must have in common to share a connection.

    The address is the pinned one. `egress` is the identity of an endpoint's own way to connect (`Egress.identity`, a digest of
    it and of the app), empty for the common one: a request never rides another tenant's client certificate, is never judged by
    another's authorities or pins, and never reaches its target another way.
    """

    scheme: str
    host: str
    port: int
    address: str
    egress: str = ""


class Keeper(Protocol):
    """Knows every connection that is open."""

    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None:
        """Called for each connection that was opened, when its socket is gone; perhaps twice, or for one that never was."""
        ...


class _Stop(Exception):
    """Raised inside a callback of the parser to make it stop; what follows on this connection is of no interest."""


class Connection(asyncio.Protocol):
    """A connection that serves one request at a time.

    `exchange` starts a request and returns the future of its end: None where the answer stands in `status`, `headers`,
    `chunks` and `truncated`, otherwise Broken. It raises (through the future) only for faults of our own. After None,
    `reusable` tells whether another request may follow. Whoever called `exchange` owns the connection until then, and
    calls `abort` if it stops waiting.

    `deadline` (monotonic seconds) is when the sweep calls `expire`: there is no timer per request.
    """

    __slots__ = (
        "_first_byte_seconds",
        "_head_only",
        "_interim",
        "_keep_alive",
        "_keeper",
        "_known",
        "_loop",
        "_parser",
        "_phase",
        "_read_bytes",
        "_total_seconds",
        "_transport",
        "_unasked",
        "_verdict",
        "_waiter",
        "_wire_bytes",
        "chunks",
        "deadline",
        "first_byte_at",
        "headers",
        "key",
        "reusable",
        "status",
        "total_deadline",
        "truncated",
    )

    def __init__(self, key: PoolKey, loop: asyncio.AbstractEventLoop, keeper: Keeper) -> None:
        self.key = key
        self._loop = loop
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._phase = IDLE
        self._unasked = False
        self._waiter: asyncio.Future[Broken | None] | None = None
        self._known: KnownAnswer | None = None
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self._wire_bytes = 0
        self.deadline = float("inf")
        self.total_deadline = float("inf")
        self.reusable = False

    # The request.

    def exchange(
        self,
        head: bytes,
        body: bytes,
        *,
        now: float,
        first_byte_seconds: float,
        total_seconds: float,
        total_deadline: float,
    ) -> asyncio.Future[Broken | None]:
        """Send a request; the future ends with its answer. `total_seconds` is only for the words of a failure."""
        waiter = self._waiter = self._loop.create_future()
        self.first_byte_at = 0.0
        transport = self._transport
        if transport is None or self._phase != IDLE:
            if self._unasked:
                self._end(malformed_answer("the target spoke before it was asked"))
            else:
                self._end(Broken(Fault.CLOSED_EARLY, "the connection was closed before the request", unsent=True))
            return waiter
        self._phase = HEAD
        self._first_byte_seconds = first_byte_seconds
        self._total_seconds = total_seconds
        self._wire_bytes = self._read_bytes = self._interim = 0
        self._head_only = head.startswith(b"HEAD ")
        self._verdict: Broken | None = None
        self.headers = []
        self.chunks: list[bytes] = []
        self.truncated = self.reusable = False
        self.total_deadline = total_deadline
        first_byte_deadline = now + first_byte_seconds
        self.deadline = first_byte_deadline if first_byte_deadline < total_deadline else total_deadline
        # Not `writelines`: in Python 3.12 and 3.13.0 it never calls `pause_writing` (CVE-2024-12254).
        transport.write(head + body)
        return waiter

    def abort(self) -> None:
        """Close at once, without a farewell; nobody is told but the keeper."""
        self._phase = CLOSED
        self._waiter = None
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def expire(self, now: float) -> None:
        """The deadline has passed: an idle connection closes, a request under way fails."""
        if self._phase == HEAD and self.first_byte_at == 0.0 and now < self.total_deadline:
            limit = f"{self._first_byte_seconds:g} s"
            self._end(Broken(Fault.FIRST_BYTE_TIMEOUT, f"no answer within {limit} of sending the request"))
        elif self._waiter is not None:
            what = "no answer" if self.first_byte_at == 0.0 else "no complete answer"
            self._end(Broken(Fault.TOTAL_TIMEOUT, f"{what} within {self._total_seconds:g} s in all", self._status()))
        self.abort()

    def fail(self, error: Exception) -> None:
        """End a request under way by a fault of our own."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._keeper.opened(self)
        if self._phase == CLOSED:  # given up while the handshake was under way
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._phase == DONE:
            # Whatever this is, the next request must not take it for its answer.
            self._unasked = True
            self.abort()
            return
        if self.first_byte_at == 0.0:
            self.first_byte_at = monotonic()
            self.deadline = self.total_deadline
            known = self._known
            if known is not None and len(data) == known.size and data.startswith(known.head) and not self._head_only:
                self.status, self.headers = known.status, known.headers
                self.chunks.append(data[len(known.head) :])
                self._phase, self._keep_alive = DONE, True
                self._end(None)
                return
        self._wire_bytes += len(data)
        parser = self._parser
        assert parser is not None
        try:
            if self._wire_bytes > RESPONSE_HEADER_BYTES_MAX and self._phase == HEAD:
                data = self._feed_head(parser, data)
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _Stop) as error:
            self._stopped(error, data)
        else:
            if self._phase == DONE:
                if self._keep_alive and self._wire_bytes == len(data):
                    self._known = known_answer(data, self._read_bytes, self.status, self.headers)
                self._end(None)
            elif self._wire_bytes > WIRE_BYTES_MAX:
                self._truncate()
                self._end(None)

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._phase = CLOSED
        self.reusable = False
        self._parser = None  # the parser holds our methods: this breaks the cycle
        self._transport = None
        self._keeper.lost(self)

    def pause_writing(self) -> None:
        # "Sent" is when the target has taken the request: until then only the total limit counts.
        if self._phase == HEAD and self.first_byte_at == 0.0:
            self.deadline = self.total_deadline

    def resume_writing(self) -> None:
        if self._phase == HEAD and self.first_byte_at == 0.0:
            self.deadline = min(monotonic() + self._first_byte_seconds, self.total_deadline)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._phase == DONE:  # bytes after the answer, in the same read
            self._keep_alive = False
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != HEAD:  # a trailer: not kept
            return
        headers = cast(list[tuple[bytes, bytes]], self.headers)
        if len(headers) >= RESPONSE_HEADERS_MAX:
            self._stop(headers_too_large(f"{RESPONSE_HEADERS_MAX} headers", self._status()))
        headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status: int = self._parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status == 101 or status < 100 or self._interim > INTERIM_ANSWERS_MAX:
                self._stop(malformed_answer(f"status {status} is no answer to this request"))
            self.headers = []
            return
        self.status = status
        self._phase = BODY
        if self._head_only:  # the parser does not know that no body follows
            self._phase = DONE
            self._keep_alive = False
            raise _Stop

    def on_body(self, data: bytes) -> None:
        self._read_bytes += len(data)
        if self._read_bytes > RESPONSE_READ_BYTES_MAX:
            self.chunks.append(data[: len(data) - (self._read_bytes - RESPONSE_READ_BYTES_MAX)])
            self._truncate()
            raise _Stop
        self.chunks.append(data)

    def on_message_complete(self) -> None:
        if self._phase == BODY:  # not an interim answer
            self._phase = DONE
            parser = self._parser
            assert parser is not None
            self._keep_alive = parser.should_keep_alive() and parser.get_http_version() == "1.1"

    # How it ends.

    def _feed_head(self, parser: httptools.HttpResponseParser, data: bytes) -> bytes:
        """Feed what may still be the head; return the rest, if the head ended in it."""
        allowed = len(data) - (self._wire_bytes - RESPONSE_HEADER_BYTES_MAX)
        parser.feed_data(data[:allowed])
        if self._phase == HEAD:
            self._stop(headers_too_large(f"{RESPONSE_HEADER_BYTES_MAX // 1024} KiB", self._status()))
        return data[allowed:]

    def _stop(self, verdict: Broken) -> None:
        self._verdict = verdict
        raise _Stop

    def _truncate(self) -> None:
        self.truncated = True
        self._phase = DONE
        self._keep_alive = False

    def _stopped(self, error: Exception, data: bytes) -> None:
        """The parser gave up: at our word, at a bug of ours, or at what the target sent."""
        if self._phase == DONE:  # complete, and then something else
            self._keep_alive = False
            self._end(None)
            return
        if self._verdict is not None:
            self._end(self._verdict)
            return
        if isinstance(error, httptools.HttpParserCallbackError):
            self.fail(cast(Exception, error.__context__ or error))
            return
        status = self.status if self._phase == BODY else None
        if data.startswith(TLS_ALERT) and self._wire_bytes == len(data):
            self._end(malformed_answer("the target speaks TLS here: should the URL begin with https?"))
        else:
            self._end(malformed_answer(printable(str(error)) or "cannot be read", status))

    def _ended(self, exc: Exception | None) -> None:
        """No more bytes will come: the end of a body that only this delimits, or of hope."""
        self.reusable = False
        if self._waiter is not None:
            if exc is not None and (not isinstance(exc, OSError) or exc.errno in OURS):
                self.fail(exc)  # what is no OSError is a bug in a method above
            elif exc is None and self._phase == BODY and _ends_with_connection(self.headers):
                self._phase = DONE
                self._keep_alive = False
                self._end(None)
            else:
                self._end(self._closed_early(exc))
        if self._phase != CLOSED:
            self.abort()

    def _closed_early(self, exc: Exception | None) -> Broken:
        if isinstance(exc, ssl.SSLError) and self.first_byte_at == 0.0:
            # With TLS 1.3 a client certificate is judged after we are done with the handshake.
            return Broken(Fault.TLS_FAILED, f"TLS failed: {tls_text(exc)}", None, True)
        how = "the connection was closed" if exc is None else f"the connection broke ({errno_text(exc)})"
        if self.first_byte_at == 0.0:
            return Broken(Fault.CLOSED_EARLY, f"{how} before an answer", None, True)
        where = "in the middle of the answer's body" if self._phase == BODY else "in the middle of the answer's head"
        return Broken(Fault.CLOSED_EARLY, f"{how} {where}", self._status())

    def _end(self, broken: Broken | None) -> None:
        """Hand the outcome over. A broken connection closes; a complete one waits for its owner's decision."""
        waiter = self._waiter
        self._waiter = None
        self.deadline = self.total_deadline
        if broken is None and self._keep_alive and self._transport is not None:
            # An answer to a request that we have not finished sending: what follows would be read as its rest.
            self.reusable = self._transport.get_write_buffer_size() == 0
        if waiter is not None and not waiter.done():
            waiter.set_result(broken)
        if self.reusable:
            self._phase = IDLE
        else:
            self.abort()

    def _status(self) -> int | None:
        """The status, where its line has come."""
        if self._phase == BODY:
            return self.status
        if self._parser is None or self._wire_bytes < STATUS_BYTES_MIN:
            return None
        status: int = self._parser.get_status_code()
        return status if status >= 200 else None


def _ends_with_connection(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether only the end of the connection ends the body (RFC 9112, section 6.3, points 4 and 8)."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return not value.lower().endswith(b"chunked")
        if name == b"content-length":
            return False
    return True
