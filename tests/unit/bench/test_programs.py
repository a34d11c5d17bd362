"""The programs beside the server: what ill targets do, which measurements are made, and what the kernel tells of memory."""

from __future__ import annotations

import argparse
import asyncio
import os

import pytest
from bench import processes
from bench.__main__ import EXTRA, MEASURES, default, names
from bench.programs.ailing import DRIP, FAIL, HANG, AilingProtocol, Seen


class Wire(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)


def asked(seen: Seen, path: str, *, body: bytes = b"{}") -> tuple[AilingProtocol, Wire]:
    """A connection on which a request came, in two pieces."""
    wire, protocol = Wire(), AilingProtocol(seen)
    protocol.connection_made(wire)
    request = b"POST /%b HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    protocol.data_received(request[:-1])
    assert wire.written == b""
    protocol.data_received(request[-1:])
    return protocol, wire


async def test_one_that_fails_answers_at_once_and_keeps_the_connection() -> None:
    seen = Seen()
    protocol, wire = asked(seen, FAIL, body=b"x" * 100_000)
    assert wire.written.startswith(b"HTTP/1.1 500")
    protocol.data_received(b"POST /fail HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
    assert seen.requests == {FAIL: 2}
    assert seen.open == 0


async def test_one_that_hangs_or_drips_is_open_until_the_sender_goes() -> None:
    seen = Seen()
    hanging, silent = asked(seen, HANG)
    dripping, slow = asked(seen, DRIP)
    assert silent.written == b""
    assert slow.written == b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx"
    assert seen.open == 2
    hanging.connection_lost(None)
    dripping.connection_lost(None)
    assert (seen.open, seen.open_max) == (0, 2)


def test_without_names_all_is_measured_but_what_takes_too_long() -> None:
    assert default(quick=True) == list(MEASURES)
    assert set(default(quick=False)) == set(MEASURES) - set(EXTRA)
    assert "isolation" in default(quick=False)
    assert names("isolation,backlog") == ["isolation", "backlog"]
    with pytest.raises(argparse.ArgumentTypeError, match="isolatoin"):
        names("isolatoin")


def test_the_peak_of_a_process_is_no_less_than_what_it_holds() -> None:
    assert processes.peak_rss_mb(os.getpid()) >= 0.9 * processes.rss_mb(os.getpid()) > 1
