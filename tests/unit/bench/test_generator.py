"""Loads with routes: every event goes where its turn says, and what is counted is numbered without gaps."""

from __future__ import annotations

import json
from typing import Any

from bench.programs.generator import UNCOUNTED, Load, Route, Turns, counted
from hypothesis import given
from hypothesis import strategies as st

ROUTES = [Route("a", "bench.one"), Route("b", "bench.two", counted=False), Route("b", "bench.three", True, 5_000)]


def request(turns: Turns, index: int) -> tuple[str, Any, int]:
    """Its path, its body, and how long that is said to be."""
    head, body = turns.request(index, 1_234).split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    (length,) = (int(line.split(": ")[1]) for line in lines if line.startswith("Content-Length"))
    assert length == len(body)
    assert "Authorization: Bearer key" in lines
    return lines[0].split(" ")[1], json.loads(body), length


def load(routes: list[Route]) -> Load:
    return Load(port=1, key="key", run=7, apps=(), events=1, connections=1, routes=routes)


def test_each_event_goes_where_its_turn_says() -> None:
    turns = Turns(load(ROUTES))
    told = [request(turns, index) for index in range(4)]
    assert [path for path, _, _ in told] == [f"/v1/apps/{app}/events" for app in "abba"]
    assert [body["type"] for _, body, _ in told] == ["bench.one", "bench.two", "bench.three", "bench.one"]
    assert told[0][1]["data"]["t"] == f"{1_234:019d}"
    assert [length for _, _, length in told] == [357, 357, 5_000, 357]


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 40))
def test_what_is_counted_is_numbered_without_gaps(kinds: list[bool], events: int) -> None:
    routes = [Route("a", "bench.one", kind) for kind in kinds]
    turns = Turns(load(routes))
    numbers = [request(turns, index)[1]["data"]["n"] for index in range(events)]
    assert all(number.startswith("0007") for number in numbers)
    found = [int(number[4:]) for number in numbers if int(number[4:]) != UNCOUNTED]
    assert found == list(range(counted(events, routes)))


def test_without_routes_all_is_counted() -> None:
    assert counted(12, ()) == 12
