"""Steps that many tests of the log and the store take."""

from __future__ import annotations

import time
from typing import Any, Final

from tests.making import draft, new_app
from tests.worlds import World

from posthouse.domain.delivery import Owed
from posthouse.domain.event import Event
from posthouse.domain.ids import EndpointId
from posthouse.ports.store import Want

LEASE: Final = 3600.0
SOON: Final = float(int(time.time()) + 20)
ALL_DUE: Final = 8_000_000_000.0
"""A `now` at which every row is due."""


async def publish(world: World, count: int, *, partition: int = 1, **fields: Any) -> list[Event]:
    """Append events of a new app, and read them back."""
    app_id = new_app()
    await world.put_app(app_id, partition=partition)
    drafts = [draft(app_id, **fields) for _ in range(count)]
    await world.log.append(drafts)
    made = {d.id for d in drafts}
    after = (await world.log.heads([partition]))[partition].seq - count
    return [event for event in await world.log.read(partition, after, since=None) if event.id in made]


async def owns(world: World, owner: bytes, *, lease: float = LEASE) -> dict[int, int]:
    """Take every partition that is free: the epochs under which they are held."""
    claims = await world.store.claim(owner, limit=10_000, lease_seconds=lease, exclusive=False)
    return {claim.partition: claim.epoch for claim in claims}


async def rows(world: World, partition: int, endpoint_id: EndpointId) -> list[Owed]:
    """All that an endpoint is owed, by due time."""
    (page,) = await world.store.page([Want(partition, endpoint_id, 10_000)], now=ALL_DUE, bytes_max=1 << 40)
    return [row for row, _ in page.rows]
