"""Which endpoints an event reaches: the compiled router against a plain reading of the rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import is_type_name
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.routing import ROUTES_CACHED_MAX, Router, is_pattern, matches_type

APP = AppId(bytes(16))
types = st.sampled_from(["order", "order.created", "order.item.added", "orders.created", "user_register", "x"])
patterns = st.lists(st.sampled_from(["*", "order", "order.*", "order.created", "user_register", "x.*"]), max_size=3)
channels = st.lists(st.sampled_from("abc"), max_size=2, unique=True)


def endpoint(number: int, events: list[str], on: list[str], *, enabled: bool = True) -> Endpoint:
    return Endpoint(
        id=EndpointId(number.to_bytes(16, "big")), app_id=APP, partition=0, revision=1, url="http://x/", enabled=enabled,
        events=tuple(events), channels=tuple(on),
    )  # fmt: skip


def plainly(endpoint: Endpoint, event_type: str, on: list[str]) -> bool:
    """The documented rule, word for word."""
    typed = not endpoint.events or any(
        p == "*" or p == event_type or (p.endswith(".*") and event_type.startswith(p[:-2] + "."))
        for p in endpoint.events
    )
    heard = not endpoint.channels or bool(set(endpoint.channels) & set(on))
    return endpoint.enabled and typed and heard


@given(
    st.lists(st.tuples(patterns, channels, st.booleans()), max_size=6), st.lists(st.tuples(types, channels), max_size=6)
)
def test_the_router_reads_the_rules_plainly(
    rows: list[tuple[list[str], list[str], bool]], events: list[tuple[str, list[str]]]
) -> None:
    endpoints = tuple(endpoint(n, events_, on, enabled=enabled) for n, (events_, on, enabled) in enumerate(rows))
    router = Router(AppConfig(app_id=APP, partition=0, version=1, endpoints=endpoints))
    for event_type, on in events * 2:  # again, from its cache
        assert router.route(event_type, tuple(on)) == tuple(e for e in endpoints if plainly(e, event_type, on))


def test_what_is_remembered_of_types_is_bounded() -> None:
    router = Router(AppConfig(app_id=APP, partition=0, version=1, endpoints=(endpoint(1, [], []),)))
    for number in range(ROUTES_CACHED_MAX + 10):
        assert router.route(f"type_{number}", ())
    assert len(router._by_type) <= ROUTES_CACHED_MAX


@pytest.mark.parametrize("text", ["*", "order", "order.*", "order.item.*", "user_register", "a-b.c"])
def test_patterns(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text", ["", ".*", "order.**", "*.created", "order*", "order..x", "a b", "order.\0", "x" * 200]
)
def test_what_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


def test_a_prefix_is_not_the_thing_itself() -> None:
    assert not matches_type(["order.*"], "order")
    assert not matches_type(["order.*"], "orders.created")


@pytest.mark.parametrize(
    ("text", "good"),
    [("order.created", True), ("user_register", True), ("A-1.b", True), ("", False), (".a", False), ("a.", False),
     ("a\n", False), ("a..b", False), ("订单", False), ("a" * 129, False)],
)  # fmt: skip
def test_type_names(text: str, good: bool) -> None:
    assert is_type_name(text) is good
