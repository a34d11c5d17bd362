"""The lines of `posthouse tail`: what they say, that each comes once, and that strangers' words do not drive the terminal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from posthouse.cli.sse import Block
from posthouse.cli.tail import APPS_NAMED_MAX, REMEMBERED_MAX, Names, Tail, line, printer
from posthouse.cli.tail import tail as command
from posthouse.domain.errors import Invalid, NotFound

EVENT = {
    "id": "evt_1",
    "app": None,
    "type": "order.created",
    "subject": "shop:42",
    "created_at": "2026-01-02T03:04:05.678Z",
}
ATTEMPT = {
    "id": "att_1",
    "app": "app_1",
    "event": "evt_1",
    "type": "order.created",
    "outcome": "failed",
    "reason": "http_status",
    "status": 503,
    "sent": True,
    "attempt": 2,
    "url": "https://example.com/hooks?token=x",
    "started_at": "2026-01-02T03:04:05.678Z",
    "timings": {"total_ms": 12.4},
}


class NoServer:
    """An API that knows one app. `asked` counts."""

    def __init__(self) -> None:
        self.asked = 0

    def get(self, *path: str) -> Any:
        self.asked += 1
        if path != ("apps", "app_1"):
            raise NotFound("there is no such app")
        return {"uid": "shop"}


def block(kind: str, row: dict[str, Any]) -> Block:
    return Block(kind, msgspec.json.encode(row))


def test_a_line_of_an_attempt_says_how_it_ended_where_and_how_long_it_took() -> None:
    said = line("attempt", ATTEMPT, "shop").plain.split()
    assert said[1:] == [
        "failed",
        "shop",
        "order.created",
        "example.com/hooks",
        "503",
        "12",
        "ms",
        "try",
        "2",
        "http_status",
    ]
    unanswered = ATTEMPT | {"status": None, "reason": "connect_timeout", "attempt": 1, "type": None}
    assert line("attempt", unanswered, "shop").plain.split()[1:] == [
        "failed", "shop", "-", "example.com/hooks", "connect_timeout", "12", "ms",
    ]  # fmt: skip
    given_up = ATTEMPT | {"outcome": "gave_up", "sent": False, "status": None, "reason": "cancelled", "attempt": 1}
    assert "gave up" in line("attempt", given_up, "shop").plain
    assert " ms" not in line("attempt", given_up, "shop").plain


def test_a_line_of_an_event_says_what_it_is_about() -> None:
    assert line("event", EVENT, "-").plain.split()[1:] == ["published", "-", "order.created", "evt_1", "shop:42"]


def test_lines_do_not_drive_the_terminal() -> None:
    hostile = "a\x1b[31m\nb\x9b2J"
    for row in (line("attempt", ATTEMPT | {"type": hostile, "url": hostile, "reason": hostile}, hostile),
                line("event", EVENT | {"type": hostile, "subject": hostile}, hostile)):  # fmt: skip
        assert row.plain.isprintable()


def test_an_endpoint_is_cut() -> None:
    long = ATTEMPT | {"url": "https://example.com/" + "x" * 500}
    assert len(line("attempt", long, "shop").plain) < 160


def test_each_message_once_and_only_what_was_asked_for() -> None:
    shown: list[tuple[str, bytes]] = []
    tail = Tail(lambda kind, data: shown.append((kind, data)), outcomes=frozenset({"failed"}))
    for message in (block("event", EVENT), block("attempt", ATTEMPT)) * 2:
        tail.take(message)
    tail.take(block("attempt", ATTEMPT | {"id": "att_2", "outcome": "delivered"}))
    tail.take(block("something", {"id": "new"}))
    assert [kind for kind, _ in shown] == ["event", "attempt"]
    assert (tail.events, tail.attempts) == (1, 1)


def test_what_it_remembers_is_bounded() -> None:
    tail = Tail(lambda kind, data: None, outcomes=frozenset())
    for number in range(3 * REMEMBERED_MAX):
        tail.take(block("event", EVENT | {"id": f"evt_{number}"}))
    assert len(tail._seen) == REMEMBERED_MAX


def test_apps_have_names_that_are_asked_for_once() -> None:
    server: Any = NoServer()
    names = Names(server)
    assert [names.of(app) for app in ("app_1", "app_1", "app_gone", "app_gone", None)] == [
        "shop",
        "shop",
        "app_gone",
        "app_gone",
        "-",
    ]
    assert server.asked == 2
    for number in range(APPS_NAMED_MAX):
        names.of(f"app_{number + 10}")
    assert len(names._known) <= APPS_NAMED_MAX


def test_json_keeps_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    server: Any = NoServer()
    printer(server, json_wanted=True)("event", b'{"id":"evt_1","n":12345678901234567890.10}')
    assert capsys.readouterr().out == '{"kind":"event","id":"evt_1","n":12345678901234567890.10}\n'


@pytest.mark.parametrize(
    ("outcome", "kinds"), [(["lost"], None), (None, "all"), (["failed"], "events"), (None, ""), (None, "events,")]
)
def test_what_cannot_be_asked_for_is_refused(outcome: list[str] | None, kinds: str | None) -> None:
    with pytest.raises(Invalid, match="--"):
        command(outcome=outcome, kinds=kinds, key="ph_x")
