"""What targets' answers make happen, from the API to the bytes that arrive: JSON, XML and text answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from tests.fakes import until
from tests.serving import ask, call, listed, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse_sdk import Webhook

APP: Final = "/v1/apps/acme"
ENDPOINTS: Final = f"{APP}/endpoints"
TYPES: Final = ("order.created", "order.paid", "order.shipped")
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MASTER_KEY: Final = "a2V5cyBhcmUgdGhpcnR5LXR3byBieXRlcyBsb25nLi4="
OTHERS: Final = ["nothing.else"]  # the events of an endpoint that is only spoken to through others


def answer(body: str, content_type: str = "application/json", *, status: int = 200, more: str = "") -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n{more}\r\n"
    return head.encode() + data


class Desk:
    """A server, and targets that answer what they are told to, the last answer again and again."""

    def __init__(self, server: bootstrap.Posthouse, stack: AsyncExitStack) -> None:
        self.port = server.port
        self.server = server
        self._stack = stack

    async def target(self, *answers: bytes) -> RawTarget:
        left = list(answers)

        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.send(left.pop(0) if len(left) > 1 else left[0])

        return await self._stack.enter_async_context(target(script))

    async def endpoint(self, at: RawTarget, *rules: dict[str, Any], **fields: Any) -> str:
        body = {"url": f"http://127.0.0.1:{at.port}/hook", "on_response": list(rules), "secret": SECRET, **fields}
        made = await call(self.port, "POST", ENDPOINTS, body)
        return str(made["id"])

    async def publish(self, type: str = "order.created", **fields: Any) -> str:
        made = await call(self.port, "POST", f"{APP}/events", {"type": type, "data": {"id": 7}, **fields})
        return str(made["id"])

    async def attempts(self, event: str, count: int = 1) -> list[Any]:
        """Newest first."""
        path = f"{APP}/events/{event}/attempts"
        return await listed(self.port, path, lambda found: len(found) >= count, f"{count} attempts of {event}")

    async def events(self, type: str, count: int = 1, app: str = APP) -> list[Any]:
        return await listed(
            self.port, f"{app}/events?type={type}", lambda found: len(found) >= count, f"{count} events of {type}"
        )

    async def told(self, type: str, count: int = 1) -> list[Any]:
        """What operators were told."""
        found = await self.events(type, count, "/v1/apps/operations")
        return [(await call(self.port, "GET", f"/v1/apps/operations/events/{each['id']}"))["data"] for each in found]


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with serving(database) as running, AsyncExitStack() as stack:
        for name in TYPES:
            await call(running.port, "POST", "/v1/event-types", {"name": name})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield Desk(running, stack)


def bodies(at: RawTarget) -> list[bytes]:
    return [request.partition(b"\r\n\r\n")[2] for request in at.requests]


def summary(attempt: Any) -> tuple[str, str, str | None]:
    reaction = attempt["reaction"]
    return attempt["outcome"], attempt["reason"], None if reaction is None else reaction["then"]


# What becomes of the delivery


async def test_it_is_confirmed_by_the_body_whatever_the_status(desk: Desk) -> None:
    at = await desk.target(answer("<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>", "text/xml", status=500))
    await desk.endpoint(at, {"when": "response.xml.xml.return_code == 'SUCCESS'", "then": "confirm"})
    (attempt,) = await desk.attempts(await desk.publish())
    assert summary(attempt) == ("delivered", "confirmed", "confirm")
    assert (attempt["reaction"]["rule"], attempt["status"]) == ("on_response[0]", 500)


async def test_it_is_tried_again_by_the_body_though_the_status_is_200(desk: Desk) -> None:
    at = await desk.target(answer('{"code": 40001}'), answer('{"code": 0}'))
    await desk.endpoint(at, {"when": "response.body.code == 40001", "then": "retry", "after": 0})
    second, first = await desk.attempts(await desk.publish(), 2)
    assert summary(first) == ("failed", "rule_retry", "retry")
    assert summary(second) == ("delivered", "confirmed", None)


async def test_a_rule_that_always_retries_ends_with_the_attempts_of_the_endpoint(desk: Desk) -> None:
    at = await desk.target(answer("busy", "text/plain"))
    await desk.endpoint(
        at, {"when": "response.text == 'busy'", "then": "retry", "after": 0}, retry={"schedule": [60, 60]}
    )
    found = await desk.attempts(await desk.publish(), 3)
    assert [attempt["outcome"] for attempt in found] == ["gave_up", "failed", "failed"]


async def test_the_schedule_of_a_rule_takes_the_place_of_the_endpoints_own(desk: Desk) -> None:
    at = await desk.target(answer("busy", "text/plain"))
    rule = {"when": "response.text == 'busy'", "then": "retry", "schedule": [0.01]}
    await desk.endpoint(at, rule, retry={"schedule": [60, 60, 60]})
    found = await desk.attempts(await desk.publish(), 2)
    assert [attempt["outcome"] for attempt in found] == ["gave_up", "failed"]


async def test_it_is_given_up_and_the_endpoint_disabled_as_the_answer_says(desk: Desk) -> None:
    at = await desk.target(answer("unknown order", "text/plain", status=400), answer('{"unsubscribe": true}'))
    endpoint = await desk.endpoint(
        at,
        {"when": "response.text == 'unknown order'", "then": "give_up"},
        {"when": "has(response.body.unsubscribe) && response.body.unsubscribe", "then": "disable"},
    )
    (attempt,) = await desk.attempts(await desk.publish())
    assert summary(attempt) == ("gave_up", "rule_give_up", "give_up")
    (attempt,) = await desk.attempts(await desk.publish())
    assert summary(attempt) == ("gave_up", "rule_disable", "disable")
    (told,) = await desk.told("endpoint.disabled")
    assert (told["endpoint"], told["reason"]) == (endpoint, "by_answer")
    shown = await call(desk.port, "GET", f"{ENDPOINTS}/{endpoint}")
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "by_answer")


# Effects


async def test_an_answer_becomes_an_event_in_a_chain(desk: Desk) -> None:
    at = await desk.target(answer('{"payment": {"no": "P-1"}}'))
    await desk.endpoint(
        at,
        {
            "then": "emit",
            "type": "order.paid",
            "data": "{'order': event.data.id, 'payment': response.body.payment.no}",
            "key": "response.body.payment.no",
        },
        events=["order.created"],
    )
    next_one = await desk.target(OK)
    await desk.endpoint(next_one, events=["order.paid"])
    first = await desk.publish(subject="shop:42")
    (event,) = await desk.events("order.paid")
    assert (event["cause"], event["depth"], event["subject"], event["key"]) == (first, 1, "shop:42", "P-1")
    (attempt,) = await desk.attempts(event["id"])
    assert summary(attempt) == ("delivered", "confirmed", None)
    assert json.loads(bodies(next_one)[0])["data"] == {"order": 7, "payment": "P-1"}
    (attempt,) = await desk.attempts(first)
    assert attempt["reaction"] == {
        "rule": "on_response[0]",
        "then": "emit",
        "effects": [{"then": "emit", "recorded": True, "detail": "order.paid", "why": ""}],
    }


@pytest.mark.parametrize(
    ("body", "content_type", "as_type"),
    [
        ('{"a": 1}', "application/json", "application/json"),
        ("<a>1</a>", "application/xml", "application/xml"),
        ("ok", "text/plain", "text/plain"),
    ],
)
async def test_an_answer_is_forwarded_as_it_came(desk: Desk, body: str, content_type: str, as_type: str) -> None:
    """To one endpoint, which listens to something else; nobody else hears of it."""
    at, reply_to, deaf = await desk.target(answer(body, content_type)), await desk.target(OK), await desk.target(OK)
    await desk.endpoint(at, {"then": "forward", "endpoint": "replies"}, events=["order.created"])
    await desk.endpoint(reply_to, uid="replies", events=OTHERS)
    await desk.endpoint(deaf, events=["callback.*", "order.shipped"])
    first = await desk.publish()
    (event,) = await desk.events("callback.answered")
    (attempt,) = await desk.attempts(event["id"])
    assert (event["cause"], event["content_type"]) == (first, as_type)
    assert summary(attempt) == ("delivered", "confirmed", None)
    (received,) = bodies(reply_to)
    assert (json.loads(received)["data"] if content_type.endswith("json") else received.decode()) == (
        json.loads(body) if content_type.endswith("json") else body
    )
    await desk.attempts(await desk.publish("order.shipped"))
    assert len(deaf.requests) == 1, "it hears what it listens to, and not what was forwarded"


async def test_an_answer_is_forwarded_to_a_url_signed_as_for_the_endpoint(desk: Desk) -> None:
    refused = answer("no", "text/plain", status=500)
    at, elsewhere = await desk.target(answer('{"a": 1}')), await desk.target(refused, OK)
    url = f"http://127.0.0.1:{elsewhere.port}/replies"
    endpoint = await desk.endpoint(at, {"then": "forward", "url": url}, retry={"schedule": [0.01, 0.01]})
    await desk.publish()
    (event,) = await desk.events("callback.answered")
    found = await desk.attempts(event["id"], 2)
    assert [summary(attempt) for attempt in found] == [
        ("delivered", "confirmed", None),
        ("failed", "http_status", None),
    ]
    assert {attempt["url"] for attempt in found} == {url}
    assert {attempt["endpoint"] for attempt in found} == {endpoint}
    head, _, body = elsewhere.requests[-1].partition(b"\r\n\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n"))}
    assert Webhook(SECRET).verify(body, headers) is not None
    assert headers["webhook-id"] == event["id"]
    assert json.loads(body)["data"] == {"a": 1}
    assert len(at.requests) == 1


async def test_values_of_answers_are_merged_into_metadata(desk: Desk) -> None:
    at = await desk.target(answer('{"version": 3, "name": "灯"}'), answer('{"version": 4, "name": null}'))
    endpoint = await desk.endpoint(
        at,
        {"then": "set", "metadata": {"version": "response.body.version", "name": "response.body.name"}},
        metadata={"team": "sre"},
    )
    before = (await call(desk.port, "GET", f"{ENDPOINTS}/{endpoint}"))["revision"]

    async def metadata() -> Any:
        return (await call(desk.port, "GET", f"{ENDPOINTS}/{endpoint}"))["metadata"]

    await desk.publish()
    await until_equal(metadata, {"team": "sre", "version": 3, "name": "灯"})
    await desk.publish()
    await until_equal(metadata, {"team": "sre", "version": 4})
    assert (await call(desk.port, "GET", f"{ENDPOINTS}/{endpoint}"))["revision"] == before


async def until_equal(read: Any, wanted: Any) -> None:
    found = None

    async def there() -> bool:
        nonlocal found
        found = await read()
        return bool(found == wanted)

    await until(there, f"{wanted}")


async def test_operators_are_told_what_the_answer_says(desk: Desk) -> None:
    at = await desk.target(answer("余额不足", "text/plain; charset=utf-8"))
    endpoint = await desk.endpoint(at, {"then": "notify", "message": "'answer: ' + response.text"})
    event = await desk.publish()
    (told,) = await desk.told("callback.notified")
    assert (told["endpoint"], told["event"], told["type"]) == (endpoint, event, "order.created")
    assert told["message"] == "answer: 余额不足"


async def test_an_endpoint_is_slowed_down_at_once_and_after_a_restart(database: str) -> None:
    async with AsyncExitStack() as stack:
        async with serving(database, master_key=MASTER_KEY) as running:
            desk = Desk(running, stack)
            await call(desk.port, "POST", "/v1/event-types", {"name": "order.created"})
            await call(desk.port, "POST", "/v1/apps", {"uid": "acme"})
            at = await desk.target(answer("slower", "text/plain"))
            rule = {"when": "response.text == 'slower'", "then": "throttle", "per_second": 0.001, "seconds": 3600}
            await desk.endpoint(at, rule)
            (attempt,) = await desk.attempts(await desk.publish())
            assert attempt["reaction"]["effects"] == [
                {"then": "throttle", "recorded": True, "detail": "0.001/s", "why": ""}
            ]
            await desk.publish()
            path = f"{APP}/deliveries?reason=rate_limited"
            await listed(desk.port, path, lambda found: len(found) == 1, "a delivery that waits for the rate")
        async with serving(database, master_key=MASTER_KEY) as running:
            desk = Desk(running, stack)
            await desk.publish()
            await listed(desk.port, path, lambda found: len(found) == 2, "another one that waits for it")
            assert len(at.requests) == 1


async def test_what_has_no_value_is_not_done_and_costs_the_delivery_nothing(desk: Desk) -> None:
    at = await desk.target(answer("not json", "text/plain"))
    endpoint = await desk.endpoint(
        at,
        {
            "then": "emit",
            "type": "order.paid",
            "data": "response.body.payment.no",
            "also": [{"then": "notify", "message": "'still told'"}],
        },
    )
    event = await desk.publish()
    (attempt,) = await desk.attempts(event)
    assert summary(attempt) == ("delivered", "confirmed", "emit")
    emit, notify = attempt["reaction"]["effects"]
    assert (emit["recorded"], notify["recorded"]) == (False, True)
    assert emit["why"].startswith("data: no value (")
    assert attempt["error"].startswith("emit: data: no value")
    assert (await desk.told("callback.notified"))[0]["message"] == "still told"
    (told,) = await desk.told("callback.failed")
    assert (told["endpoint"], told["event"], told["action"]) == (endpoint, event, "emit")


async def test_what_the_catalogue_refuses_is_told_and_not_tried_for_ever(desk: Desk) -> None:
    schema = {"type": "object", "required": ["no"]}
    await call(desk.port, "POST", "/v1/event-types", {"name": "strict", "schema": schema})
    at = await desk.target(answer('{"yes": 1}'))
    await desk.endpoint(at, {"then": "emit", "type": "strict", "also": [{"then": "forward", "endpoint": "nobody"}]})
    await desk.publish()
    told = await desk.told("callback.failed", 2)
    assert {one["action"] for one in told} == {"emit", "forward"}
    assert any("schema" in one["reason"] for one in told)
    assert desk.server._engine.effects.pending == 0


# Loops


async def test_a_loop_of_two_is_stopped_by_its_depth(desk: Desk) -> None:
    at = await desk.target(OK)
    await desk.endpoint(at, {"then": "emit", "type": "order.paid"}, events=["order.created"])
    await desk.endpoint(at, {"then": "emit", "type": "order.created"}, events=["order.paid"])
    await desk.publish()
    (told,) = await desk.told("chain.stopped")
    assert (told["reason"], told["limit"]) == ("depth", 8)
    found = await desk.events("order.created", 5) + await desk.events("order.paid", 4)
    assert sorted(event["depth"] for event in found) == list(range(9))


async def test_an_endpoint_that_forwards_to_itself_is_stopped(desk: Desk) -> None:
    at = await desk.target(OK)
    await desk.endpoint(at, {"then": "forward", "endpoint": "me"}, uid="me")
    await desk.publish()
    await desk.told("chain.stopped")
    assert len(await desk.events("callback.answered", 8)) == 8


async def test_events_that_make_ever_more_are_stopped_by_a_budget(desk: Desk) -> None:
    desk.server._engine.chains._per_minute_max = 20
    at = await desk.target(OK)
    for _ in range(4):
        await desk.endpoint(at, {"then": "emit", "type": "order.created"})
    await desk.publish()
    told = await desk.told("chain.stopped")
    assert {one["reason"] for one in told} <= {"depth", "budget"}
    assert any(one["reason"] == "budget" for one in told)
    assert len(await desk.events("order.created", 20)) <= 41  # a minute may begin meanwhile


# What may be written


BAD: Sequence[tuple[dict[str, Any], str]] = (
    ({"then": "retry", "after": -1}, "on_response[0].after"),
    ({"then": "retry", "after": 1, "schedule": [1]}, "on_response[0]"),
    ({"then": "retry", "schedule": []}, "on_response[0].schedule"),
    ({"then": "retry", "schedule": [1, 1e9]}, "on_response[0].schedule[1]"),
    ({"then": "throttle", "per_second": 0}, "on_response[0].per_second"),
    ({"then": "throttle", "per_second": 1, "seconds": 0}, "on_response[0].seconds"),
    ({"then": "emit", "type": "no type"}, "on_response[0].type"),
    ({"then": "emit", "type": "a", "data": "1 +"}, "on_response[0].data"),
    ({"then": "forward"}, "on_response[0]"),
    ({"then": "forward", "url": "http://127.0.0.1/", "endpoint": "a"}, "on_response[0]"),
    ({"then": "forward", "url": "ftp://x/"}, "on_response[0].url"),
    ({"then": "forward", "url": "http://10.0.0.1/"}, "on_response[0].url"),
    ({"then": "set", "metadata": {}}, "on_response[0].metadata"),
    ({"then": "set", "metadata": {"a": ""}}, "on_response[0].metadata.a"),
    ({"then": "confirm", "also": [{"then": "retry"}]}, "on_response[0].also[0].then"),
    ({"then": "confirm", "also": [{"then": "notify", "when": "true"}]}, "on_response[0].also[0].when"),
    ({"then": "confirm", "also": [{"then": "notify"}] * 9}, "on_response[0].also"),
    ({"then": "confirm", "also": [{"then": "forward", "url": "ftp://x/"}]}, "on_response[0].also[0].url"),
    ({"then": "explode"}, "on_response[0].then"),
)


async def test_what_cannot_be_done_is_refused_with_its_path(desk: Desk) -> None:
    for rule, path in BAD:
        reply = await ask(desk.port, "POST", ENDPOINTS, {"url": "http://127.0.0.1/", "on_response": [rule]})
        assert reply.status == 422, rule
        assert reply.body["path"] == path, (rule, reply.body)
