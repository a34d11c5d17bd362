"""The bytes of HTTP/1.1 (RFC 9112), as far as a client of one API needs them. Pure.

One reader for threads and event loops. Everything it reads has a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

HEAD_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
CHUNK_LINE_BYTES_MAX: Final = 1_024


class MalformedAnswer(Exception):
    """What came back is not HTTP/1.1, or over a bound."""


class Answer(NamedTuple):
    """A whole answer; names of headers are in lower case. `reusable`: the connection may carry another request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reusable: bool


def request_bytes(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request. Raises ValueError for a header that would break its framing."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"the header {name} holds a line break")
        lines.append(f"{name}: {value}")
    lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class AnswerReader:
    """Takes bytes as they come (`feed`) until `answer` is there. Interim answers (1xx) are passed over.

    Raises: MalformedAnswer.
    """

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self._pending = bytearray()
        self._head: tuple[int, dict[str, str], bool] | None = None
        self._left: int | None = None  # bytes of the body that are to come; None: until the connection ends
        self._chunked = False
        self._in_chunk = 0
        self._trailers = False
        self._body = bytearray()

    @property
    def begun(self) -> bool:
        """Whether anything of an answer came."""
        return self._head is not None or bool(self._pending)

    def feed(self, data: bytes) -> None:
        self._pending += data
        while self._head is None:
            if not self._read_head():
                return
        if self._chunked:
            self._read_chunks()
        else:
            self._read_body()

    def end(self) -> None:
        """The connection ended. Raises MalformedAnswer where the answer was not complete."""
        if self.answer is not None:
            return
        if self._head is None or self._chunked or self._left is not None:
            raise MalformedAnswer("the connection ended within the answer")
        self._done(reusable=False)

    def _read_head(self) -> bool:
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            if len(self._pending) > HEAD_BYTES_MAX:
                raise MalformedAnswer(f"the head of the answer has over {HEAD_BYTES_MAX} bytes")
            return False
        status_line, *lines = bytes(self._pending[:end]).decode("latin-1").split("\r\n")
        del self._pending[: end + 4]
        version, _, rest = status_line.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise MalformedAnswer(f"this is no answer of an HTTP server: {status_line[:80]!r}")
        status = int(code)
        if 100 <= status < 200:
            return True
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise MalformedAnswer(f"this is no header: {line[:80]!r}")
            headers[name.lower()] = value.strip()
        connection = headers.get("connection", "").lower()
        keep = "close" not in connection and (version != "HTTP/1.0" or "keep-alive" in connection)
        self._head = (status, headers, keep)
        self._frame(status, headers)
        return True

    def _frame(self, status: int, headers: Mapping[str, str]) -> None:
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if status in (204, 304):
            self._left = 0
        elif coding:
            if coding != "chunked":
                raise MalformedAnswer(f"the answer's transfer coding is not known: {coding[:80]!r}")
            self._chunked = True
        elif length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > 12:
                raise MalformedAnswer(f"the answer's length is none: {length[:80]!r}")
            self._left = int(length)
            if self._left > BODY_BYTES_MAX:
                raise MalformedAnswer(f"the answer has {self._left} bytes; at most {BODY_BYTES_MAX} are read")

    def _read_body(self) -> None:
        if self._left is None:
            self._take(len(self._pending))
            return
        self._left -= self._take(min(self._left, len(self._pending)))
        if self._left == 0:
            self._done(reusable=not self._pending)

    def _read_chunks(self) -> None:
        while self.answer is None:
            if self._in_chunk:
                took = self._take(min(self._in_chunk, len(self._pending)))
                self._in_chunk -= took
                if not took:
                    return
                continue
            end = self._pending.find(b"\r\n")
            if end < 0:
                if len(self._pending) > CHUNK_LINE_BYTES_MAX:
                    raise MalformedAnswer("a line between the chunks of the answer is too long")
                return
            line = bytes(self._pending[:end])
            del self._pending[: end + 2]
            if self._trailers:
                if not line:
                    self._done(reusable=not self._pending)
            elif line:  # else the line break after a chunk
                size = line.partition(b";")[0].strip()
                if not size or len(size) > 8 or any(digit not in b"0123456789abcdefABCDEF" for digit in size):
                    raise MalformedAnswer(f"this is no size of a chunk: {line[:80]!r}")
                self._in_chunk = int(size, 16)
                self._trailers = self._in_chunk == 0

    def _take(self, count: int) -> int:
        if len(self._body) + count > BODY_BYTES_MAX:
            raise MalformedAnswer(f"the answer has over {BODY_BYTES_MAX} bytes")
        self._body += self._pending[:count]
        del self._pending[:count]
        return count

    def _done(self, *, reusable: bool) -> None:
        assert self._head is not None
        status, headers, keep = self._head
        self.answer = Answer(status, headers, bytes(self._body), keep and reusable)
