"""What a handler may ask for, and what is refused, with the path of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from posthouse.domain.action import (
    AnyAction,
    Disable,
    Emit,
    Forward,
    Notify,
    Resend,
    SetMetadata,
    Throttle,
    check_actions,
)
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import ACTIONS_BYTES_MAX, ACTIONS_MAX

ALL: list[AnyAction] = [
    Emit("order.shipped", {"id": 7}, "shop:1", ""),
    Emit("order.shipped"),
    Forward("crm", data=[1]),
    Forward(url="https://example.com/"),
    SetMetadata({"tier": "gold"}),
    Throttle(0.5, 3600),
    Notify("look"),
    Disable("handler said so"),
    Resend(),
    Resend(after=60),
]


def test_every_action_is_the_same_after_it_was_told() -> None:
    check_actions(ALL)
    assert msgspec.json.decode(msgspec.json.encode(ALL), type=list[AnyAction]) == ALL


@pytest.mark.parametrize(
    ("action", "path"),
    [
        (Emit("no type"), "[0].type"),
        (Emit("a", subject="x" * 2_000), "[0].subject"),
        (Emit("a", key="\0"), "[0].key"),
        (Forward(), "[0]"),
        (Forward("crm", "https://example.com/"), "[0]"),
        (Forward("crm", type=""), "[0].type"),
        (SetMetadata({"x": "y" * 10_000}), "[0].metadata"),
        (Throttle(0), "[0].per_second"),
        (Throttle(float("nan")), "[0].per_second"),
        (Throttle(1, -1), "[0].seconds"),
        (Notify("x" * 10_000), "[0].message"),
        (Disable("x" * 1_000), "[0].reason"),
        (Resend(-1), "[0].after"),
        (Resend(float("inf")), "[0].after"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_place(action: AnyAction, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_actions([action])
    assert refused.value.path == path


@pytest.mark.parametrize("many", [[Notify()] * (ACTIONS_MAX + 1), [Emit("a", "x" * ACTIONS_BYTES_MAX)]])
def test_there_may_not_be_too_much(many: list[Any]) -> None:
    with pytest.raises(Invalid, match="at most"):
        check_actions(many)
