"""What is shown of payloads and requests, and what is kept of answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.integration.api_world import World, world_over

from posthouse.domain.ids import ATTEMPT, EVENT, format_id

CARD = b'{"card": {"number": 4111111111111111, "kind": "x"}, "total": 1.50}'
AT = "/v1/apps/shop/endpoints/main"


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        await made.app("shop")
        yield made


async def test_a_payload_is_masked_wherever_it_is_shown(world: World) -> None:
    made = await world.admin.post("/v1/event-types", {"name": "order.paid", "redact": ["/card/number", "/card/number"]})
    assert made.json()["redact"] == ["/card/number"]
    endpoint = await world.endpoint("shop", headers={"Authorization": "Bearer hush", "X-Shop": "42"})
    app = (await world.admin.get("/v1/apps/shop")).json()["id"]
    (event,) = await world.publish(app, CARD, type="order.paid")
    (raw,) = await world.publish(app, b"4111111111111111", type="order.paid", content_type="text/plain")
    (attempt, other) = await world.record([event, raw], endpoint)
    shown = await world.admin.get(f"/v1/events/{format_id(EVENT, event.id)}")
    assert b'"data":{"card":{"number":"[redacted]","kind":"x"},"total":1.50}' in shown.body
    record = (await world.admin.get(f"/v1/attempts/{format_id(ATTEMPT, attempt.id)}")).json()
    assert '"card":{"number":"[redacted]","kind":"x"},"total":1.50' in record["request"]["body"]
    headers = {header["name"]: header["value"] for header in record["request"]["headers"]}
    assert (headers["Authorization"], headers["X-Shop"]) == ("[redacted]", "42")
    for path in (f"events/{format_id(EVENT, raw.id)}", f"attempts/{format_id(ATTEMPT, other.id)}"):
        told = await world.admin.get(f"/v1/{path}")
        assert told.status == 200
        assert b"4111" not in told.body
        assert b"NDExMTEx" not in told.body  # in base64
    # The store has it whole: it is what is delivered, and what is shown once nothing is masked any more.
    assert (await world.admin.patch("/v1/event-types/order.paid", {"redact": []})).json()["redact"] == []
    assert b"4111111111111111" in (await world.admin.get(f"/v1/events/{format_id(EVENT, event.id)}")).body


async def test_pointers_and_rules_are_checked_where_they_are_written(world: World) -> None:
    refused = await world.admin.post("/v1/event-types", {"name": "order.paid", "redact": ["/a", "b"]})
    assert (refused.status, refused.path) == (422, "redact[1]")
    url = {"url": "https://example.com/hooks"}
    refused = await world.admin.put(AT, url | {"redact_answer": {"body": ["token"]}})
    assert (refused.status, refused.path) == (422, "redact_answer.body[0]")
    assert (await world.admin.put(AT, url | {"redact_answer": {"status": 1}})).path == "redact_answer.status"
    rules = {"body": ["/token"], "headers": ["Set-Cookie"]}
    made = await world.admin.put(AT, url | {"redact_answer": rules})
    assert (made.status, made.json()["redact_answer"]) == (201, rules)
    assert (await world.admin.get(f"{AT}/revisions")).json()["data"][0]["config"]["redact_answer"] == rules
    assert (await world.admin.patch(AT, {"redact_answer": None})).json()["redact_answer"] is None


async def test_a_type_that_is_replaced_without_rules_has_none(world: World) -> None:
    at = "/v1/event-types/order.paid"
    await world.admin.put(at, {"redact": ["/a"]})
    assert (await world.admin.patch(at, {"description": "x"})).json()["redact"] == ["/a"]
    assert (await world.admin.put(at, {"description": "y"})).json()["redact"] == []


async def test_a_check_of_a_schema_quotes_nothing_that_is_masked(world: World) -> None:
    await world.admin.post("/v1/event-types", {"name": "order.paid", "redact": ["/card/number"]})
    app = (await world.admin.get("/v1/apps/shop")).json()["id"]
    await world.publish(app, CARD, type="order.paid")
    schema = {"properties": {"card": {"properties": {"number": {"type": "string"}}}}}
    told = await world.admin.post("/v1/event-types/order.paid/check", {"schema": schema})
    assert told.status == 200
    assert b"4111" not in told.body
    assert b"[redacted]" in told.body
