"""Who is ill, how much each one gets, and that both add up to what is told."""

from __future__ import annotations

from collections import Counter

from bench.measures.isolation import LOUD, PER_APP, behaviour, beset_routes, routes
from bench.programs.ailing import DRIP, FAIL, HANG
from bench.programs.generator import counted
from bench.scale import FULL, QUICK

from posthouse.domain.limits import PAYLOAD_BYTES_MAX


def test_so_many_endpoints_are_ill() -> None:
    endpoints = FULL.isolation_apps * PER_APP
    assert endpoints == 2_000
    found = Counter(behaviour(endpoint) for endpoint in range(endpoints))
    assert found == {None: 1_780, HANG: 100, FAIL: 100, DRIP: 20}


def test_the_loud_app_publishes_half_to_ill_endpoints_of_its_own_too() -> None:
    turns = beset_routes("app", FULL.isolation_apps)
    loud = [route for route in turns if route.app == f"app-{LOUD}"]
    assert len(loud) == len(turns) / 2
    assert {behaviour(LOUD * PER_APP + number) for number in range(PER_APP)} == {None, HANG, DRIP}
    assert len(set(loud)) == PER_APP


def test_everybody_gets_something_and_what_is_ill_is_not_counted() -> None:
    for scale in (FULL, QUICK):
        turns = beset_routes("app", scale.isolation_apps)
        assert len(set(turns)) == scale.isolation_apps * PER_APP
        ill = sum(behaviour(endpoint) is not None for endpoint in range(scale.isolation_apps * PER_APP))
        assert sum(not route.counted for route in set(turns)) == ill
        assert all(route.counted for route in routes("app", scale.isolation_apps))
        assert counted(len(turns), turns) == sum(route.counted for route in turns)


def test_only_the_hanging_get_large_events() -> None:
    small = beset_routes("app", FULL.isolation_apps)
    large = beset_routes("app", FULL.isolation_apps, large=True)
    assert [(r.app, r.type, r.counted) for r in small] == [(r.app, r.type, r.counted) for r in large]
    sizes = Counter(route.body_bytes for route in set(large))
    assert sizes == {0: 1_900, PAYLOAD_BYTES_MAX: 100}
