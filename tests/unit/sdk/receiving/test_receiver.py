"""The dispatcher: the right handler, once, and an answer that makes the sender do the right thing."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import threading
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from posthouse_sdk import ReceiverError, SecretError, event_type
from posthouse_sdk.receiving import (
    Answer,
    Claim,
    MemoryReplayStore,
    ReceivedEvent,
    Receiver,
    RetryLater,
    ignore,
    refuse,
)
from posthouse_sdk.testing import SECRET, SignedRequest, again, signed_batch, signed_request

Event = ReceivedEvent[Any]


class Seen(list[str]):
    """Handlers that note which was called with what."""

    def by(self, name: str) -> Any:
        def handler(event: Event) -> None:
            self.append(f"{name}:{event.type}")

        return handler


class Broken:
    """A store whose calls fail that are named."""

    def __init__(self, *calls: str) -> None:
        self.calls = calls
        self.store = MemoryReplayStore()

    def _do(self, call: str, *arguments: str) -> Any:
        if call in self.calls:
            raise ConnectionError("no store")
        return getattr(self.store, call)(*arguments)

    def claim(self, key: str, token: str) -> Claim:
        claim: Claim = self._do("claim", key, token)
        return claim

    def confirm(self, key: str, token: str) -> None:
        self._do("confirm", key, token)

    def release(self, key: str, token: str) -> None:
        self._do("release", key, token)

    def forget(self, key: str) -> None:
        self._do("forget", key)


class AsyncStore:
    """A store that can be awaited only."""

    def __init__(self) -> None:
        self.store = MemoryReplayStore()

    async def claim(self, key: str, token: str) -> Claim:
        return self.store.claim(key, token)

    async def confirm(self, key: str, token: str) -> None:
        self.store.confirm(key, token)

    async def release(self, key: str, token: str) -> None:
        self.store.release(key, token)

    async def forget(self, key: str) -> None:
        self.store.forget(key)


def handled(receiver: Receiver, request: SignedRequest) -> Answer:
    return receiver.handle(request.body, request.headers)


def results(answer: Answer) -> dict[str, Any]:
    assert (answer.status, dict(answer.headers)["Content-Type"]) == (200, "application/json")
    return {each["id"]: each for each in json.loads(answer.body)["results"]}


# Which handler


@pytest.mark.parametrize(
    ("type", "name"),
    [
        ("order.created", "created"),
        ("order.cancelled", "order"),
        ("order.item.added", "item"),
        ("order.item", "order"),
        ("order.item.size.changed", "item"),
        ("order", "fallback"),
        ("orders.created", "fallback"),
        ("user.created", "both"),
        ("shop.opened", "both"),
        ("", "fallback"),
        (".", "fallback"),
        ("order.", "order"),
    ],
)
def test_the_most_precise_pattern_takes_an_event(type: str, name: str) -> None:
    seen = Seen()
    receiver = Receiver(SECRET, fallback=seen.by("fallback"))
    receiver.on("order.*")(seen.by("order"))
    receiver.on("order.created")(seen.by("created"))
    receiver.on("order.item.*")(seen.by("item"))
    receiver.on("user.created", "shop.*")(seen.by("both"))
    assert handled(receiver, signed_request(type)).status == 200
    assert seen == [f"{name}:{type}"]


def test_a_body_without_a_type_goes_to_the_fallback() -> None:
    seen = Seen()
    assert handled(Receiver(SECRET, fallback=seen.by("fallback")), signed_request(data=b"\0", format="raw")).ok
    assert seen == ["fallback:None"]


@dataclass
class OrderData:
    order: int
    note: str = ""


class OrderStruct(msgspec.Struct):
    order: int


class OrderModel(pydantic.BaseModel):
    order: int


@event_type("tests.receiver.declared")
@dataclass
class Declared:
    order: int


@pytest.mark.parametrize("cls", [OrderData, OrderStruct, OrderModel])
def test_the_data_come_as_the_class_that_is_asked_for(cls: type) -> None:
    receiver, got = Receiver(SECRET, fallback=refuse), []
    receiver.on("order.*", data=cls)(lambda event: got.append(event.data))
    assert handled(receiver, signed_request("order.created", {"order": 7, "added_since": True})).status == 200
    assert [(type(data), data.order) for data in got] == [(cls, 7)]


def test_an_event_type_class_says_its_type_itself() -> None:
    receiver, got = Receiver(SECRET, fallback=refuse), []
    receiver.on(Declared)(lambda event: got.append(event.data))
    handled(receiver, signed_request("tests.receiver.declared", {"order": 7}))
    assert got == [Declared(7)]


@pytest.mark.parametrize("cls", [OrderData, OrderStruct, OrderModel])
def test_data_that_do_not_fit_are_not_confirmed(cls: type) -> None:
    store = MemoryReplayStore()
    receiver = Receiver(SECRET, store=store, fallback=refuse)
    receiver.on("order.created", data=cls)(lambda event: None)
    wrong: list[Any] = [{"nothing": 1}, [], None]
    for data in wrong:
        answer = handled(receiver, signed_request("order.created", data))
        assert (answer.status, answer.reason) == (422, "the data are not what order.created is here")
    assert len(store) == 0


# Refuses to be built wrongly


def test_without_a_fallback_it_does_nothing() -> None:
    receiver = Receiver(SECRET)
    request = signed_request()
    for call in (receiver.check, functools.partial(receiver.handle, request.body, request.headers)):
        with pytest.raises(ReceiverError, match=r"no fallback: what shall become .* @receiver.fallback"):
            call()
    with pytest.raises(ReceiverError, match="no fallback"):
        asyncio.run(receiver.ahandle(request.body, request.headers))


@pytest.mark.parametrize("pattern", ["", "*", "order*", "*.created", "order.*.x", "order..*", ".*", "order.", " order"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ReceiverError, match="is no type and no pattern"):
        Receiver(SECRET).on(pattern)(ignore)


def test_what_cannot_be_registered() -> None:
    receiver = Receiver(SECRET, fallback=ignore)
    receiver.on("a.b", "a.*")(ignore)
    with pytest.raises(ReceiverError, match=r"a\.\* has a handler already: .*ignore"):
        receiver.on("a.*")(ignore)
    with pytest.raises(ReceiverError, match="a fallback already"):
        receiver.fallback(refuse)
    with pytest.raises(ReceiverError, match="takes types"):
        receiver.on()
    with pytest.raises(ReceiverError, match="must take one argument"):
        receiver.on("c.d")(lambda: None)  # type: ignore[type-var]
    with pytest.raises(ReceiverError, match="declared as no event type"):
        receiver.on(OrderData)
    with pytest.raises(ReceiverError, match="no pydantic model, msgspec Struct or dataclass"):
        receiver.on("c.d", data=int)


def test_what_a_gate_cannot_be() -> None:
    with pytest.raises(SecretError):
        Receiver([])
    with pytest.raises(ReceiverError, match="duplicate_status is 500"):
        Receiver(SECRET, duplicate_status=500)
    with pytest.raises(ReceiverError, match="a scope is"):
        Receiver(SECRET, scope="a b")
    with pytest.raises(ReceiverError, match="claim_seconds is 10 and keep_seconds 5"):
        MemoryReplayStore(claim_seconds=10, keep_seconds=5)


def test_an_asynchronous_store_needs_an_event_loop() -> None:
    receiver = Receiver(SECRET, store=AsyncStore(), fallback=ignore)
    with pytest.raises(ReceiverError, match="AsyncStore is asynchronous and this program is not"):
        handled(receiver, signed_request())


# Once


def test_an_event_is_handled_once_and_confirmed_again() -> None:
    seen = Seen()
    receiver = Receiver(SECRET, store=MemoryReplayStore(), fallback=seen.by("it"))
    request = signed_request("a.b")
    assert handled(receiver, request) == Answer(200)
    for repeated in (request, again(request)):
        answer = handled(receiver, repeated)
        assert (answer.status, answer.reason) == (200, "this event was handled before")
    assert seen == ["it:a.b"]


def test_a_duplicate_may_be_refused_by_choice() -> None:
    receiver = Receiver(SECRET, store=MemoryReplayStore(), duplicate_status=409, fallback=ignore)
    request = signed_request()
    assert [handled(receiver, request).status for _ in range(2)] == [200, 409]


def test_after_a_failure_it_is_accepted_again() -> None:
    receiver, tries = Receiver(SECRET, store=MemoryReplayStore()), []

    @receiver.fallback
    def handler(event: Event) -> None:
        tries.append(event.id)
        if len(tries) < 3:
            raise ValueError("a secret detail")

    request = signed_request()
    answers = [handled(receiver, request) for _ in range(4)]
    assert [answer.status for answer in answers] == [500, 500, 200, 200]
    assert answers[0].reason == "the handler failed", "nothing of the inside is told to the outside"
    assert len(tries) == 3


def test_a_handler_may_put_an_event_off() -> None:
    receiver = Receiver(SECRET, store=MemoryReplayStore())

    @receiver.fallback
    def handler(event: Event) -> None:
        raise RetryLater(90.2, "the warehouse is closed")

    answer = handled(receiver, signed_request())
    assert (answer.status, answer.reason, dict(answer.headers)["Retry-After"]) == (503, "the warehouse is closed", "91")


def test_what_another_worker_is_at_comes_later() -> None:
    receiver = Receiver(SECRET, store=MemoryReplayStore())
    busy, finish = threading.Event(), threading.Event()

    @receiver.fallback
    def handler(event: Event) -> None:
        busy.set()
        assert finish.wait(10)

    request, first = signed_request(), []
    worker = threading.Thread(target=lambda: first.append(handled(receiver, request).status))
    worker.start()
    assert busy.wait(10)
    second = handled(receiver, request)
    finish.set()
    worker.join()
    assert (second.status, dict(second.headers)["Retry-After"]) == (409, "10")
    assert (first, handled(receiver, request).status) == ([200], 200)


def test_endpoints_that_share_a_store_are_kept_apart_by_their_scopes() -> None:
    store, seen = MemoryReplayStore(), Seen()
    first = Receiver(SECRET, store=store, scope="billing", fallback=seen.by("billing"))
    second = Receiver(SECRET, store=store, scope="shipping", fallback=seen.by("shipping"))
    request = signed_request("a.b")
    for receiver in (first, second, first, second):
        assert handled(receiver, request).ok
    assert seen == ["billing:a.b", "shipping:a.b"]


def test_the_claim_is_with_the_event() -> None:
    claims = []
    receiver = Receiver(
        SECRET, store=MemoryReplayStore(), new_token=lambda: "tok", fallback=lambda event: claims.append(event.claim)
    )
    request = signed_request()
    handled(receiver, request)
    assert [(claim.key, claim.token) for claim in claims if claim] == [(request.id, "tok")]


@pytest.mark.parametrize("failing", ["claim", "confirm", "release"])
def test_a_store_that_fails_costs_no_event(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    receiver = Receiver(SECRET, store=Broken(failing), fallback=refuse)
    receiver.on("a.b")(seen.by("a"))
    answers = [handled(receiver, signed_request(type)).status for type in ("a.b", "c.d")]
    assert answers == ([503, 503] if failing == "claim" else [200, 503])
    assert seen == ([] if failing == "claim" else ["a:a.b"])
    assert f"the replay store failed to {failing}" in caplog.text


def test_a_store_that_says_nonsense_is_named() -> None:
    store: Any = MemoryReplayStore()
    store.claim = lambda key, token: True
    with pytest.raises(TypeError, match=r"MemoryReplayStore\.claim returned True"):
        handled(Receiver(SECRET, store=store, fallback=ignore), signed_request())


def test_the_memory_of_a_store_is_bounded() -> None:
    store = MemoryReplayStore(entries_max=10)
    receiver = Receiver(SECRET, store=store, fallback=ignore)
    requests = [signed_request() for _ in range(30)]
    assert {handled(receiver, request).reason for request in requests} == {""}
    assert len(store) == 10
    assert handled(receiver, requests[-1]).reason == "this event was handled before"
    for number in range(10):
        store.claim(f"evt_{number}", "mine")
    assert handled(receiver, signed_request()).status == 503, "every claim is in use"


# What is not let in


@pytest.mark.parametrize(
    ("flaw", "status", "words"),
    [
        ("tampered", 401, "no signature was made"),
        ("stale", 401, "at most 300 s"),
        ("future", 401, "Is the clock right?"),
        ("wrong_secret", 401, "not this endpoint's"),
        ("unsigned", 400, "webhook-signature is missing"),
        ("missing_header", 400, "webhook-id is missing"),
        ("malformed_header", 400, "webhook-timestamp is not a whole number"),
        ("reserialised", 500, "pass the raw bytes"),
    ],
)
def test_each_flaw_has_its_status_and_its_reason(
    flaw: Any, status: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    receiver = Receiver(SECRET, store=MemoryReplayStore(), fallback=seen.by("it"))
    answer = handled(receiver, signed_request(data={"x": 1}, flaw=flaw))
    assert answer.status == status
    assert words in answer.reason
    assert not answer.ok
    assert seen == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR if status == 500 else logging.WARNING]


def test_a_parsed_body_is_our_own_fault() -> None:
    request = signed_request()
    body: Any = json.loads(request.body)
    assert Receiver(SECRET, fallback=ignore).handle(body, request.headers).status == 500


def test_a_body_that_is_no_event_is_theirs() -> None:
    request = signed_request(data="{", format="raw")
    answer = Receiver(SECRET, fallback=ignore).handle(
        request.body, request.headers | {"content-type": "application/json"}
    )
    assert answer.status == 400


# Both worlds


async def test_on_an_event_loop_blocking_handlers_run_in_threads() -> None:
    receiver, where = Receiver(SECRET, store=AsyncStore(), fallback=refuse), {}

    @receiver.on("blocking")
    def blocking(event: Event) -> None:
        where[event.type] = threading.current_thread()

    @receiver.on("awaited")
    async def awaited(event: Event) -> None:
        await asyncio.sleep(0)
        where[event.type] = threading.current_thread()

    class Called:
        async def __call__(self, event: Event) -> None:
            where[event.type] = threading.current_thread()

    async def with_more(more: str, event: Event) -> None:
        where[more] = threading.current_thread()

    receiver.on("called")(Called())
    receiver.on("partial")(functools.partial(with_more, "partial"))
    receiver.on("hidden")(lambda event: awaited(event))
    for type in ("blocking", "awaited", "called", "partial", "hidden"):
        request = signed_request(type)
        assert (await receiver.ahandle(request.body, request.headers)).status == 200
    main = threading.current_thread()
    assert {type: thread is main for type, thread in where.items()} == {
        "blocking": False, "awaited": True, "called": True, "partial": True, "hidden": True,
    }  # fmt: skip


def test_without_an_event_loop_asynchronous_handlers_get_one() -> None:
    receiver, seen = Receiver(SECRET, fallback=refuse), []

    @receiver.on("a.b")
    async def handler(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append(event.type)

    receiver.on("c.d")(lambda event: handler(event))
    assert [handled(receiver, signed_request(type)).status for type in ("a.b", "c.d")] == [200, 200]
    assert seen == ["a.b", "c.d"]


async def test_on_an_event_loop_failures_count_too() -> None:
    receiver = Receiver(SECRET, store=MemoryReplayStore())

    @receiver.fallback
    async def handler(event: Event) -> None:
        raise RetryLater(5) if event.type == "later" else ValueError

    for type, status in (("later", 503), ("other", 500)):
        request = signed_request(type)
        for _ in range(2):
            assert (await receiver.ahandle(request.body, request.headers)).status == status


async def test_a_handler_that_is_cancelled_keeps_its_claim_until_it_ends() -> None:
    """It may have done half of its work; whoever comes next waits as if it had died."""
    receiver, busy = Receiver(SECRET, store=MemoryReplayStore()), asyncio.Event()

    @receiver.fallback
    async def handler(event: Event) -> None:
        busy.set()
        await asyncio.Event().wait()

    request = signed_request()
    task = asyncio.create_task(receiver.ahandle(request.body, request.headers))
    await busy.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await receiver.ahandle(request.body, request.headers)).status == 409


# Batches


def test_each_event_of_a_batch_has_its_result() -> None:
    seen = Seen()
    receiver = Receiver(SECRET, store=MemoryReplayStore(), fallback=seen.by("it"))

    @receiver.on("bad")
    def bad(event: Event) -> None:
        raise ValueError

    request = signed_batch([("a", 1), ("bad", 2), ("c", 3)], ids=["evt_1", "evt_2", "evt_3"])
    assert results(handled(receiver, request)) == {
        "evt_1": {"id": "evt_1", "confirmed": True},
        "evt_2": {"id": "evt_2", "confirmed": False, "reason": "the handler failed"},
        "evt_3": {"id": "evt_3", "confirmed": True},
    }
    assert seen == ["it:a", "it:c"]
    alone = signed_request("a", 1, id="evt_1")
    assert handled(receiver, alone).reason == "this event was handled before"
    later = signed_batch([("bad", 2), ("a", 1)], ids=["evt_2", "evt_1"])
    assert [each["confirmed"] for each in results(handled(receiver, later)).values()] == [False, True]
    assert seen == ["it:a", "it:c"]


def test_ids_of_a_batch_that_no_header_could_carry_are_claimed_all_the_same() -> None:
    seen = Seen()
    receiver = Receiver(SECRET, store=MemoryReplayStore(), fallback=seen.by("it"))
    ids = ["ä", "a b", "x" * 1000, "ä2"]
    request = signed_batch([("t", None)] * 4, ids=ids)
    for _ in range(2):
        assert {id: each["confirmed"] for id, each in results(handled(receiver, request)).items()} == dict.fromkeys(
            ids, True
        )
    assert len(seen) == 4


def test_reasons_are_short() -> None:
    receiver = Receiver(SECRET)

    @receiver.fallback
    def handler(event: Event) -> None:
        raise RetryLater(1, "x" * 10_000)

    (result,) = results(handled(receiver, signed_batch([("a", 1)]))).values()
    assert len(result["reason"]) == 200
