"""The fixture `posthouse`, as users have it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posthouse_sdk import AsyncPosthouse, Event, InvalidEventError, Posthouse, UnavailableError, event_type
from posthouse_sdk.publishing.emitted import FakeHub

hub = Posthouse("http://127.0.0.1:9", "k")
on_event = hub.on_event


@event_type("test.bought")
@dataclasses.dataclass
class Bought:
    sku: str
    count: int = 1


def test_every_hub_is_replaced(posthouse: FakeHub) -> None:
    on_event("user_register", {"username": "li"})
    Posthouse("http://127.0.0.1:9", "k").publish("user_register", {"username": "wu"}, subject="shop:1")
    hub.publish_many([Event("a", 1), Event("b", 2)])

    async def on_a_loop() -> None:
        async with AsyncPosthouse("http://127.0.0.1:9", "k") as other:
            assert (await other.publish("c", 3)).type == "c"
            assert (await other.on_event("d", 4)).id.startswith("evt_")

    asyncio.run(on_a_loop())
    assert posthouse.emitted.types == ["user_register", "user_register", "a", "b", "c", "d"]
    assert [event.data["username"] for event in posthouse.emitted.of("user_register")] == ["li", "wu"]
    assert posthouse.emitted.about("shop:1")[0].data == {"username": "wu"}
    assert posthouse.emitted[-1].type == "d"


def test_each_test_begins_with_nothing(posthouse: FakeHub) -> None:
    posthouse.assert_nothing_emitted()


def test_assertions(posthouse: FakeHub) -> None:
    on_event("order.created", {"id": 7, "shop": {"id": 1, "name": "x"}}, subject="shop:1", key="k", channels=["c"])
    on_event(Bought("x"))
    found = posthouse.assert_emitted("order.created", including={"shop": {"id": 1}}, subject="shop:1", key="k", times=1)
    assert (found.data["id"], found.channels) == (7, ["c"])
    posthouse.assert_emitted(Bought, {"sku": "x", "count": 1})
    posthouse.assert_emitted("order.created", where=lambda event: event.data["id"] > 5)
    posthouse.assert_emitted("order.created", subject="shop:2", times=0)
    posthouse.assert_not_emitted("order.paid")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"what": "order.paid"}, "no order.paid; emitted were\n  0: order.created {\"id\": 7}, subject='shop:1'"),
        ({"what": "order.created", "data": {"id": 8}}, "no order.created with data={'id': 8}; emitted were"),
        ({"what": "order.created", "subject": "shop:2"}, "no order.created with subject='shop:2'"),
        ({"what": "order.created", "including": {"x": 1}}, "no order.created with data including {'x': 1}"),
        ({"what": "order.created", "times": 2}, "1 order.created instead of 2"),
        ({"what": "order.created", "where": lambda event: False}, "for which `where` is true"),
    ],
)
def test_an_assertion_that_fails_shows_what_was_emitted(posthouse: FakeHub, wanted: dict[str, Any], told: str) -> None:
    on_event("order.created", {"id": 7}, subject="shop:1")
    with pytest.raises(AssertionError) as failed:
        posthouse.assert_emitted(**wanted)
    assert told in str(failed.value)
    with pytest.raises(AssertionError, match=r"was not to be emitted; emitted were"):
        posthouse.assert_not_emitted("order.created")
    with pytest.raises(AssertionError, match="nothing was to be emitted"):
        posthouse.assert_nothing_emitted()
    with pytest.raises(TypeError, match="an event has no subjekt"):
        posthouse.assert_emitted("order.created", subjekt="x")


def test_data_are_held_to_their_schema(posthouse: FakeHub) -> None:
    with pytest.raises(InvalidEventError, match=r"data\.count: .*is not of type \"integer\""):
        hub.publish(Bought("x", "many"))  # type: ignore[arg-type]
    assert isinstance(on_event("test.bought", {}).exception(0), InvalidEventError)
    posthouse.schemas["order.created"] = {"required": ["id"]}
    with pytest.raises(InvalidEventError, match=r"^\[1\]\.data: "):
        hub.publish_many([Event("a", 1), Event("order.created", {})])
    posthouse.assert_nothing_emitted()


def test_a_hub_may_be_down(posthouse: FakeHub) -> None:
    with posthouse.down():
        with pytest.raises(UnavailableError):
            hub.publish("a", 1)
        assert isinstance(on_event("a", 1).exception(0), UnavailableError)
    with posthouse.down(InvalidEventError(422, "invalid", "no")), pytest.raises(InvalidEventError):
        hub.publish("a", 1)
    posthouse.assert_nothing_emitted()
    hub.publish("a", 1)


def test_one_idempotency_key_is_one_event(posthouse: FakeHub) -> None:
    first = hub.publish("a", 1, idempotency_key="k")
    assert hub.publish("a", 1, idempotency_key="k") == first
    assert len(posthouse.emitted) == 1


USERS = """
from posthouse_sdk import ConfigurationError, Posthouse
import pytest

hub = Posthouse()  # as the platform's module makes it, without any configuration

def test_with(posthouse):
    hub.on_event("a", {"n": 1})
    posthouse.assert_emitted("a", {"n": 1})

def test_without():
    with pytest.raises(ConfigurationError, match="set POSTHOUSE_URL"):
        hub.publish("a", 1)

def test_fails(posthouse):
    posthouse.assert_emitted("b")
"""


def test_the_plugin_is_there_by_itself(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POSTHOUSE_", "PYTEST_"))}
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_users.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "1 failed, 2 passed" in told.stdout, told.stdout + told.stderr
    assert "AssertionError: no b; nothing was emitted" in told.stdout
    assert "posthouse_sdk/publishing/emitted.py" not in told.stdout, "a failure is shown at the user's line"
