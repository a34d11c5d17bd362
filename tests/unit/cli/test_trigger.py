"""The explanation of a dry run."""

from __future__ import annotations

from typing import Any

from posthouse.cli.trigger import explained

ROUTING: dict[str, Any] = {
    "type": "order.created",
    "subject": "shop:42",
    "reached": [
        {
            "app": "app_1",
            "uid": "acme",
            "endpoints": [
                {"endpoint": "ep_1", "uid": "ledger", "url": "https://acme.example/hook", "reason": "hears order.*"},
                {"endpoint": "ep_2", "uid": None, "url": "https://acme.example/all", "reason": "hears all"},
            ],
        }
    ],
    "not_reached": [
        {"app": "app_1", "uid": "acme", "endpoint": "ep_3", "reason": "disabled", "explanation": "it answered 410"},
        {"app": "app_2", "uid": None, "endpoint": None, "reason": "no_grant", "explanation": "none covers shop:42"},
    ],
    "truncated": False,
}


def lines(routing: dict[str, Any]) -> list[str]:
    return [line.plain for line in explained(routing)]


def test_whom_it_would_reach_and_why_not_the_others() -> None:
    assert lines(ROUTING) == [
        "order.created about shop:42 would reach 2 endpoints of 1 app",
        "  acme (app_1)",
        "    ✓ ledger (ep_1)  https://acme.example/hook",
        "      hears order.*",
        "    ✓ ep_2  https://acme.example/all",
        "      hears all",
        "",
        "Not reached",
        "  ✗ acme (app_1) / ep_3  disabled",
        "      it answered 410",
        "  ✗ app_2  no_grant",
        "      none covers shop:42",
    ]


def test_nobody() -> None:
    assert lines(ROUTING | {"reached": [], "not_reached": [], "subject": None}) == [
        "order.created would reach nobody",
        "  no app has a grant for this type and this subject; `posthouse grants add` gives one",
    ]


def test_what_strangers_wrote_does_not_drive_the_terminal() -> None:
    told = lines(ROUTING | {"subject": "\x1b]0;evil\x07"})[0]
    assert "\x1b" not in told
    assert "\x07" not in told
