"""How much apps store, for those whose quota bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from posthouse.domain.ids import AppId


class Stretch(msgspec.Struct, frozen=True):
    """The events of an app with ids after one and before another."""

    app_id: AppId
    partition: int
    after: bytes
    before: bytes


class Counted(msgspec.Struct, frozen=True):
    """What a stretch holds of one day (days since 1970, UTC), as far as it was read. `last` is the last id of these."""

    stretch: int  # which one it is of those that were asked for
    day: int
    payload_bytes: int
    events: int
    last: bytes


class Usage(Protocol):
    async def bounded_apps(self, *, after: bytes, limit: int) -> list[tuple[AppId, int]]:
        """The apps with a quota of stored bytes, each with its partition, in the order of their ids after one."""
        ...

    async def count(self, stretches: Sequence[Stretch], *, events_max: int) -> list[Counted]:
        """The payloads of the first `events_max` events of each stretch, by day."""
        ...
