"""One request and what came of it: the words that `wire`, `send` and the transport share."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.egress import Egress
from posthouse.domain.endpoint import Timeouts


class Target(msgspec.Struct, frozen=True, gc=False):
    """Where a request goes, taken apart once per endpoint revision.

    `host` is lower-case A-labels or an address without brackets; `authority` is what the Host header says.
    """

    scheme: str  # "http" | "https"
    host: str
    port: int
    path: str  # with the query; starts with "/"
    authority: str


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as bytes. `head` is everything from the request line through the blank line. `egress` is how its connection is
    to be made, None where that is as for all others."""

    target: Target
    head: bytes
    body: bytes
    timeouts: Timeouts
    egress: Egress | None = None


class Timings(msgspec.Struct, frozen=True, gc=False):
    """Microseconds of each phase; None for a phase that did not take place (a reused connection has no connect)."""

    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    total_us: int = 0


NO_TIMINGS: Final = Timings()


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A complete answer (or as much of its body as we read: `truncated`)."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]  # in order, names lower-case
    body: bytes
    timings: Timings
    address: str = ""  # the pinned address
    truncated: bool = False
    sealed: bool = False  # it had to be encrypted, and does not open

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Fault(StrEnum):
    """Why no complete answer came. Every one is the target's side; our own faults are exceptions."""

    DNS_FAILED = "dns_failed"
    DNS_TIMEOUT = "dns_timeout"
    ADDRESS_REFUSED = "address_refused"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_FAILED = "tls_failed"
    TLS_TIMEOUT = "tls_timeout"
    TLS_PIN_MISMATCH = "tls_pin_mismatch"
    PROXY_FAILED = "proxy_failed"
    PROXY_TIMEOUT = "proxy_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CLOSED_EARLY = "closed_early"
    MALFORMED_RESPONSE = "malformed_response"
    HEADERS_TOO_LARGE = "headers_too_large"
    OAUTH2_TOKEN_FAILED = "oauth2_token_failed"  # noqa: S105
    OAUTH2_TOKEN_TIMEOUT = "oauth2_token_timeout"  # noqa: S105
    UNSENDABLE = "unsendable"  # it cannot be made into a request for this endpoint: nothing was asked of the target


class Failure(msgspec.Struct, frozen=True, gc=False):
    """No complete answer. `detail` is for a person to read: short, without secrets, without NUL. `stale`: the connection had
    been kept from before, and ended without a byte of an answer. As likely as not the target never read the request."""

    fault: Fault
    detail: str
    timings: Timings
    address: str = ""
    status: int | None = None  # where the status line had come before the fault
    stale: bool = False


Result = Answer | Failure
