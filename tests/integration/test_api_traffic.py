"""Events, attempts, deliveries and statistics of an app; sending again, and not sending any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from tests.integration.api_world import World, raw, world_over

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.inspect import PostgresInspector
from posthouse.domain.delivery import AttemptOutcome, DeliveryClass, OwedReason, Rollup
from posthouse.domain.event import Event
from posthouse.domain.ids import APP, ATTEMPT, ENDPOINT, EVENT, AppId, EndpointId, format_id, next_id

APP_URL = "/v1/apps/shop"


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        yield made


async def app_id(world: World) -> str:
    found: str = (await world.admin.get(APP_URL)).json()["id"]
    return found


def text(event: Event) -> str:
    return format_id(EVENT, event.id)


async def everything(world: World, url: str, limit: int = 3) -> list[Any]:
    """All pages of a list."""
    found: list[Any] = []
    cursor = ""
    while True:
        reply = await world.admin.get(f"{url}{'&' if '?' in url else '?'}limit={limit}{cursor}")
        assert reply.status == 200, reply.body
        page = reply.json()
        assert len(page["data"]) <= limit
        found += page["data"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


# Events


async def test_an_event_is_shown_with_its_data_as_they_were_published(world: World) -> None:
    payload = b'{"total": 1.50, "id": 12345678901234567890123, "a": 1, "a": 2}'
    (event,) = await world.publish(
        await app_id(world),
        payload,
        subject="shop:42",
        key="k",
        channels=("eu", "us"),
        attributes=b'{"source": "till"}',
        expires_at=4_000_000_000.0,
    )
    reply = await world.admin.get(f"{APP_URL}/events/{text(event)}")
    assert reply.status == 200
    assert payload in reply.body
    shown = reply.json()
    assert shown["id"] == text(event)
    assert (shown["type"], shown["subject"], shown["key"]) == ("order.created", "shop:42", "k")
    assert (shown["channels"], shown["attributes"]) == (["eu", "us"], {"source": "till"})
    assert (shown["payload_bytes"], shown["expires_at"]) == (len(payload), "2096-10-02T07:06:40.000Z")
    (listed,) = (await world.admin.get(f"{APP_URL}/events")).json()["data"]
    assert listed == {
        name: value for name, value in shown.items() if name not in ("data", "data_base64", "routes", "pending")
    }
    assert (shown["routes"], shown["pending"]) == ([], True)


async def test_an_event_whose_end_is_written_as_somebody_looks_is_never_without_both(world: World) -> None:
    """Nothing is owed and nothing is pending: whoever sees that asks no more."""
    endpoint = await world.endpoint("shop")
    (event,) = await world.publish(await app_id(world))

    class Meanwhile:
        """The database; after a first statement the event is delivered, and the cursor passes it."""

        def __init__(self) -> None:
            self.asked = 0

        def __getattr__(self, name: str) -> Any:
            ask = getattr(world.database, name)

            async def asking(*args: Any) -> Any:
                self.asked += 1
                answer = await ask(*args)
                if self.asked == 1:
                    await world.record((event,), endpoint)
                return answer

            return asking

    database = Meanwhile()
    routes = await PostgresInspector(cast("Database", database)).event_routes(None, event.id, limit=10)
    assert database.asked > 1
    assert routes.taken or routes.pending


async def test_data_that_are_not_json_are_shown_in_base64(world: World) -> None:
    (event,) = await world.publish(await app_id(world), b"\xff\x00", content_type="application/octet-stream")
    shown = (await world.admin.get(f"{APP_URL}/events/{text(event)}")).json()
    assert (shown["data"], shown["data_base64"]) == (None, "/wA=")


async def test_events_by_type_and_time_in_pages(world: World) -> None:
    app = await app_id(world)
    orders = await world.publish(app, *[b"1"] * 7)
    users = await world.publish(app, b"2", type="user_register")
    expected = [text(event) for event in reversed(orders + users)]
    assert [event["id"] for event in await everything(world, f"{APP_URL}/events")] == expected
    ids = [event["id"] for event in await everything(world, f"{APP_URL}/events?type=user_register")]
    assert ids == [text(users[0])]
    assert await everything(world, f"{APP_URL}/events?type=nope") == []
    for query, count in [
        ("since=2020-01-01T00:00:00Z", 8),
        ("until=2020-01-01T00:00:00Z", 0),
        ("since=9999-12-31T23:59:59Z", 0),
        ("since=2020-01-01T00:00:00%2B08:00&until=9999-12-31T23:59:59.999Z", 8),
    ]:
        assert len(await everything(world, f"{APP_URL}/events?{query}")) == count, query


async def test_events_by_key_and_by_what_they_follow_from(world: World) -> None:
    app = await app_id(world)
    other = await world.app("other")
    (cause,) = await world.publish(app, key="order 7")
    events = await world.publish(app, b"1", b"2", key="order 7", subject="shop:1")
    effects = await world.publish(app, b"3", cause=cause.id, depth=1)
    effects += await world.publish(other, b"4", cause=cause.id, depth=1, key="order 7")
    newest = [text(event) for event in reversed(events)]
    assert [row["id"] for row in await everything(world, f"{APP_URL}/events?key=order+7")] == [*newest, text(cause)]
    assert [row["id"] for row in await everything(world, "/v1/events?key=order+7", limit=1)] == [
        text(effects[1]),
        *newest,
        text(cause),
    ]
    assert await everything(world, "/v1/events?key=order") == []
    assert [row["id"] for row in await everything(world, "/v1/events?key=order+7&subject=shop:1")] == newest
    assert await everything(world, "/v1/events?key=order+7&type=other.type") == []
    followed = await everything(world, f"/v1/events?cause={text(cause)}", limit=1)
    assert [row["id"] for row in followed] == [text(event) for event in reversed(effects)]
    assert {row["cause"] for row in followed} == {text(cause)}
    assert [row["id"] for row in await everything(world, f"{APP_URL}/events?cause={text(cause)}")] == [text(effects[0])]
    both = await everything(world, f"/v1/events?cause={text(cause)}&key=order+7")
    assert [row["id"] for row in both] == [text(effects[1])]
    assert (await world.admin.get("/v1/events?cause=nope")).code == "event_not_found"
    client = await world.client_of("other")
    assert [row["id"] for row in (await client.get("/v1/events?key=order+7")).json()["data"]] == [text(effects[1])]


async def test_whom_a_stored_event_would_reach_today(world: World) -> None:
    endpoint = await world.endpoint("shop", events=["order.*"])
    deaf = await world.endpoint("shop", events=["product.*"])
    (event,) = await world.publish(await app_id(world))
    url = f"/v1/events/{text(event)}/explanation"
    told = (await world.admin.get(url)).json()
    (reached,) = told["reached"]
    assert [(one["endpoint"], one["reason"]) for one in reached["endpoints"]] == [(endpoint, "matched")]
    assert [(one["endpoint"], one["reason"]) for one in told["not_reached"]] == [(deaf, "other_types")]
    # An app hears of what is addressed to it, and of nobody else's.
    assert (await (await world.client_of("shop")).get(url)).json() == told
    await world.app("other")
    assert (await (await world.client_of("other")).get(url)).code == "event_not_found"
    assert (await world.admin.get("/v1/events/nope/explanation")).code == "event_not_found"


async def test_a_follow_up_for_one_endpoint_reaches_it_whatever_it_listens_to(world: World) -> None:
    endpoint = await world.endpoint("shop", events=["product.*"])
    await world.endpoint("shop", events=["order.*"])
    (event,) = await world.publish(await app_id(world))
    await world.database.execute("UPDATE event SET only_endpoint = $2 WHERE id = $1", event.id, raw(ENDPOINT, endpoint))
    url = f"/v1/events/{text(event)}/explanation"
    told = (await world.admin.get(url)).json()
    assert [one["endpoint"] for app in told["reached"] for one in app["endpoints"]] == [endpoint]
    assert told["not_reached"] == []
    await world.admin.patch(f"{APP_URL}/endpoints/{endpoint}", {"enabled": False})
    told = (await world.admin.get(url)).json()
    assert (told["reached"], [one["reason"] for one in told["not_reached"]]) == ([], ["disabled"])
    await world.admin.delete(f"{APP_URL}/endpoints/{endpoint}")
    told = (await world.admin.get(url)).json()
    assert (told["reached"], [one["reason"] for one in told["not_reached"]]) == ([], ["no_endpoints"])


async def test_why_deliveries_wait(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    other = await world.endpoint("shop")
    events = await world.publish(await app_id(world), b"1", b"2", b"3")
    await world.owe(events, endpoint, due_at=2_000_000_000.0)
    await world.owe(events[:1], other, due_at=float("inf"), reason=OwedReason.BEHIND)
    told = (await world.admin.get("/v1/deliveries/reasons")).json()
    failed = {"reason": "failed", "owed": 3, "next_due_at": "2033-05-18T03:33:20.000Z"}
    behind = {"reason": "behind", "owed": 1, "next_due_at": None}
    assert told == {"data": [failed, behind], "truncated": False}
    assert (await world.admin.get("/v1/deliveries/reasons?app=shop")).json() == told
    found = (await world.admin.get("/v1/deliveries/reasons?app=shop&endpoint=main")).json()
    assert found == {"data": [failed], "truncated": False}
    assert (await world.admin.get("/v1/deliveries/reasons?endpoint=main")).status == 422
    counted = await world.inspector.owed_reasons(None, endpoint_id=None, counted_max=3)
    assert (sum(one.owed for one in counted.reasons), counted.truncated) == (4, True)
    await world.app("other")
    assert (await (await world.client_of("other")).get("/v1/deliveries/reasons")).json()["data"] == []


async def test_events_that_are_not_there(world: World) -> None:
    for reference in ("nope", "evt_x", format_id(EVENT, b"x" * 16), format_id(APP, b"x" * 16)):
        assert (await world.admin.get(f"{APP_URL}/events/{reference}")).code == "event_not_found"
        assert (await world.admin.get(f"{APP_URL}/events/{reference}/attempts")).code == "event_not_found"


# Attempts


async def test_attempts_of_an_app_merge_those_of_its_endpoints(world: World) -> None:
    app = await app_id(world)
    one, two = await world.endpoint("shop"), await world.endpoint("shop", uid="two")
    events = await world.publish(app, *[b"1"] * 5)
    users = await world.publish(app, b"2", type="user_register")
    made = await world.record(events, one)
    made += await world.record(events, two, AttemptOutcome.FAILED)
    made += await world.record(users, two, AttemptOutcome.GAVE_UP, reason="exhausted")
    expected = [format_id(ATTEMPT, attempt.id) for attempt in reversed(made)]
    assert [attempt["id"] for attempt in await everything(world, f"{APP_URL}/attempts")] == expected
    for query, count in [
        (f"endpoint={one}", 5),
        ("endpoint=two", 6),
        ("outcome=failed", 5),
        ("outcome=gave_up", 1),
        ("outcome=delivered&endpoint=two", 0),
        ("type=user_register", 1),
        ("type=order.created&outcome=delivered", 5),
        ("type=nope", 0),
        ("since=2020-01-01T00:00:00Z", 11),
        ("until=2020-01-01T00:00:00Z", 0),
        (f"endpoint={format_id(ENDPOINT, b'x' * 16)}", 0),
    ]:
        assert len(await everything(world, f"{APP_URL}/attempts?{query}")) == count, query
    assert (await world.admin.get(f"{APP_URL}/attempts?endpoint=nope")).code == "endpoint_not_found"

    first = (await world.admin.get(f"{APP_URL}/attempts?limit=1")).json()["data"][0]
    assert first == {
        "app": app,
        "id": expected[0],
        "event": text(users[0]),
        "type": "user_register",
        "endpoint": two,
        "attempt": 1,
        "class": "live",
        "outcome": "gave_up",
        "reason": "exhausted",
        "sent": True,
        "status": 500,
        "url": "https://example.com/hooks",
        "revision": 1,
        "address": "192.0.2.1",
        "started_at": first["started_at"],
        "timings": {"dns_ms": None, "connect_ms": 1.5, "tls_ms": None, "first_byte_ms": 2.5, "total_ms": 3.0},
        "error": None,
        "reaction": None,
    }
    # They stay when the endpoint goes.
    assert (await world.admin.delete(f"{APP_URL}/endpoints/{one}")).status == 204
    assert len(await everything(world, f"{APP_URL}/attempts")) == 11
    assert len(await everything(world, f"{APP_URL}/attempts?endpoint={one}")) == 5


async def test_attempts_of_an_event(world: World) -> None:
    app = await app_id(world)
    endpoints = [await world.endpoint("shop") for _ in range(2)]
    one, other, untried = await world.publish(app, b"1", b"2", b"3")
    made = []
    for number in range(1, 4):
        for endpoint in endpoints:
            made += await world.record([one], endpoint, AttemptOutcome.FAILED, number=number)
    await world.record([other], endpoints[0])
    found = await everything(world, f"{APP_URL}/events/{text(one)}/attempts")
    assert [attempt["id"] for attempt in found] == [format_id(ATTEMPT, attempt.id) for attempt in reversed(made)]
    assert {attempt["type"] for attempt in found} == {"order.created"}
    assert await everything(world, f"{APP_URL}/events/{text(untried)}/attempts") == []


async def test_an_attempt_with_its_request_and_its_answer(world: World) -> None:
    app = await app_id(world)
    endpoint = await world.endpoint("shop", headers={"X-Shop": "42"})
    # What was sent is told as it was then, whatever the endpoint is now.
    await world.admin.patch(f"{APP_URL}/endpoints/{endpoint}", {"headers": None, "url": "https://example.org/"})
    (event,) = await world.publish(app, b'{"total": 1.50}')
    (made,) = await world.record(
        [event],
        endpoint,
        response_headers=b"content-type: text/plain\r\nset-cookie: a=b: c\r\nset-cookie: d\r\n",
        response_body="好".encode(),
    )
    shown = (await world.admin.get(f"{APP_URL}/attempts/{format_id(ATTEMPT, made.id)}")).json()
    request = shown["request"]
    assert (request["method"], request["url"]) == ("POST", "https://example.com/hooks")
    headers = {header["name"].lower(): header["value"] for header in request["headers"]}
    assert headers["x-shop"] == "42"
    assert headers["host"] == "example.com"
    assert headers["webhook-id"] == text(event)
    assert "webhook-signature" not in headers
    assert msgspec.json.decode(request["body"])["data"] == {"total": 1.5}
    assert '"data":{"total": 1.50}' in request["body"]
    (signed,) = shown["signed"]
    assert signed["base"] == f"{text(event)}.{headers['webhook-timestamp']}.{request['body']}"
    assert (signed["kind"], signed["key"], signed["exact"]) == ("standard", "secret", True)
    assert {"in": "header", "name": "webhook-signature"} in signed["written"]
    assert shown["response"] == {
        "status": 200,
        "headers": [
            {"name": "content-type", "value": "text/plain"},
            {"name": "set-cookie", "value": "a=b: c"},
            {"name": "set-cookie", "value": "d"},
        ],
        "body": "好",
        "body_base64": None,
    }
    for reference in ("nope", format_id(ATTEMPT, b"x" * 16), text(event)):
        assert (await world.admin.get(f"{APP_URL}/attempts/{reference}")).code == "attempt_not_found"


async def test_an_attempt_without_an_answer_or_without_a_request(world: World) -> None:
    app = await app_id(world)
    endpoint = await world.endpoint("shop")
    one, two = await world.publish(app, b"1", b"2")
    (unanswered,) = await world.record(
        [one], endpoint, AttemptOutcome.FAILED, status=None, reason="connect_timeout", error="no answer within 5 s"
    )
    shown = (await world.admin.get(f"{APP_URL}/attempts/{format_id(ATTEMPT, unanswered.id)}")).json()
    assert (shown["response"], shown["error"], shown["request"]["method"]) == (None, "no answer within 5 s", "POST")
    (unsent,) = await world.record([two], endpoint, AttemptOutcome.GAVE_UP, sent=False, status=None, reason="expired")
    shown = (await world.admin.get(f"{APP_URL}/attempts/{format_id(ATTEMPT, unsent.id)}")).json()
    assert (shown["sent"], shown["request"], shown["response"]) == (False, None, None)


# What is owed


async def test_what_is_owed_in_pages(world: World) -> None:
    app = await app_id(world)
    one, two = await world.endpoint("shop"), await world.endpoint("shop", uid="two")
    events = await world.publish(app, *[b"1"] * 5)
    await world.owe(events, one, due_at=2_000_000_000.0)
    await world.owe(events[:2], two, due_at=2_000_000_001.5, reason=OwedReason.PAUSED, number=1)
    found = await everything(world, f"{APP_URL}/deliveries", limit=2)
    keys = [(owed["event"], owed["endpoint"]) for owed in found]
    expected = [(text(event), one) for event in events] + [(text(event), two) for event in events[:2]]
    assert keys == sorted(expected, reverse=True)
    assert found[0] == {
        "app": app,
        "event": text(events[4]),
        "type": "order.created",
        "endpoint": one,
        "attempt": 2,
        "class": "live",
        "due_at": "2033-05-18T03:33:20.000Z",
        "reason": "failed",
        "expires_at": None,
        "eta_seconds": found[0]["eta_seconds"],
    }
    assert found[0]["eta_seconds"] == pytest.approx(2_000_000_000 - world.clock.now(), abs=60)
    assert len(await everything(world, f"{APP_URL}/deliveries?endpoint=two")) == 2
    assert len(await everything(world, f"{APP_URL}/deliveries?endpoint={one}")) == 5
    await world.query("UPDATE delivery SET due_at = 'infinity' RETURNING 1")
    assert {owed["due_at"] for owed in await everything(world, f"{APP_URL}/deliveries")} == {None}


async def test_statistics(world: World) -> None:
    app = AppId(raw(APP, await app_id(world)))
    endpoint = await world.endpoint("shop")
    url = f"{APP_URL}/endpoints/{endpoint}/stats"
    empty = (await world.admin.get(url)).json()
    assert (empty["delivered"], empty["mean_duration_ms"], empty["owed"], empty["next_due_at"]) == (0, None, 0, None)
    events = await world.publish(await app_id(world), b"1", b"2")
    await world.owe(events, endpoint, due_at=2_000_000_000.0)
    minute = int(world.clock.now() // 60)
    endpoint_id = EndpointId(raw(ENDPOINT, endpoint))
    rollups = tuple(
        Rollup(
            partition=events[0].partition,
            minute=at,
            app_id=app,
            endpoint_id=endpoint_id,
            delivered=8,
            failed=1,
            gave_up=1,
            total_us=50_000,
        )
        for at in (minute, minute - 1)
    )
    await world.journal(rollups=rollups)
    shown = (await world.admin.get(url)).json()
    assert (shown["delivered"], shown["failed"], shown["gave_up"]) == (16, 2, 2)
    assert (shown["mean_duration_ms"], shown["owed"]) == (5.0, 2)
    assert shown["next_due_at"] == "2033-05-18T03:33:20.000Z"
    early = (await world.admin.get(f"{url}?until=2020-01-02T00:00:00Z&since=2020-01-01T00:00:00Z")).json()
    assert (early["since"], early["until"]) == ("2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z")
    assert early["delivered"] == 0


# Sending again


async def poke(world: World) -> int:
    (row,) = await world.query("SELECT sum(poke)::int FROM partition")
    return int(row[0])


async def resend(world: World, event: str, endpoint: str) -> Any:
    return await world.admin.post(f"{APP_URL}/deliveries/resend", {"event": event, "endpoint": endpoint})


async def test_sending_again_owes_a_replay_now_and_tells_the_owner(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    (event,) = await world.publish(await app_id(world), b'{"n":1}')
    await world.record([event], endpoint)
    before = await poke(world)
    reply = await resend(world, text(event), "main")
    assert reply.status == 202
    assert reply.json()["eta_seconds"] < 5
    assert reply.json() | {"due_at": "", "eta_seconds": 0} == {
        "app": await app_id(world),
        "event": text(event),
        "type": "order.created",
        "endpoint": endpoint,
        "attempt": 1,
        "class": "replay",
        "due_at": "",
        "reason": "resent",
        "expires_at": None,
        "eta_seconds": 0,
    }
    assert await poke(world) == before + 1
    ((seq, number, kind, reason, size, due),) = await world.query(
        "SELECT seq, number, kind, reason, payload_bytes, due_at <= clock_timestamp() FROM delivery"
    )
    assert (seq, number, kind, reason, size, due) == (event.seq, 1, "replay", "resent", 7, True)
    # Asking again asks for the same.
    assert (await resend(world, text(event), endpoint)).status == 202
    assert await world.query("SELECT count(*) FROM delivery") == [(1,)]


async def test_what_is_owed_already_is_due_now(world: World) -> None:
    endpoint = await world.endpoint("shop")
    (event,) = await world.publish(await app_id(world))
    await world.owe([event], endpoint, due_at=2_000_000_000.0, number=4)
    shown = (await resend(world, text(event), endpoint)).json()
    assert (shown["attempt"], shown["class"], shown["reason"]) == (4, "live", "failed")
    assert shown["due_at"] < "2030"


async def test_what_is_in_flight_stays_with_its_sender(world: World) -> None:
    endpoint = await world.endpoint("shop")
    (event,) = await world.publish(await app_id(world))
    await world.owe([event], endpoint, due_at=2_000_000_000.0, reason=OwedReason.IN_FLIGHT, sender=b"s" * 16)
    assert (await resend(world, text(event), endpoint)).json()["reason"] == "in_flight"
    assert await world.query("SELECT reason, sender FROM delivery") == [("in_flight", b"s" * 16)]


async def test_an_event_not_dispatched_yet_is_in_progress(world: World) -> None:
    endpoint = await world.endpoint("shop")
    (event,) = await world.publish(await app_id(world))
    before = await poke(world)
    reply = await resend(world, text(event), endpoint)
    assert (reply.status, reply.code) == (409, "in_progress")
    assert await world.query("SELECT count(*) FROM delivery") == [(0,)]
    assert await poke(world) == before


async def test_what_cannot_be_sent_again(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    (event,) = await world.publish(await app_id(world))
    await world.record([event], endpoint, AttemptOutcome.GAVE_UP, kind=DeliveryClass.LIVE)
    assert (await resend(world, "nope", endpoint)).code == "event_not_found"
    assert (await resend(world, format_id(EVENT, b"x" * 16), endpoint)).code == "event_not_found"
    assert (await resend(world, text(event), "nope")).code == "endpoint_not_found"
    assert (await resend(world, text(event), format_id(ENDPOINT, b"x" * 16))).code == "endpoint_not_found"
    await world.app("other")
    foreign = await world.endpoint("other")
    assert (await resend(world, text(event), foreign)).code == "endpoint_not_found"
    await world.admin.patch(f"{APP_URL}/endpoints/main", {"enabled": False})
    reply = await resend(world, text(event), endpoint)
    assert (reply.status, reply.code) == (409, "endpoint_disabled")
    await world.admin.delete(f"{APP_URL}/endpoints/main")
    assert (await resend(world, text(event), endpoint)).code == "endpoint_not_found"
    assert await world.query("SELECT count(*) FROM delivery") == [(0,)]


# Not sending any more


async def cancel(world: World, event: str, endpoint: str) -> Any:
    return await world.admin.post(f"{APP_URL}/deliveries/cancel", {"event": event, "endpoint": endpoint})


async def test_what_is_cancelled_is_given_up_on_record(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    first, event = await world.publish(await app_id(world), b"1", b"2")
    (newest,) = await world.record([first], endpoint)
    await world.owe([event], endpoint, due_at=2_000_000_000.0, number=4)
    before = await poke(world)
    reply = await cancel(world, text(event), "main")
    assert reply.status == 200
    shown = reply.json()
    assert (shown["event"], shown["endpoint"], shown["attempt"], shown["reason"]) == (
        text(event),
        endpoint,
        4,
        "failed",
    )
    assert (shown["type"], shown["due_at"]) == ("order.created", "2033-05-18T03:33:20.000Z")
    assert await poke(world) == before + 1
    assert await world.query("SELECT count(*) FROM delivery") == [(0,)]
    (record,) = await everything(world, f"{APP_URL}/events/{text(event)}/attempts")
    assert (record["outcome"], record["reason"], record["sent"], record["status"]) == (
        "gave_up",
        "cancelled",
        False,
        None,
    )
    assert (record["attempt"], record["url"], record["revision"]) == (4, "https://example.com/hooks", 1)
    # Right behind the newest that is there: what the owner writes next comes after it.
    assert raw(ATTEMPT, record["id"]) == next_id(newest.id)
    again = await cancel(world, text(event), endpoint)
    assert (again.status, again.code) == (409, "not_owed")
    assert len(await world.query("SELECT 1 FROM audit WHERE action = 'delivery.cancelled'")) == 1
    # It can be sent again, as everything on record.
    assert (await resend(world, text(event), endpoint)).status == 202


async def test_what_is_not_dispatched_or_in_flight_is_not_cancelled(world: World) -> None:
    endpoint = await world.endpoint("shop")
    (event,) = await world.publish(await app_id(world))
    reply = await cancel(world, text(event), endpoint)
    assert (reply.status, reply.code) == (409, "in_progress")
    await world.owe([event], endpoint, due_at=2_000_000_000.0, reason=OwedReason.IN_FLIGHT, sender=b"s" * 16)
    reply = await cancel(world, text(event), endpoint)
    assert (reply.status, reply.code) == (409, "in_flight")
    assert await world.query("SELECT reason, sender FROM delivery") == [("in_flight", b"s" * 16)]
    assert await world.query("SELECT count(*) FROM attempt") == [(0,)]


async def test_what_cannot_be_cancelled(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    (event,) = await world.publish(await app_id(world))
    await world.owe([event], endpoint, due_at=2_000_000_000.0)
    await world.app("other")
    foreign = await world.endpoint("other")
    assert (await cancel(world, "nope", endpoint)).code == "event_not_found"
    assert (await cancel(world, format_id(EVENT, b"x" * 16), endpoint)).code == "event_not_found"
    assert (await cancel(world, text(event), "nope")).code == "endpoint_not_found"
    assert (await cancel(world, text(event), foreign)).code == "endpoint_not_found"
    reply = await world.admin.post("/v1/apps/other/deliveries/cancel", {"event": text(event), "endpoint": foreign})
    assert reply.code == "event_not_found"
    client = await world.client_of("other")
    reply = await client.post(f"{APP_URL}/deliveries/cancel", {"event": text(event), "endpoint": endpoint})
    assert (reply.status, reply.code) == (404, "app_not_found")
    assert await world.query("SELECT count(*) FROM delivery") == [(1,)]
    assert await world.query("SELECT count(*) FROM attempt") == [(0,)]


async def test_a_blocked_line_is_found_and_goes_on(world: World) -> None:
    endpoint = await world.endpoint("shop", uid="main")
    other = await world.endpoint("shop")
    events = await world.publish(await app_id(world), b"1", b"2", b"3")
    forever = float("inf")
    await world.owe(events[:1], endpoint, due_at=forever, reason=OwedReason.BLOCKED, line=7)
    await world.owe(events[1:], endpoint, due_at=forever, reason=OwedReason.BEHIND, line=7)
    await world.owe(events, other, due_at=2_000_000_000.0)
    for url in (f"{APP_URL}/deliveries", f"{APP_URL}/deliveries?endpoint=main", "/v1/deliveries"):
        (blocked,) = await everything(world, f"{url}{'&' if '?' in url else '?'}reason=blocked")
        assert (blocked["event"], blocked["endpoint"], blocked["due_at"]) == (text(events[0]), endpoint, None)
    assert len(await everything(world, f"{APP_URL}/deliveries?reason=behind", limit=1)) == 2
    assert (await world.admin.get(f"{APP_URL}/deliveries?reason=nonsense")).status == 422

    assert (await cancel(world, text(events[0]), endpoint)).json()["reason"] == "blocked"
    due = "SELECT event_id, due_at <= clock_timestamp() FROM delivery WHERE endpoint_id = $1 ORDER BY seq"
    rows = await world.query(due, raw(ENDPOINT, endpoint))
    assert rows == [(events[1].id, True), (events[2].id, False)]
    # One from the middle changes nothing for the others.
    assert (await cancel(world, text(events[2]), endpoint)).status == 200
    assert await world.query(due, raw(ENDPOINT, endpoint)) == [(events[1].id, True)]
    assert len(await world.query("SELECT 1 FROM delivery WHERE endpoint_id = $1", raw(ENDPOINT, other))) == 3
