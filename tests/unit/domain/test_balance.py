"""The order in which an endpoint's URLs are tried: each once, equal ones as their weights or the key say, then fallbacks."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.balance import order_of, urls_of
from posthouse.domain.endpoint import Balance, Endpoint, EqualUrl
from posthouse.domain.event import Event
from posthouse.domain.ids import AppId, EndpointId, EventId

OWN = "https://own.example/"
NOBODY = bytes(16)


def endpoint(*equal: EqualUrl, fallbacks: tuple[str, ...] = (), balance: Balance = Balance.WEIGHTED) -> Endpoint:
    return Endpoint(
        id=EndpointId(NOBODY),
        app_id=AppId(NOBODY),
        partition=0,
        revision=1,
        url=OWN,
        equal_urls=equal,
        fallback_urls=fallbacks,
        balance=balance,
    )


def event(number: int = 0, *, key: str | None = None, subject: str | None = None) -> Event:
    return Event(
        id=EventId(number.to_bytes(16, "big")),
        partition=0,
        seq=1,
        app_id=AppId(NOBODY),
        type="a",
        payload=b"1",
        content_type="application/json",
        created_at=0.0,
        config_version=1,
        key=key,
        subject=subject,
    )


weights = st.lists(st.integers(1, 1_000), max_size=8)


def with_weights(given_weights: list[int], *, fallbacks: int = 0, balance: Balance = Balance.WEIGHTED) -> Endpoint:
    equal = [EqualUrl(f"https://equal-{number}.example/", weight) for number, weight in enumerate(given_weights)]
    return endpoint(*equal, fallbacks=tuple(f"https://spare-{n}.example/" for n in range(fallbacks)), balance=balance)


def test_one_url_is_no_choice() -> None:
    assert order_of(endpoint(), event(), 0.5) == (0,)
    assert order_of(endpoint(), event(), 0.1) is order_of(endpoint(), event(1), 0.9), "it costs nothing"
    assert urls_of(endpoint()) == (OWN,)


def test_fallbacks_come_in_their_order() -> None:
    target = endpoint(fallbacks=("https://b.example/", "https://c.example/"))
    assert order_of(target, event(), 0.9) == (0, 1, 2)
    assert urls_of(target) == (OWN, "https://b.example/", "https://c.example/")


@given(weights, st.integers(0, 5), st.sampled_from(Balance), st.floats(0, 1, exclude_max=True), st.text())
def test_each_url_has_one_place_and_fallbacks_the_last_ones(
    given_weights: list[int], fallbacks: int, balance: Balance, draw: float, key: str
) -> None:
    target = with_weights(given_weights, fallbacks=fallbacks, balance=balance)
    order = order_of(target, event(key=key), draw)
    equal = len(given_weights) + 1
    assert sorted(order[:equal]) == list(range(equal))
    assert order[equal:] == tuple(range(equal, equal + fallbacks))
    assert len(urls_of(target)) == len(order)


def test_weights_are_chances() -> None:
    target = with_weights([3, 6])
    random = Random(7)
    orders = Counter(order_of(target, event(), random.random()) for _ in range(20_000))
    first = Counter[int]()
    for order, count in orders.items():
        first[order[0]] += count
    for index, weight in ((0, 1), (1, 3), (2, 6)):
        assert abs(first[index] / 20_000 - weight / 10) < 0.015
    after_the_last = orders[2, 1, 0] / (orders[2, 1, 0] + orders[2, 0, 1])
    assert abs(after_the_last - 3 / 4) < 0.02, "of those that are left, too"


def test_sticky_follows_weights_over_many_keys() -> None:
    target = with_weights([3, 6], balance=Balance.STICKY)
    first = Counter(order_of(target, event(key=f"shop-{number}"), 0.0)[0] for number in range(10_000))
    for index, weight in ((0, 1), (1, 3), (2, 6)):
        assert abs(first[index] / 10_000 - weight / 10) < 0.02


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2**64), st.text(min_size=1))
def test_sticky_asks_the_key_then_the_subject_then_the_event(draw: float, number: int, name: str) -> None:
    target = with_weights([1, 1, 1], balance=Balance.STICKY)
    by_key = order_of(target, event(key=name), 0.0)
    assert order_of(target, event(number, key=name, subject="other"), draw) == by_key
    assert order_of(target, event(number, subject=name), draw) == by_key
    assert order_of(target, event(number), draw) == order_of(target, event(number), 0.0)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=8), st.data())
def test_a_url_that_leaves_moves_only_what_was_its_own(given_weights: list[int], data: st.DataObject) -> None:
    target = with_weights(given_weights, balance=Balance.STICKY)
    leaving = data.draw(st.sampled_from(target.equal_urls))
    rest = endpoint(*(equal for equal in target.equal_urls if equal is not leaving), balance=Balance.STICKY)
    for number in range(20):
        before = [urls_of(target)[index] for index in order_of(target, event(key=str(number)), 0.0)]
        after = [urls_of(rest)[index] for index in order_of(rest, event(key=str(number)), 0.0)]
        assert after == [url for url in before if url != leaving.url]
