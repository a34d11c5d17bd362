"""The journey floor does the whole journey, and what it sends is signed: else it would be no measure of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bench.programs.journey import ATTEMPTS, EVENTS, SECRET, Aim, _Door, _Floor, _Sender
from bench.server import read_metrics

from posthouse_sdk.signatures import HmacKey

BODY = b'{"type":"bench.event","data":{"n":1}}'


class Table:
    """A connection whose statements keep what they were given, and commit when they may."""

    def __init__(self) -> None:
        self.rows: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
        self.committing = asyncio.Event()

    async def prepare(self, query: str) -> Any:
        self.query = query
        return self

    async def fetch(self, *columns: Any) -> None:
        self.rows.put_nowait((self.query, columns))
        await self.committing.wait()


class Wire(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.wrote = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        self.wrote.set()


async def test_it_answers_after_the_commit_signs_and_records() -> None:
    events, attempts = Table(), Table()
    floor = _Floor(cast(Any, events), cast(Any, attempts))
    floor.aim, floor.token = Aim(0, "key"), b"Bearer key"
    publisher, target = Wire(), Wire()
    door, sender = _Door(floor), _Sender(floor)
    floor.senders = 1
    sender.connection_made(target)
    door.connection_made(publisher)

    request = b"POST /v1 HTTP/1.1\r\nAuthorization: Bearer key\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    door.data_received(request[:-9])
    door.data_received(request[-9:])
    query, (ids, types, bodies) = await events.rows.get()
    assert (query, types, bodies) == (EVENTS, ["bench.event"], [BODY])
    assert publisher.written == target.written == b""
    events.committing.set()
    await target.wrote.wait()
    name = b"evt_" + ids[0].hex().encode()
    head, _, answer = publisher.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 202")
    assert answer == b'{"id":"%b"}' % name
    assert b"Content-Length: %d" % len(answer) in head

    head, _, body = target.written.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    signed = b"%b.%b." % (fields[b"webhook-id"], fields[b"webhook-timestamp"])
    assert (body, fields[b"webhook-id"]) == (BODY, name)
    assert HmacKey(SECRET).verifies(signed, body, [fields[b"webhook-signature"]])

    sender.data_received(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    query, (of, status, *_) = await attempts.rows.get()
    assert (query, of, status) == (ATTEMPTS, ids, [202])
    assert floor.idle == [sender]
    for task in floor.tasks:
        task.cancel()
    await asyncio.gather(*floor.tasks, return_exceptions=True)


def test_it_refuses_who_has_no_token() -> None:
    door = object.__new__(_Door)
    door.floor = object.__new__(_Floor)
    door.floor.token = b"Bearer key"
    door.on_header(b"Authorization", b"Bearer other")
    assert not door.allowed
    door.on_header(b"authorization", b"Bearer key")
    assert door.allowed


def test_what_a_server_tells_of_itself_is_read_by_series() -> None:
    told = read_metrics('# HELP a what\na_total 3.0\na_bucket{le="+Inf"} 1e+02\n')
    assert told == {"a_total": 3.0, 'a_bucket{le="+Inf"}': 100.0}
