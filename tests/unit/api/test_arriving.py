"""What all bodies that arrive may take together is bounded, and is given back."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.api.arriving import Arriving, Room
from posthouse.domain.errors import Overloaded


def test_room_is_bounded_and_given_back() -> None:
    room = Room(10)
    room.take(6)
    with pytest.raises(Overloaded):
        room.take(5)
    room.give_back(6)
    room.take(10)


async def test_what_arrives_takes_room_until_it_ends() -> None:
    room = Room(10)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 4, "more_body": True}

    with Arriving(receive, room) as other:
        with Arriving(receive, room) as one:
            await one()
            await other()
            with pytest.raises(Overloaded):
                await one()
            assert not one.complete
        await other()
    room.take(10)
