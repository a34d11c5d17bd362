"""`@hub.fires`: after the function returned, and never at its expense unless it asked for that."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from posthouse_sdk import AsyncPosthouse, EventError, Failure, Posthouse, UnavailableError, event_type
from posthouse_sdk.publishing.emitted import FakeHub
from posthouse_sdk.publishing.recording import recorded

failures: list[Failure] = []
hub = Posthouse("http://127.0.0.1:9", "k", on_failed=failures.append)
on_loop = AsyncPosthouse("http://127.0.0.1:9", "k", on_failed=failures.append)


@dataclasses.dataclass
class Order:
    id: int
    shop: int


@event_type("test.order_created")
@dataclasses.dataclass
class OrderCreated:
    order: int


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    failures.clear()
    found = FakeHub()
    with recorded(found.recorder):
        yield found


def test_it_publishes_what_the_function_returned(fake: FakeHub) -> None:
    @hub.fires("user_register")
    def register(name: str) -> dict[str, str]:
        """Register a user."""
        assert not fake.emitted, "not before it returned"
        return {"username": name}

    assert register("li") == {"username": "li"}
    fake.assert_emitted("user_register", {"username": "li"}, times=1)
    assert (register.__name__, register.__doc__) == ("register", "Register a user.")
    assert list(inspect.signature(register).parameters) == ["name"]


def test_values_are_asked_of_the_result_and_the_arguments(fake: FakeHub) -> None:
    @hub.fires(
        "order_create",
        subject=lambda order: f"shop:{order.shop}",
        data=lambda order, arguments: {"order": order.id, "note": arguments["note"]},
        key=lambda: "fixed",
        channels=("a",),
        app=lambda *given: given[0].shop and "acme",
    )
    def create(shop: int, *, note: str = "none") -> Order:
        return Order(7, shop)

    create(42)
    fake.assert_emitted(
        "order_create", {"order": 7, "note": "none"}, subject="shop:42", key="fixed", channels=["a"], app="acme"
    )


def test_it_does_not_publish_where_the_function_raised(fake: FakeHub) -> None:
    @hub.fires("a")
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails()
    fake.assert_nothing_emitted()


def test_it_publishes_only_when_it_should(fake: FakeHub) -> None:
    @hub.fires("a", when=lambda made: made > 1)
    def make(number: int) -> int:
        return number

    make(1)
    fake.assert_nothing_emitted()
    make(2)
    fake.assert_emitted("a", 2)


def test_event_type_classes(fake: FakeHub) -> None:
    @hub.fires(data=lambda order: OrderCreated(order.id))
    def create() -> Order:
        return Order(7, 1)

    @hub.fires(OrderCreated, data=lambda order: {"order": order.id + 1})
    def create_more() -> Order:
        return Order(7, 1)

    create()
    create_more()
    assert [event.data for event in fake.emitted.of(OrderCreated)] == [{"order": 7}, {"order": 8}]


async def test_coroutines(fake: FakeHub) -> None:
    for number, at in enumerate((hub, on_loop)):

        @at.fires("a", subject=lambda _, arguments: f"shop:{arguments['shop']}")
        async def create(shop: int) -> int:
            return shop

        assert inspect.iscoroutinefunction(create)
        assert await create(number) == number
    assert [event.subject for event in fake.emitted] == ["shop:0", "shop:1"]


def test_methods(fake: FakeHub) -> None:
    class Shop:
        id = 42

        @hub.fires("a", subject=lambda _, arguments: f"shop:{arguments['self'].id}")
        def close(self) -> None: ...

        @staticmethod
        @hub.fires("b")
        def count() -> int:
            return 1

    Shop().close()
    assert Shop.count() == 1
    fake.assert_emitted("a", None, subject="shop:42")


def broken(_result: object) -> str:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("how", "kind"),
    [({"subject": broken}, ZeroDivisionError), ({"data": object()}, EventError), ({"when": broken}, ZeroDivisionError)],
)
def test_what_goes_wrong_is_told_and_does_not_hurt(
    fake: FakeHub, caplog: pytest.LogCaptureFixture, how: dict[str, Any], kind: type[Exception]
) -> None:
    @hub.fires("a", **how)
    def create() -> int:
        return 1

    assert create() == 1
    fake.assert_nothing_emitted()
    (failure,) = failures
    assert (failure.type, type(failure.error), failure.event) == ("a", kind, None)
    assert "create made no event of type a" in caplog.text

    @hub.fires("a", required=True, **how)
    def must_create() -> int:
        return 1

    with pytest.raises(kind):
        must_create()


async def test_a_server_that_is_down_hurts_only_who_asked_for_it(fake: FakeHub) -> None:
    made = []

    @hub.fires("a")
    def create() -> int:
        return 1

    @hub.fires("a", required=True)
    def must_create() -> int:
        made.append(1)
        return 1

    @hub.fires("a", required=True)
    async def must_create_async() -> int:
        return 1

    @on_loop.fires("a", required=True)
    async def must_create_on_loop() -> int:
        return 1

    with fake.down():
        assert create() == 1
        assert [failure.type for failure in failures] == ["a"]
        with pytest.raises(UnavailableError):
            must_create()
        with pytest.raises(UnavailableError):
            await must_create_async()
        with pytest.raises(UnavailableError):
            await must_create_on_loop()
    assert made == [1], "the function did its work by then"
    assert (must_create(), await must_create_async(), await must_create_on_loop()) == (1, 1, 1)
    assert len(fake.emitted) == 3


def test_a_hub_that_takes_nothing_does_not_hurt(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Failure] = []
    closed = Posthouse("http://127.0.0.1:9", "k", on_failed=told.append)
    closed.close()

    @closed.fires("a")
    def create() -> int:
        return 1

    assert create() == 1
    assert [failure.event.type for failure in told if failure.event] == ["a"]
    assert "create published no event of type a" in caplog.text


def test_what_cannot_be_decorated_is_told() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="numbers is a generator"):
        hub.fires("a")(numbers)
    with pytest.raises(TypeError, match="under @staticmethod"):
        hub.fires("a")(staticmethod(print))
    with pytest.raises(TypeError, match="make it async, or use Posthouse"):
        on_loop.fires("a", required=True)(lambda: 1)
    with pytest.raises(TypeError, match="does not know subjekt; it knows data, subject"):
        hub.fires("a", subjekt="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="declare it with @event_type"):
        hub.fires(Order)(lambda: 1)
