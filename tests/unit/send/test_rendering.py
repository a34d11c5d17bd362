"""Requests that may take long to be written: not while others wait, and a fault of our own costs nobody an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests import fakes
from tests.evaluating import ScriptedExpressions
from tests.fakes import an_event, virtual_time
from tests.unit.send.test_sender import Desk

from posthouse.domain.delivery import AttemptOutcome, Delivery, Fate
from posthouse.domain.endpoint import Batch, Endpoint, Secret
from posthouse.domain.errors import NotOwner, Overloaded
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.formats import Charset, Compression, FormFormat, XmlFormat
from posthouse.domain.ids import AppId
from posthouse.domain.limits import TAKEN_APART_AT_ONCE_BYTES_MAX, WHOLE_AT_ONCE_BYTES_MAX
from posthouse.domain.transformation import Transform
from posthouse.send.peer import Peer
from posthouse.wire.message import Unsendable
from posthouse.wire.payload_version import Pinning
from posthouse.wire.spoken import Order

APART, WHOLE = TAKEN_APART_AT_ONCE_BYTES_MAX, WHOLE_AT_ONCE_BYTES_MAX


def an_endpoint(**fields: Any) -> Endpoint:
    return fakes.an_endpoint(secrets=(Secret("v1", bytes(32)),), **fields)


FORM = an_endpoint(format=FormFormat())


class Elsewhere:
    """Writes what it is asked for, after `before`."""

    def __init__(self, before: Callable[[Order], object] = lambda order: None) -> None:
        self.asked: list[Order] = []
        self.pinned: list[tuple[Pinning, AppId]] = []
        self._before = before

    async def write(self, order: Order) -> Request:
        self.asked.append(order)
        await asyncio.sleep(0.5)
        self._before(order)
        return order.written()

    async def pin(self, pinning: Pinning, app_id: AppId) -> Event:
        self.pinned.append((pinning, app_id))
        return pinning.pinned()


def of_bytes(size: int) -> bytes:
    return b'{"a":"%b"}' % (b"x" * (size - 8))


def delivery(desk: Desk, seq: int, payload: bytes) -> Delivery:
    return desk.dispatched(seq=seq, event=an_event(seq, payload=payload))


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"format": FormFormat()}, APART),
        ({"format": XmlFormat(charset=Charset.GBK)}, APART),
        ({"pinned_schemas": {"order.created": "{}"}}, APART),
        ({"compress": Compression.GZIP}, WHOLE),
        ({}, None),
    ],
)
def test_what_is_larger_is_written_elsewhere_and_sent_as_if_it_were_not(
    fields: dict[str, Any], most: int | None
) -> None:
    @virtual_time
    async def test() -> None:
        writer = Elsewhere()
        desk = Desk(writer=writer)
        peer = Peer(an_endpoint(**fields))
        for seq, size in enumerate((100, most or 1_000_000, (most or 1_000_000) + 1), 1):
            told = await desk.sender.attempt(peer, [delivery(desk, seq, of_bytes(size))])
            assert list(told.fates) == [Fate.SETTLED]
        assert [order.events[0].seq for order in writer.asked] == ([] if most is None else [3])
        assert len(desk.transport.sent) == 3
        await desk.written()
        outcomes = [each.outcome for batch in desk.store.written for each in batch.attempts]
        assert outcomes == [AttemptOutcome.DELIVERED] * 3

    test()


@virtual_time
async def test_that_nobody_writes_it_is_no_attempt() -> None:
    def busy(_: Order) -> None:
        raise Overloaded("too much waits")

    desk = Desk(writer=Elsewhere(busy))
    peer = Peer(FORM)
    with pytest.raises(Overloaded):
        await desk.sender.attempt(peer, [delivery(desk, 1, of_bytes(APART + 1))])
    assert desk.transport.sent == []
    await desk.written()
    assert [batch.attempts for batch in desk.store.written if batch.attempts] == []
    assert peer.calm


@virtual_time
async def test_what_cannot_be_written_elsewhere_is_an_attempt_without_a_request() -> None:
    def refuses(_: Order) -> None:
        raise Unsendable("it takes longer than there is time")

    desk = Desk(writer=Elsewhere(refuses))
    await desk.sender.attempt(Peer(FORM), [delivery(desk, 1, of_bytes(APART + 1))])
    await desk.written()
    (attempt,) = [each for batch in desk.store.written for each in batch.attempts]
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.FAILED, "unsendable")
    assert attempt.error == "it takes longer than there is time"
    assert desk.transport.sent == []


@virtual_time
async def test_a_partition_that_is_lost_meanwhile_is_not_sent_for() -> None:
    desk = Desk(writer=Elsewhere(lambda _: desk.epochs.clear()))
    waits = delivery(desk, 1, of_bytes(APART + 1))
    attempt = asyncio.create_task(desk.sender.attempt(Peer(FORM), [waits]))
    await asyncio.sleep(0.1)
    assert desk.sender.asking == {waits.key}, "its successor may have it at once"
    with pytest.raises(NotOwner):
        await attempt
    assert desk.sender.asking == set()
    assert desk.transport.sent == []


@virtual_time
async def test_what_a_transformation_made_large_counts_as_it_is_now() -> None:
    writer = Elsewhere()
    expressions = ScriptedExpressions({"large": lambda _: {"a": "x" * APART}, "small": lambda _: {"a": 1}})
    desk = Desk(expressions=expressions, writer=writer)
    for seq, data, size in ((1, "large", 100), (2, "small", 100_000)):
        peer = Peer(an_endpoint(format=FormFormat(), transform=Transform(data=data)))
        await desk.sender.attempt(peer, [delivery(desk, seq, of_bytes(size))])
    assert [len(order.events[0].payload) for order in writer.asked] == [len('{"a":""}') + APART]
    assert len(desk.transport.sent) == 2


@virtual_time
async def test_what_a_version_knew_of_a_large_event_is_found_elsewhere_before_it_is_transformed() -> None:
    writer = Elsewhere()
    desk = Desk(expressions=ScriptedExpressions({"made": {"a": 1}}), writer=writer)
    schema = '{"properties":{"a":{"type":"string"}}}'
    peer = Peer(an_endpoint(transform=Transform(headers={"X-A": "made"}), pinned_schemas={"order.created": schema}))
    more = of_bytes(APART)[:-1] + b',"b":1}'
    for seq, payload in ((1, of_bytes(100)), (2, more), (3, b"{" + b" " * APART)):
        await desk.sender.attempt(peer, [delivery(desk, seq, payload)])
    assert [(pinning.event.seq, app) for pinning, app in writer.pinned] == [
        (seq, peer.endpoint.app_id) for seq in (2, 3)
    ]
    assert [b'"b"' in sent.request.body for sent in desk.transport.sent] == [False, False]
    await desk.written()
    reasons = [each.reason for batch in desk.store.written for each in batch.attempts]
    assert reasons == ["confirmed", "confirmed", "transform_failed"], "the last one is no JSON"


def batching(**fields: Any) -> Endpoint:
    return an_endpoint(format=XmlFormat(), batch=Batch(1_000, 1_000_000, 0), **fields)


@virtual_time
async def test_a_batch_is_written_elsewhere_and_what_is_wrong_of_it_is_found_there() -> None:
    writer = Elsewhere()
    desk = Desk(writer=writer)
    load = [delivery(desk, seq, of_bytes(APART // 2)) for seq in (1, 2)]
    load.append(delivery(desk, 3, b"{"))
    told = await desk.sender.attempt(Peer(batching()), load)
    assert list(told.fates) == [Fate.AGAIN, Fate.AGAIN, Fate.OWED]
    assert [len(order.events) for order in writer.asked] == [3], "those that are small are tried at once, one by one"


@virtual_time
async def test_a_batch_that_grew_is_not_measured_but_made_smaller() -> None:
    expressions = ScriptedExpressions({"large": lambda _: {"a": "x" * (APART - 100)}})
    writer = Elsewhere()
    desk = Desk(expressions=expressions, writer=writer)
    peer = Peer(batching(transform=Transform(data="large")))
    load = [delivery(desk, seq, of_bytes(100)) for seq in range(1, 11)]
    told = await desk.sender.attempt(peer, load)
    assert list(told.fates) == [Fate.AGAIN] * 10
    assert peer.growth > 100
    assert writer.asked == []
    assert desk.transport.sent == []
