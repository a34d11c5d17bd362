"""Attempts at endpoints that transform events, or send each to a URL of its own: what is sent, and what is on record."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.evaluating import ScriptedExpressions
from tests.fakes import an_endpoint, an_event, virtual_time
from tests.unit.send.test_sender import Desk

from posthouse.domain.delivery import AttemptOutcome, Delivery, DeliveryClass, Fate
from posthouse.domain.endpoint import Batch, Endpoint, Secret
from posthouse.domain.errors import PosthouseError
from posthouse.domain.expression import Facts, Failed, FailedBecause
from posthouse.domain.transformation import DynamicUrl, Transform
from posthouse.send.peer import Peer

AGAIN, SETTLED = Fate.AGAIN, Fate.SETTLED
AMONG = {"a": "https://a.example.com/x", "b": "https://b.example.com/y?z=1"}
EXPRESSIONS = {"made": lambda facts: {"was": data(facts)["n"]}, "shop": "s-1", "where": lambda facts: data(facts)["to"]}


def data(facts: Facts) -> Any:
    return msgspec.json.decode(facts.event.payload)


def delivery(desk: Desk, seq: int = 1, payload: Any = None, **fields: Any) -> Delivery:
    event = an_event(seq, payload=json.dumps({"n": seq} if payload is None else payload).encode())
    desk.progress.opened(event, 1)
    made: dict[str, Any] = {"number": 1, "kind": DeliveryClass.LIVE, "offered_at": 0.0, "fresh": True, "row": False}
    return Delivery(event=event, epoch=1, endpoint_id=an_endpoint().id, **made | fields)


def desk(**expressions: Any) -> Desk:
    return Desk(expressions=ScriptedExpressions(EXPRESSIONS | expressions))


async def on_record(desk: Desk) -> list[tuple[int, AttemptOutcome, str, str, bool, str | None]]:
    await desk.written()
    return [
        (each.seq, each.outcome, each.reason, each.url, each.sent, each.error)
        for batch in desk.store.written
        for each in batch.attempts
    ]


@virtual_time
async def test_what_was_made_of_the_event_is_sent() -> None:
    world = desk()
    transform = Transform(data="made", headers={"X-Shop": "shop"}, query={"shop": "shop"})
    told = await world.sender.attempt(Peer(speaking(transform=transform)), [delivery(world)])
    (sent,) = world.transport.sent
    assert json.loads(sent.request.body)["data"] == {"was": 1}
    assert sent.headers["x-shop"] == "s-1"
    assert sent.request.head.startswith(b"POST /1?shop=s-1 HTTP/1.1\r\n")
    assert list(told.fates) == [SETTLED]
    assert await on_record(world) == [(1, AttemptOutcome.DELIVERED, "confirmed", "https://example.com/1", True, None)]


@virtual_time
async def test_all_expressions_of_an_event_are_evaluated_together() -> None:
    expressions = ScriptedExpressions(EXPRESSIONS, waits=True)
    world = Desk(expressions=expressions)
    endpoint = speaking(
        transform=Transform(data="made", headers={"X-Shop": "shop"}),
        dynamic_url=DynamicUrl(choose="where", among=AMONG),
    )
    await world.sender.attempt(Peer(endpoint), [delivery(world, payload={"n": 1, "to": "b"})])
    assert [sorted(call) for call in expressions.calls] == [["made", "shop", "where"]]
    (sent,) = world.transport.sent
    assert sent.request.target.host == "b.example.com"
    assert sent.headers["host"] == "b.example.com"
    assert sent.request.head.startswith(b"POST /y?z=1 HTTP/1.1\r\n")
    ((_, _, _, url, _, _),) = await on_record(world)
    assert url == AMONG["b"]


@virtual_time
async def test_expressions_see_the_version_that_the_endpoint_pins_and_what_they_make_stays() -> None:
    world = desk(seen=lambda facts: {"fields": sorted(data(facts)), "new": True})
    schema = json.dumps({"properties": {"n": {}}})
    endpoint = speaking(transform=Transform(data="seen"), pinned_schemas={an_event(1).type: schema})
    await world.sender.attempt(Peer(endpoint), [delivery(world, payload={"n": 1, "later": 2})])
    (sent,) = world.transport.sent
    assert json.loads(sent.request.body)["data"] == {"fields": ["n"], "new": True}


@virtual_time
async def test_a_plain_endpoint_evaluates_nothing() -> None:
    expressions = ScriptedExpressions({})
    world = Desk(expressions=expressions)
    await world.sender.attempt(Peer(speaking()), [delivery(world)])
    assert (len(world.transport.sent), expressions.calls) == (1, [])


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"transform": Transform(data="broken")}, "transform_failed", "transform.data: no such field"),
        (
            {"transform": Transform(data="made", schema={"required": ["id"]})},
            "transform_failed",
            'transform.schema: data: "id" is a required property',
        ),
        (
            {"dynamic_url": DynamicUrl(choose="shop", among=AMONG)},
            "no_url",
            "dynamic_url.choose: it came to a name that is not among the declared ones",
        ),
        (
            {"dynamic_url": DynamicUrl(template="https://example.com/{event.subject}")},
            "no_url",
            "there is no URL for this event: {event.subject}: the event has none",
        ),
    ],
)
def test_what_cannot_be_made_is_given_up_and_nothing_is_sent(fields: dict[str, Any], reason: str, words: str) -> None:
    @virtual_time
    async def run() -> None:
        world = desk(broken=lambda facts: data(facts)["none"])
        told = await world.sender.attempt(Peer(speaking(**fields)), [delivery(world)])
        assert list(told.fates) == [SETTLED]
        assert told.seconds is None
        assert world.transport.sent == []
        assert await on_record(world) == [(1, AttemptOutcome.GAVE_UP, reason, "https://example.com/1", False, words)]
        (batch,) = world.store.written
        assert batch.owed == ()
        assert batch.health == ()
        assert world.telemetry.attempts == [("gave_up", reason, "live")]

    run()


@virtual_time
async def test_what_cannot_be_evaluated_for_now_is_our_fault() -> None:
    world = desk(made=Failed(FailedBecause.UNAVAILABLE, "it rests"))
    peer = Peer(speaking(transform=Transform(data="made")))
    with pytest.raises(PosthouseError, match="it rests"):
        await world.sender.attempt(peer, [delivery(world)])
    assert world.transport.sent == []
    assert await on_record(world) == []
    assert peer.routes[0].circuit.closed


def speaking(**fields: Any) -> Endpoint:
    return an_endpoint(secrets=(Secret("v1", b"k" * 32),), **fields)


def batching(**fields: Any) -> Endpoint:
    return speaking(**{"batch": Batch(10, 2_000, 0), "transform": Transform(data="made")} | fields)


@virtual_time
async def test_a_batch_goes_without_what_cannot_be_made() -> None:
    world = desk()
    peer = Peer(batching())
    load = [delivery(world, 1), delivery(world, 2, {"other": 2}), delivery(world, 3)]
    told = await world.sender.attempt(peer, load)
    assert list(told.fates) == [AGAIN, SETTLED, AGAIN]
    assert world.transport.sent == []
    told = await world.sender.attempt(peer, [load[0], load[2]])
    assert list(told.fates) == [SETTLED, SETTLED]
    (sent,) = world.transport.sent
    assert [part["data"] for part in json.loads(sent.request.body)] == [{"was": 1}, {"was": 3}]
    assert [(seq, reason) for seq, _, reason, _, _, _ in await on_record(world)] == [
        (2, "transform_failed"),
        (1, "confirmed"),
        (3, "confirmed"),
    ]


@virtual_time
async def test_batches_become_as_small_as_they_should_be() -> None:
    world = desk(made=lambda facts: "x" * 400)
    peer = Peer(batching())
    waiting = [delivery(world, seq) for seq in range(1, 11)]
    rounds = 0
    while waiting:
        rounds += 1
        assert rounds < 20, "it ends"
        size, load = peer.frame_bytes(), list[Delivery]()
        for each in waiting:
            size += peer.added_bytes(each.event)
            if load and size > 2_000:
                break
            load.append(each)
        told = await world.sender.attempt(peer, load)
        waiting = [each for each, fate in zip(load, told.fates, strict=True) if fate is AGAIN] + waiting[len(load) :]
    assert [len(sent.event_ids) for sent in world.transport.sent] == [3, 3, 3, 1]
    assert all(len(sent.request.body) <= 2_000 for sent in world.transport.sent)
    assert rounds == 5, "only the first was too large"


@virtual_time
async def test_what_is_sent_is_as_the_endpoint_is_configured_by_then() -> None:
    peer = Peer(speaking(transform=Transform(data="made")))
    changed = speaking(revision=2, transform=Transform(data="shop"))
    world = Desk(expressions=ScriptedExpressions(EXPRESSIONS, waits=True, meanwhile=lambda: peer.configure(changed)))
    await world.sender.attempt(peer, [delivery(world)])
    (sent,) = world.transport.sent
    assert json.loads(sent.request.body)["data"] == "s-1"


@virtual_time
async def test_an_endpoint_may_transform_no_more_by_then() -> None:
    peer = Peer(speaking(transform=Transform(data="made")))
    plain = speaking(revision=2)
    world = Desk(expressions=ScriptedExpressions(EXPRESSIONS, waits=True, meanwhile=lambda: peer.configure(plain)))
    await world.sender.attempt(peer, [delivery(world)])
    (sent,) = world.transport.sent
    assert json.loads(sent.request.body)["data"] == {"n": 1}


def test_what_cannot_be_compiled_any_more_is_not_spoken_to() -> None:
    peer = Peer(speaking(transform=Transform(data="made", schema={"type": "nothing"})))
    assert not peer.usable
    peer.configure(speaking(revision=2, transform=Transform(data="made")))
    assert peer.usable
