"""Flow control through a whole server: each target gets the pace, the order and the patience that it asked for."""

from __future__ import annotations

import asyncio
import json
import random
import string
import time
from collections import Counter
from collections.abc import AsyncIterator
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
import standardwebhooks
from tests.integration.test_delivery import APP, MASTER_KEY, attempts, looking, prepare, until
from tests.receiving import JITTER_SECONDS, Received, Receiver, ok, receiving, status
from tests.serving import ask, call, listed, serving

from posthouse import bootstrap

PATIENT = {"schedule": [0.05] * 60, "jitter": 0}
STEADY: dict[str, Any] = {"circuit_requests_min": 1_000_000}
"""A circuit that never opens."""


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, master_key=MASTER_KEY, **STEADY) as running:
        await prepare(running.port)
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def add(port: int, receiver: Receiver, **more: Any) -> Any:
    return await call(port, "POST", f"{APP}/endpoints", {"url": receiver.url(), "retry": PATIENT} | more)


async def publish(port: int, count: int, **more: Any) -> list[str]:
    """So many events, in the order of their acceptance."""
    batch = [{"type": "order.created", "data": {"n": n}} | more for n in range(count)]
    return [e["id"] for e in (await call(port, "POST", f"{APP}/events/batch", batch))["data"]]


async def publish_keys(port: int, count: int, keys: str) -> dict[str, list[str]]:
    """Events of these keys in turn; the line of each."""
    batch = [{"type": "order.created", "data": n, "key": keys[n % len(keys)]} for n in range(count)]
    ids = [e["id"] for e in (await call(port, "POST", f"{APP}/events/batch", batch))["data"]]
    return {key: ids[n :: len(keys)] for n, key in enumerate(keys)}


async def confirmed(receiver: Receiver, *ids: str) -> None:
    async def all_there() -> bool:
        return set(ids) <= set(receiver.confirmed)

    await until(all_there, f"{len(ids)} events to be confirmed")


async def owed(port: int, count: int, reason: str | None = None) -> list[Any]:
    """What is owed, once it is so much."""
    return await listed(
        port,
        f"{APP}/deliveries?limit=250",
        lambda some: len([one for one in some if reason in (None, one["reason"])]) == count,
        f"{count} deliveries to be owed",
    )


async def endpoint_of(port: int, made: Any) -> Any:
    return await call(port, "GET", f"{APP}/endpoints/{made['id']}")


async def circuit_state(port: int, made: Any) -> str:
    return str((await endpoint_of(port, made))["circuit"]["state"])


# Pace


async def test_the_rate_holds_over_a_restart(database: str, receiver: Receiver) -> None:
    rate, burst = 40.0, 5
    async with serving(database, master_key=MASTER_KEY) as first:
        await prepare(first.port)
        await add(first.port, receiver, rate_limit={"per_second": rate, "burst": burst})
        ids = await publish(first.port, 60)

        async def some() -> bool:
            return len(receiver.requests) >= 20

        await until(some, "a third of them")
    async with serving(database, master_key=MASTER_KEY) as second:
        await confirmed(receiver, *ids)
        assert (await call(second.port, "GET", f"{APP}/deliveries"))["data"] == []
    assert receiver.too_many(rate, burst) == []
    assert Counter(receiver.received()) == dict.fromkeys(ids, 1)
    times = [request.at for request in receiver.requests]
    assert len(ids) / (times[-1] - times[0]) > rate / 3, "it is a pace, not a stop"


async def test_retries_count_and_a_batch_counts_once(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    receiver.always(status(500))
    await add(
        server.port, receiver, rate_limit={"per_second": 20, "burst": 2}, batch={"max_events": 10, "max_wait_ms": 0}
    )
    ids = await publish(server.port, 30)

    async def tried() -> bool:
        return len(receiver.requests) >= 15

    await until(tried, "retries")
    receiver.answer = receiver.confirm
    await confirmed(receiver, *ids)
    assert receiver.too_many(20, 2) == []


async def test_what_goes_again_over_a_new_connection_counts(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    """A target that reads every second event, and ends the connection in place of an answer."""
    seen: dict[str, bool] = {}

    async def answer(request: Received) -> bytes | None:
        (event,) = request.ids
        cut = event not in seen and len(seen) % 2 == 1
        seen[event] = cut
        return None if cut else ok()

    receiver.answer = answer
    await add(server.port, receiver, rate_limit={"per_second": 40, "burst": 5})
    ids = await publish(server.port, 40)
    await confirmed(receiver, *ids)
    assert receiver.too_many(40, 5) == []
    assert Counter(receiver.received()) == Counter(ids) + Counter(ids[1::2])
    tries = [(a["event"], a["attempt"], a["outcome"], a["reason"]) for a in await attempts(server.port, 60)]
    again = {event for event, number, outcome, _ in tries if (number, outcome) == (1, "delivered")} & {
        event for event, number, outcome, reason in tries if (number, outcome, reason) == (1, "failed", "closed_early")
    }
    assert again, "a request on a kept connection that died spends no attempt, and is on record"


async def test_no_more_at_once_than_its_concurrency(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    receiver.seconds = 0.01
    await add(server.port, receiver, concurrency=3)
    ids = await publish(server.port, 150)
    await confirmed(receiver, *ids)
    assert receiver.most == 3


async def test_concurrency_comes_down_for_a_target_in_trouble_and_goes_up_again(
    server: bootstrap.Posthouse, receiver: Receiver
) -> None:
    receiver.seconds = 0.02
    receiver.always(status(503))
    await add(server.port, receiver, concurrency=8)
    first = await publish(server.port, 40)

    async def down() -> bool:
        receiver.most = 0
        count = len(receiver.requests)
        while len(receiver.requests) < count + 10:  # noqa: ASYNC110 - the fact is the target's
            await asyncio.sleep(0.005)
        return receiver.most == 1

    await until(down, "one request at a time")
    receiver.answer = receiver.confirm

    async def up() -> bool:
        await publish(server.port, 50)
        return receiver.most == 8

    await until(up, "eight at a time again")
    await confirmed(receiver, *first)
    assert receiver.most == 8


async def test_a_target_that_times_out_gets_fewer_at_a_time(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    hang = asyncio.Event()

    async def hanging(_: Received) -> bytes | None:
        await hang.wait()
        return None

    receiver.answer = hanging
    timeouts = {"connect": 1, "first_byte": 0.2, "total": 1}
    await add(server.port, receiver, concurrency=8, timeouts=timeouts, retry={"schedule": [0.01] * 60, "jitter": 0})
    ids = await publish(server.port, 8)

    async def down() -> bool:
        found = await attempts(server.port, 15)
        starts = sorted(a["started_at"] for a in found if a["reason"] == "first_byte_timeout")
        return len(starts) >= 15 and len({start[:22] for start in starts[-4:]}) >= 4

    await until(down, "attempts one after the other")
    hang.set()
    receiver.answer = receiver.confirm
    await confirmed(receiver, *ids)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_holds_the_whole_endpoint(server: bootstrap.Posthouse, receiver: Receiver, form: str) -> None:
    made = await add(server.port, receiver)
    asked: list[float] = []

    async def asking(_: Received) -> bytes:
        if asked:
            return ok()
        asked.append(time.time())
        return status(
            429 if form == "date" else 503,
            retry_after="5" if form == "seconds" else formatdate(asked[0] + 6, usegmt=True),
        )

    receiver.answer = asking
    (first,) = await publish(server.port, 1)

    async def held() -> bool:
        return bool((await endpoint_of(server.port, made))["held_until"] is not None)

    await until(held, "held_until to be told")
    others = await publish(server.port, 20)
    assert {o["reason"] for o in await owed(server.port, 21)} == {"held", "failed"}
    assert len(receiver.requests) == 1
    await confirmed(receiver, first, *others)
    waited = time.time() - asked[0]
    assert waited >= 5.0 - JITTER_SECONDS, "a date has whole seconds"
    gap = receiver.requests[1].at - receiver.requests[0].at
    assert gap >= 5.0 - JITTER_SECONDS


# Order


@pytest.mark.parametrize("seed", [1])
async def test_each_line_is_confirmed_in_order_whatever_happens(database: str, receiver: Receiver, seed: int) -> None:
    """Failures by chance, restarts, and events that are sent again meanwhile."""
    draw = random.Random(seed)

    async def answer(request: Received) -> bytes | None:
        await asyncio.sleep(draw.random() * 0.01)
        luck = draw.random()
        return None if luck < 0.05 else status(500) if luck < 0.25 else ok()

    receiver.answer = answer
    lines: dict[str, list[str]] = {key: [] for key in "abcd"}
    made: Any = None
    for round_ in range(3):
        async with serving(database, master_key=MASTER_KEY, **STEADY) as server:
            if not round_:
                await prepare(server.port)
                made = await add(server.port, receiver, ordering="key", concurrency=8)
            for key, ids in (await publish_keys(server.port, 60, "abcd")).items():
                lines[key] += ids
            for event in draw.sample(sorted(receiver.confirmed), min(5, len(receiver.confirmed))):
                reply = await ask(
                    server.port, "POST", f"{APP}/deliveries/resend", {"event": event, "endpoint": made["id"]}
                )
                assert reply.status in (202, 409)
            if round_ < 2:
                enough = len(receiver.confirmed) + 25

                async def some(enough: int = enough) -> bool:
                    return len(receiver.confirmed) >= enough

                await until(some, "some to be confirmed")
            else:
                await confirmed(receiver, *(event for line in lines.values() for event in line))
                await owed(server.port, 0)
    for line in lines.values():
        assert receiver.out_of_order(line) == []
        first = {event: n for n, event in reversed(list(enumerate(receiver.received(replay=False))))}
        assert sorted(line, key=first.__getitem__) == line
    assert len({request.at for request in receiver.requests if request.replay}) > 0


async def test_a_whole_endpoint_in_order_is_one_request_at_a_time(
    server: bootstrap.Posthouse, receiver: Receiver
) -> None:
    draw = random.Random(5)

    async def answer(_: Received) -> bytes:
        return status(500) if draw.random() < 0.3 else ok()

    receiver.answer = answer
    await add(server.port, receiver, ordering="endpoint", concurrency=16)
    ids = await publish(server.port, 50)
    await confirmed(receiver, *ids)
    assert receiver.most == 1
    assert receiver.out_of_order(ids) == []
    assert list(dict.fromkeys(receiver.received())) == ids


async def test_a_line_that_fails_holds_no_other(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    lines: dict[str, list[str]] = {}

    async def answer(request: Received) -> bytes:
        return status(500) if request.headers["webhook-id"] in bad else ok()

    bad: set[str] = set()
    receiver.always(status(500))
    await add(server.port, receiver, ordering="key", retry={"schedule": [0.2] * 30, "jitter": 0})
    lines = await publish_keys(server.port, 8, "ab")
    bad.add(lines["a"][0])
    receiver.answer = answer
    await confirmed(receiver, *lines["b"])
    assert not set(lines["a"]) & set(receiver.confirmed)
    behind = await owed(server.port, 4)
    assert Counter(o["reason"] for o in behind) == {"failed": 1, "behind": 3}
    bad.clear()
    await confirmed(receiver, *lines["a"])
    assert receiver.out_of_order(lines["a"]) == []


async def test_a_first_without_attempts_left_is_skipped(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    async def answer(request: Received) -> bytes:
        return status(500) if request.ids[0] == ids[0] else ok()

    ids = [""]
    receiver.always(status(500))
    await add(server.port, receiver, ordering="endpoint", on_exhausted="skip", retry={"schedule": [0.3], "jitter": 0})
    ids = await publish(server.port, 4)
    receiver.answer = answer
    await confirmed(receiver, *ids[1:])
    found = await attempts(server.port, 5)
    assert [(a["event"], a["outcome"]) for a in found] == [
        (ids[0], "failed"),
        (ids[0], "gave_up"),
        *((event, "delivered") for event in ids[1:]),
    ]


async def test_a_first_without_attempts_left_blocks_its_line_until_somebody_acts(
    server: bootstrap.Posthouse, receiver: Receiver
) -> None:
    made = await add(
        server.port, receiver, ordering="endpoint", on_exhausted="block", retry={"schedule": [0.1], "jitter": 0}
    )
    receiver.always(status(500))
    ids = await publish(server.port, 3)
    blocked = [o for o in await owed(server.port, 3) if o["event"] == ids[0]]
    await owed(server.port, 1, "blocked")
    blocked = [o for o in await owed(server.port, 3) if o["event"] == ids[0]]
    assert [(o["reason"], o["due_at"]) for o in blocked] == [("blocked", None)]
    tried = len(receiver.requests)
    resend = {"event": ids[0], "endpoint": made["id"]}
    assert tried == 2
    # Sent again it is tried, and blocks again; the line stands all the time.
    await call(server.port, "POST", f"{APP}/deliveries/resend", resend)
    await until(lambda: _is(lambda: len(receiver.requests) == 3), "one more attempt")
    await owed(server.port, 1, "blocked")
    receiver.answer = receiver.confirm
    await call(server.port, "POST", f"{APP}/deliveries/resend", resend)
    await confirmed(receiver, *ids)
    assert receiver.received() == [ids[0]] * 4 + ids[1:]
    assert await owed(server.port, 0) == []


async def _is(fact: Any) -> bool:
    return bool(fact())


# The circuit


async def test_an_open_circuit_sends_nothing_but_probes_and_loses_nothing(database: str, receiver: Receiver) -> None:
    settings: dict[str, Any] = {
        "circuit_requests_min": 4,
        "circuit_probe_seconds": 0.3,
        "circuit_probe_seconds_max": 0.6,
    }
    async with serving(database, master_key=MASTER_KEY, **settings) as server:
        await prepare(server.port)
        receiver.always(status(500))
        made = await add(server.port, receiver, concurrency=4, retry={"schedule": [0.5] * 60, "jitter": 0})
        ids = await publish(server.port, 8)

        async def opened() -> bool:
            return await circuit_state(server.port, made) == "open"

        await until(opened, "the circuit to open")
        before = len(receiver.requests)
        told = (await endpoint_of(server.port, made))["circuit"]
        assert told["next_probe_at"] > told["opened_at"]
        ids += await publish(server.port, 60)

        async def probed() -> bool:
            return len(receiver.requests) >= before + 4

        receiver.most = 0
        await until(probed, "four probes")
        probes = [request.at for request in receiver.requests[before:]]
        assert all(later - earlier >= 0.3 - JITTER_SECONDS for earlier, later in pairwise(probes))
        assert receiver.most == 1

        async def none_spent() -> bool:
            spent = Counter(o["attempt"] for o in await owed(server.port, 68))
            return len(receiver.requests) == sum([(int(number) - 1) * count for number, count in spent.items()])

        await until(none_spent, "as many attempts on record as there were requests")
        sent_before = len(receiver.requests)
        receiver.seconds = 0.02
        receiver.most = 0
        receiver.answer = receiver.confirm
        await confirmed(receiver, *ids)
        assert (await endpoint_of(server.port, made))["circuit"] == {
            "state": "closed",
            "opened_at": None,
            "next_probe_at": None,
        }
        drained = receiver.requests[sent_before:]
        good = [request for request in drained if request.confirmed]
        assert good[1].at - good[0].at >= receiver.seconds - 0.005, "the second waits for the first"
        assert receiver.most <= 4
        await owed(server.port, 0)
        assert receiver.confirmed == dict.fromkeys(ids, 1)


async def test_an_open_circuit_stays_open_over_a_restart(database: str, receiver: Receiver) -> None:
    settings: dict[str, Any] = {"circuit_requests_min": 3, "circuit_probe_seconds": 30}
    receiver.always(status(500))
    async with serving(database, master_key=MASTER_KEY, **settings) as first:
        await prepare(first.port)
        made = await add(first.port, receiver)
        await publish(first.port, 5)

        async def opened() -> bool:
            return await circuit_state(first.port, made) == "open"

        await until(opened, "the circuit to open")
        told = (await endpoint_of(first.port, made))["circuit"]
    sent = len(receiver.requests)
    async with serving(database, master_key=MASTER_KEY, **settings) as second:
        (more,) = await publish(second.port, 1)
        reasons = {o["event"]: o["reason"] for o in await owed(second.port, 6)}
        assert reasons[more] == "circuit_open"
        assert (await endpoint_of(second.port, made))["circuit"] == told
        assert len(receiver.requests) == sent


# Batches


@pytest.mark.parametrize("format", ["json", "cloudevents"])
async def test_a_batch_settles_each_of_its_events_once(
    server: bootstrap.Posthouse, receiver: Receiver, database: str, format: str
) -> None:
    made = await add(
        server.port, receiver, format=format, batch={"max_events": 20, "max_bytes": 4096, "max_wait_ms": 100}
    )
    ids = await publish(server.port, 90)
    await confirmed(receiver, *ids)
    await owed(server.port, 0)
    reference = standardwebhooks.Webhook(made["secret"])
    for request in receiver.requests:
        reference.verify(request.body, request.headers)
        assert len(request.body) <= 4096
        assert 1 <= len(request.ids) <= 20
        parts = json.loads(request.body)
        if format == "json":
            assert request.headers["content-type"] == "application/json"
            assert all(part.keys() == {"id", "type", "timestamp", "data"} for part in parts)
        else:
            assert request.headers["content-type"] == "application/cloudevents-batch+json"
            assert {part["specversion"] for part in parts} == {"1.0"}
        assert {part["type"] for part in parts} == {"order.created"}
    assert Counter(receiver.received()) == dict.fromkeys(ids, 1)
    assert len(receiver.requests) <= 12, "batches, and no single ones"
    found = await attempts(server.port, 90)
    assert Counter(a["event"] for a in found) == dict.fromkeys(ids, 1)
    assert {(a["outcome"], a["reason"]) for a in found} == {("delivered", "confirmed")}
    async with looking(database) as store:
        shared = await store.fetch("SELECT request_id, count(*) AS events FROM attempt GROUP BY request_id")
    assert Counter(row["events"] for row in shared) == Counter(len(request.ids) for request in receiver.requests)


async def test_a_target_may_answer_for_each_event(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    refused: set[str] = set()

    async def answer(request: Received) -> bytes:
        odd = [event for event in request.ids[1::2] if event not in refused]
        refused.update(odd)
        told = [{"id": event, "confirmed": False, "reason": "not a PNG"} for event in odd]
        return ok(body=json.dumps({"results": told}).encode())

    receiver.answer = answer
    await add(server.port, receiver, batch={"max_events": 10, "max_wait_ms": 200})
    ids = await publish(server.port, 10)
    await confirmed(receiver, *ids)
    await owed(server.port, 0)
    assert receiver.confirmed == dict.fromkeys(ids, 1)
    found = await attempts(server.port, 10 + len(refused))
    assert Counter(a["event"] for a in found if a["outcome"] == "delivered") == dict.fromkeys(ids, 1)
    again = [a for a in found if a["outcome"] == "failed"]
    assert {a["event"] for a in again} == refused
    assert {(a["reason"], a["error"], a["status"]) for a in again} == {("refused", "not a PNG", 200)}


async def test_batches_of_ordered_lines_are_confirmed_in_order(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    draw = random.Random(3)

    async def answer(request: Received) -> bytes:
        luck = draw.random()
        if luck < 0.2:
            return status(500)
        # As one that keeps order does: what follows a refused one is refused.
        accepted = draw.randrange(1, len(request.ids) + 1) if luck < 0.6 else len(request.ids)
        told = [{"id": event, "confirmed": False} for event in request.ids[accepted:]]
        return ok(body=json.dumps({"results": told}).encode())

    receiver.answer = answer
    await add(server.port, receiver, ordering="endpoint", batch={"max_events": 7, "max_wait_ms": 20})
    ids = await publish(server.port, 80)
    await confirmed(receiver, *ids)
    assert receiver.most == 1
    assert receiver.out_of_order(ids) == []
    assert receiver.confirmed == dict.fromkeys(ids, 1)


# Several URLs


async def test_fallbacks_are_asked_in_their_order_and_only_where_one_is_down(
    server: bootstrap.Posthouse, receiver: Receiver
) -> None:
    answers: dict[str, bytes | None] = {"/a": None, "/b": status(503), "/c": ok()}

    async def answer(request: Received) -> bytes | None:
        return answers[request.path]

    receiver.answer = answer
    await add(server.port, receiver, url=receiver.url("/a"), fallback_urls=[receiver.url("/b"), receiver.url("/c")])
    (event,) = await publish(server.port, 1)
    await confirmed(receiver, event)
    assert [request.path for request in receiver.requests] == ["/a", "/b", "/c"]
    found = await attempts(server.port, 3)
    assert [(a["url"], a["outcome"], a["attempt"]) for a in found] == [
        (receiver.url("/a"), "failed", 1),
        (receiver.url("/b"), "failed", 1),
        (receiver.url("/c"), "delivered", 1),
    ]
    answers["/a"] = status(404)
    await publish(server.port, 1)
    again = await attempts(server.port, 4)
    assert (again[3]["url"], again[3]["status"]) == (receiver.url("/a"), 404), "an answer, and no reason to ask others"
    answers["/a"] = ok()
    await owed(server.port, 0)
    assert [request.path for request in receiver.requests[3:]] == ["/a"] * len(receiver.requests[3:])


async def test_a_url_whose_circuit_is_open_is_passed_over(database: str, receiver: Receiver) -> None:
    async with serving(database, master_key=MASTER_KEY, circuit_requests_min=3, circuit_probe_seconds=60) as server:
        await prepare(server.port)

        async def answer(request: Received) -> bytes:
            return status(500) if request.path == "/a" else ok()

        receiver.answer = answer
        made = await add(
            server.port, receiver, url=receiver.url("/a"), fallback_urls=[receiver.url("/b")], concurrency=1
        )
        ids = await publish(server.port, 30)
        await confirmed(receiver, *ids)
        paths = Counter(request.path for request in receiver.requests)
        assert paths == {"/a": 3, "/b": 30}
        assert (await endpoint_of(server.port, made))["circuit"]["state"] == "closed", "one of its URLs works"
        assert (await endpoint_of(server.port, made))["failing_since"] is None


async def test_equal_urls_share_by_weight_or_by_key(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    weighted = await add(
        server.port, receiver, url=receiver.url("/a"), equal_urls=[{"url": receiver.url("/b"), "weight": 3}]
    )
    ids = await publish(server.port, 200)
    await confirmed(receiver, *ids)
    share = Counter(request.path for request in receiver.requests)
    assert 15 <= share["/a"] <= 95, "a quarter of 200; less likely than 1 in 10⁷ otherwise"
    await call(server.port, "PATCH", f"{APP}/endpoints/{weighted['id']}", {"balance": "sticky"})
    before = len(receiver.requests)
    keys = string.ascii_letters + string.digits  # all of them at one URL: less likely than 1 in 10⁷
    lines = await publish_keys(server.port, 3 * len(keys), keys)
    await confirmed(receiver, *(event for line in lines.values() for event in line))
    where = {request.ids[0]: request.path for request in receiver.requests[before:]}
    assert all(len({where[event] for event in line}) == 1 for line in lines.values())
    assert set(where.values()) == {"/a", "/b"}
    urls = {a["event"]: a["url"] for a in await attempts(server.port, 250)}
    assert all(urls[event] == receiver.url(path) for event, path in where.items() if event in urls)


# Age, pause, deletion


async def test_what_grew_too_old_is_given_up_wherever_it_waited(
    server: bootstrap.Posthouse, receiver: Receiver
) -> None:
    made = await add(server.port, receiver, ordering="endpoint", max_age=600)
    path = f"{APP}/endpoints/{made['id']}"
    await call(server.port, "POST", f"{path}/pause")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    old = await publish(server.port, 3, expires_at=soon)
    kept = await publish(server.port, 2)
    await owed(server.port, 5)
    await until(lambda: _is(lambda: time.time() > _seconds(soon) + 0.1), "their time")
    await call(server.port, "POST", f"{path}/resume")
    await confirmed(receiver, *kept)
    assert receiver.received() == kept
    given_up = [a for a in await attempts(server.port, 5) if a["outcome"] == "gave_up"]
    assert {(a["event"], a["reason"], a["sent"]) for a in given_up} == {(event, "expired", False) for event in old}


def _seconds(text: str) -> float:
    import calendar

    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))


async def test_max_age_is_of_the_endpoint(server: bootstrap.Posthouse, receiver: Receiver) -> None:
    receiver.always(status(500))
    await add(server.port, receiver, max_age=1, retry={"schedule": [30], "jitter": 0})
    (event,) = await publish(server.port, 1)
    found = await attempts(server.port, 2)
    assert [(a["event"], a["outcome"], a["reason"], a["sent"]) for a in found] == [
        (event, "failed", "http_status", True),
        (event, "gave_up", "expired", False),
    ], "as it expires, not when it would be tried"


async def test_the_backlog_of_a_paused_endpoint_is_intact_and_comes_in_order(database: str, receiver: Receiver) -> None:
    ids: list[str] = []
    made: Any = None
    for round_ in range(2):
        async with serving(database, master_key=MASTER_KEY, **STEADY) as server:
            if not round_:
                await prepare(server.port)
                made = await add(server.port, receiver, ordering="endpoint")
                await call(server.port, "POST", f"{APP}/endpoints/{made['id']}/pause")
            ids += await publish(server.port, 100)
            waiting = await owed(server.port, len(ids))
            assert {o["reason"] for o in waiting} <= {"paused", "behind"}
            assert {o["event"] for o in waiting} == set(ids)
            assert receiver.requests == []
            if round_:
                await call(server.port, "POST", f"{APP}/endpoints/{made['id']}/resume")
                more = await publish(server.port, 5)
                await confirmed(receiver, *ids, *more)
                assert receiver.received() == ids + more


async def test_deleting_an_endpoint_settles_all_that_it_is_owed(
    server: bootstrap.Posthouse, receiver: Receiver
) -> None:
    """Also what waits behind another, blocks its line, or is being tried at one of several URLs."""
    receiver.always(status(500))
    hang = asyncio.Event()

    async def hanging(request: Received) -> bytes:
        if request.path == "/hang":
            await hang.wait()
        return status(500)

    receiver.answer = hanging
    blocked = await add(
        server.port, receiver, ordering="endpoint", on_exhausted="block", retry={"schedule": [0.05], "jitter": 0}
    )
    under_way = await add(server.port, receiver, url=receiver.url("/hang"), fallback_urls=[receiver.url("/b")])
    ids = await publish(server.port, 40)
    await owed(server.port, 1, "blocked")
    await owed(server.port, 39, "behind")
    for made in (blocked, under_way):
        assert (await ask(server.port, "DELETE", f"{APP}/endpoints/{made['id']}")).status == 204
    hang.set()
    await owed(server.port, 0)
    found = await attempts(server.port, 81)
    ends = [a for a in found if a["outcome"] == "gave_up"]
    assert Counter(a["endpoint"] for a in ends) == {blocked["id"]: 40, under_way["id"]: 40}
    assert {a["reason"] for a in ends} == {"cancelled"}
    assert {a["event"] for a in ends} == set(ids)
