"""What is published, as JSON; and what cannot be, told where it was given."""

from __future__ import annotations

import dataclasses
import enum
import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import pydantic
import pytest

from posthouse_sdk import Event, EventError, event_type


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    at: datetime
    name: str = pydantic.Field(alias="theName")


class Struct(msgspec.Struct, rename="camel"):
    the_id: uuid.UUID


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal


@pydantic.dataclasses.dataclass
class Validated:
    on: date


ID = uuid.UUID(int=5)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ({"名": "é\U0001f600"}, {"名": "é\U0001f600"}),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("9.90"), "9.90"),
        (ID, str(ID)),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ([Line("x", Decimal("1.5"))], [{"sku": "x", "price": "1.5"}]),
        (Model(at=datetime(2026, 1, 2, tzinfo=UTC), theName="n"), {"at": "2026-01-02T00:00:00Z", "theName": "n"}),
        ({"deep": [Struct(ID)]}, {"deep": [{"theId": str(ID)}]}),
        (Validated(date(2026, 1, 2)), {"on": "2026-01-02"}),
    ],
)
def test_values_become_json(value: Any, shown: Any) -> None:
    event = Event("a.b", value)
    assert event.data == shown
    assert json.loads(event.body)["data"] == shown


def test_data_are_what_they_were_when_they_were_given() -> None:
    data = {"n": 1}
    event = Event("a", data)
    data["n"] = 2
    assert event.data == {"n": 1}


def test_every_field_goes_out() -> None:
    event = Event(
        "order.created", {"n": 1}, subject="shop:42", app="acme", key="order:1", channels=["a"], attributes={"x": "y"},
        expires_at=datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=8))), idempotency_key="k1",
    )  # fmt: skip
    assert json.loads(event.body) == {
        "type": "order.created",
        "data": {"n": 1},
        "idempotency_key": "k1",
        "subject": "shop:42",
        "key": "order:1",
        "channels": ["a"],
        "attributes": {"x": "y"},
        "expires_at": "2030-01-01T00:00:00+08:00",
    }
    assert event.app == "acme"


def test_an_expiry_may_be_a_span_from_now() -> None:
    body = json.loads(Event("a", 1, expires_at=timedelta(hours=1)).body)
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_a_key_is_made_for_each_event() -> None:
    assert Event("a", 1).idempotency_key != Event("a", 1).idempotency_key


def test_other_content_goes_out_as_it_is() -> None:
    event = Event("a", b"<x/>", content_type="application/xml", subject="s")
    assert (event.body, event.data, event.is_json) == (b"<x/>", b"<x/>", False)
    assert Event("a", "鸿", content_type="text/plain; charset=utf-8").body == "鸿".encode()


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("given", "more", "told"),
    [
        (("order created", 1), {}, "an event type is made of letters"),
        (("a",), {}, "an event has data"),
        ((7, 1), {}, "an instance of a class declared with @event_type; this is a int"),
        ((Line("x", Decimal(1)),), {}, "this is a Line"),
        (("a", object()), {}, "cannot be JSON: a builtins.object is none"),
        (("a", float("nan")), {}, "cannot be JSON"),
        (("a", {"x": b"raw"}), {}, "encode them"),
        (("a", CIRCLE), {}, "JSON"),
        (("a", "\ud800"), {}, "lone surrogate"),
        (("a", 1), {"subject": ""}, "subject is a text that is not empty"),
        (("a", 1), {"subject": 42}, "subject is a text"),
        (("a", 1), {"idempotency_key": ""}, "1 to 255 printable ASCII"),
        (("a", 1), {"idempotency_key": "k\r\nX: y"}, "1 to 255 printable ASCII"),
        (("a", 1), {"idempotency_key": "k" * 256}, "1 to 255 printable ASCII"),
        (("a", 1), {"expires_at": datetime(2026, 1, 1)}, "no time zone"),
        (
            ("a", 1),
            {"expires_at": "2099-01-01T00:00:00Z"},
            "expires_at is a datetime, or a timedelta from now, and not '2099",
        ),
        (("a", 1), {"channels": "vip"}, "channels is a list of texts, and not 'vip'"),
        (("a", 1), {"channels": ["vip", 1]}, "one of channels is a text that is not empty, and not 1"),
        (("a", 1), {"channels": 7}, "channels is a list of texts"),
        (("a", 1), {"attributes": "x"}, "attributes are texts by name, and not 'x'"),
        (("a", 1), {"content_type": "text/plain"}, "bytes or text, and not a int"),
        (("a", b""), {"content_type": "a\r\nb: c"}, "not a content type"),
        (("a", b"{}"), {"content_type": "application/json"}, "without one"),
        (("a", b""), {"content_type": "text/plain", "key": "k"}, "and nothing else"),
    ],
)
def test_what_cannot_be_an_event_is_told(given: tuple[Any, ...], more: dict[str, Any], told: str) -> None:
    with pytest.raises(EventError, match=told):
        Event(*given, **more)


def test_an_instance_is_its_data_and_knows_its_type() -> None:
    @event_type("test.line_added")
    @dataclasses.dataclass
    class LineAdded:
        sku: str

    event = Event(LineAdded("x"), subject="s")
    assert (event.type, event.data) == ("test.line_added", {"sku": "x"})
    assert Event("test.line_added", LineAdded("x")).data == {"sku": "x"}
    with pytest.raises(EventError, match="is the data already"):
        Event(LineAdded("x"), {"more": 1})
    with pytest.raises(EventError, match=r"of type test\.line_added, and not order\.created"):
        Event("order.created", LineAdded("x"))
