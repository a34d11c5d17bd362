"""Classes as event types: their schemas fit what is published of their instances."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal, NewType, Optional

import jsonschema_rs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse_sdk import ConfigurationError, Event, EventError, Posthouse, declared_types, event_type
from posthouse_sdk.publishing.schema import schema_of

Sku = NewType("Sku", str)


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Address(typing.TypedDict):
    city: str
    zip: typing.NotRequired[str]


@dataclasses.dataclass
class Line:
    sku: Sku
    price: Decimal
    parent: Optional[Line] = None  # noqa: UP045


@event_type("test.everything", visibility="granted", examples=[{"n": 1}])
@dataclasses.dataclass
class Everything:
    """All that a dataclass may hold,
    for a test.

    More about it.
    """

    name: str
    count: int
    share: float
    sure: bool
    nothing: None
    anything: Any
    at: datetime
    on: date
    clock: time
    id: uuid.UUID
    total: Decimal
    colour: Colour
    kind: Literal["a", 1]
    lines: list[Line]
    pair: tuple[int, str]
    many: tuple[int, ...]
    tags: set[str]
    more: Mapping[str, int]
    bare: dict  # type: ignore[type-arg]
    maybe: int | None
    address: Address
    sequence: Sequence[typing.Annotated[int, "a number"]]
    optional: str = "x"
    others: list[str] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    at: datetime
    total: Decimal = pydantic.Field(alias="theTotal")
    lines: list[Line] = []


class Struct(msgspec.Struct, rename="camel"):
    the_id: uuid.UUID
    at: datetime
    total: Decimal
    maybe: int | None = None


@pydantic.dataclasses.dataclass
class Validated:
    on: date
    count: int = 1


lines = st.builds(Line, st.text(), st.decimals(allow_nan=False, allow_infinity=False))
lines = st.builds(Line, st.text(), st.decimals(allow_nan=False, allow_infinity=False), st.none() | lines)
aware = st.datetimes(timezones=st.just(UTC))
instances: st.SearchStrategy[Any] = st.one_of(
    st.builds(Everything, share=st.floats(allow_nan=False, allow_infinity=False), at=aware, lines=st.lists(lines, max_size=2),
              total=st.decimals(allow_nan=False, allow_infinity=False), sequence=st.lists(st.integers(), max_size=2),
              anything=st.none() | st.integers(), bare=st.just({"x": 1})),
    st.builds(Model, at=aware, theTotal=st.decimals(allow_nan=False, allow_infinity=False, places=2), lines=st.just([])),
    st.builds(Struct, at=aware, total=st.decimals(allow_nan=False, allow_infinity=False)),
    st.builds(Validated),
)  # fmt: skip


def published(instance: Any) -> Any:
    return Event("test.everything" if isinstance(instance, Everything) else "a", instance).data


@given(instances)
@settings(max_examples=30)
def test_what_is_published_fits_the_schema(instance: Any) -> None:
    validator = jsonschema_rs.validator_for(json.loads(json.dumps(schema_of(type(instance)))))
    validator.validate(published(instance))


def test_a_dataclass_says_what_it_needs() -> None:
    schema = schema_of(Everything)
    assert "optional" not in schema["required"]
    assert "others" not in schema["required"]
    assert "maybe" in schema["required"]
    assert schema["properties"]["colour"] == {"enum": ["red", 2]}
    assert schema["properties"]["pair"] == {
        "type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False, "minItems": 2,
    }  # fmt: skip
    assert schema["$defs"]["Line"]["properties"]["parent"] == {"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]}
    assert schema["$defs"]["Address"]["required"] == ["city"]


@pytest.mark.parametrize(
    "wrong", [{"name": 1}, {"lines": [{"sku": "x"}]}, {"pair": [1, "x", 2]}, {"colour": "green"}, {"address": {}}]
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    good = Everything(
        "n", 1, 1.5, True, None, [], datetime.now(UTC), date.today(), time(1), uuid.uuid4(), Decimal(1), Colour.RED, "a",
        [], (1, "x"), (), set(), {}, {}, None, {"city": "x"}, [],
    )  # fmt: skip
    validator = jsonschema_rs.validator_for(schema_of(Everything))
    data = published(good)
    validator.validate(data)
    assert not validator.is_valid(data | wrong)


def test_a_field_that_has_no_schema_is_named() -> None:
    @dataclasses.dataclass
    class Bad:
        raw: list[bytes]

    with pytest.raises(
        ConfigurationError, match=r"Bad\.raw is a <class 'bytes'>, for which there is no JSON Schema here"
    ):
        schema_of(Bad)


def test_what_a_class_declares() -> None:
    (found,) = [declared for declared in declared_types() if declared.cls is Everything]
    declaration = found.declaration()
    assert declaration.pop("schema") == schema_of(Everything)
    assert declaration == {
        "name": "test.everything",
        "description": "All that a dataclass may hold, for a test.",
        "visibility": "granted",
        "examples": [{"n": 1}],
    }


def test_every_kind_of_class_may_be_declared() -> None:
    hub = Posthouse("http://127.0.0.1:9", "k")

    @hub.event_type("test.model", description="A model", examples=[])
    class Declared(pydantic.BaseModel):
        n: int

    @event_type("test.struct")
    class DeclaredStruct(msgspec.Struct):
        n: int

    @event_type("test.slots")
    @dataclasses.dataclass(slots=True, frozen=True)
    class Slots:
        n: int

    for instance, name in ((Declared(n=1), "test.model"), (DeclaredStruct(1), "test.struct"), (Slots(1), "test.slots")):
        event = Event(instance)
        assert (event.type, event.data) == (name, {"n": 1})
    named = {declared.name: declared for declared in declared_types()}
    assert named["test.slots"].description is None, "what @dataclass writes there is no description"
    assert named["test.model"].description == "A model"


def test_modules_say_what_they_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    here, below, other = types.ModuleType("shop"), types.ModuleType("shop.events"), types.ModuleType("api")
    for module, name in ((here, "shop.opened"), (below, "shop.closed")):
        made = type("Made", (), {"__annotations__": {"n": int}, "__module__": module.__name__})
        monkeypatch.setitem(sys.modules, module.__name__, module)
        module.Made = event_type(name)(dataclasses.dataclass(made))  # type: ignore[attr-defined]
    other.Closed = below.Made  # type: ignore[attr-defined]
    assert [declared.name for declared in declared_types([here])] == ["shop.opened", "shop.closed"]
    assert [declared.name for declared in declared_types([other])] == ["shop.closed"]


def test_what_cannot_be_declared_is_told() -> None:
    with pytest.raises(EventError, match="made of letters"):
        event_type("order created")
    with pytest.raises(ConfigurationError, match="visibility is public, granted, private"):
        event_type("a", visibility="secret")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"@event_type goes above @dataclass"):
        dataclasses.dataclass(event_type("test.order")(type("Plain", (), {})))
    with pytest.raises(ConfigurationError, match=r"is declared as test\.everything already"):
        event_type("test.everything")(Line)
    assert Event(Everything.__posthouse_event_type__.name, 1).type == "test.everything"  # type: ignore[attr-defined]
