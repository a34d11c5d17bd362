"""Which endpoints an event reaches: the compiled router against a plain reading of the rules."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import an_event

from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import is_type_name
from posthouse.domain.filters import Dialect
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.matching import Attributes, Condition
from posthouse.domain.routing import ROUTES_CACHED_MAX, Router, is_pattern, judged, matches_type

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


regions = st.lists(st.sampled_from(["eu", "us", "cn"]), max_size=2)


@given(
    st.lists(st.tuples(patterns, channels, regions, st.booleans()), max_size=8), st.lists(st.tuples(types, channels))
)
def test_the_router_with_filters_is_a_plain_loop_over_endpoints(
    rows: list[tuple[list[str], list[str], list[str], bool]], events: list[tuple[str, list[str]]]
) -> None:
    endpoints = tuple(
        msgspec.structs.replace(
            endpoint(n, events_, on),
            filters=tuple(Dialect(not_=Dialect(exact={"key": region})) for region in not_in),
            by_app=("filters",) if by_app else (),
        )
        for n, (events_, on, not_in, by_app) in enumerate(rows)
    )
    router = Router(AppConfig(app_id=APP, partition=0, version=1, endpoints=endpoints))
    assert router.filtered is any(e.filters for e in endpoints)
    attributes = Attributes(msgspec.structs.replace(an_event(1), key="eu"))
    for event_type, on in events * 2:
        entries = router.entries(event_type, tuple(on))
        asked = {one for _, one in entries if one is not None}
        verdicts = {one: one.condition.judge(attributes, {}) for one in asked}
        assert len(asked) == len({(repr(e.filters), e.by_app) for e, one in entries if one is not None})
        assert [e for e, verdict in judged(entries, verdicts) if verdict is True] == [
            e for e in endpoints if plainly(e, event_type, on) and Condition(e).judge(attributes, {}) is True
        ]


def test_filters_that_look_at_their_endpoint_are_not_shared() -> None:
    same = [msgspec.structs.replace(endpoint(n, [], []), filter="endpoint.id == event.data.to") for n in range(2)]
    router = Router(AppConfig(app_id=APP, partition=0, version=1, endpoints=tuple(same)))
    (_, first), (_, second) = router.entries("order", ())
    assert first is not None
    assert second is not None
    assert (first.endpoint, second.endpoint) == tuple(same)


def test_what_is_remembered_of_types_is_bounded() -> None:
    router = Router(AppConfig(app_id=APP, partition=0, version=1, endpoints=(endpoint(1, [], []),)))
    for number in range(ROUTES_CACHED_MAX + 10):
        assert router.route(f"type_{number}", ())
        assert router.entries(f"type_{number}", ())
    assert len(router._by_type) <= ROUTES_CACHED_MAX
    assert len(router._entries) <= ROUTES_CACHED_MAX


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
