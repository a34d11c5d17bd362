"""Handing events to the process that owns their partition, to be appended there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from posthouse.domain.event import Draft
from posthouse.ports.log import Appended, AppMissing

HandedResult = Appended | AppMissing

Handed = Callable[[list[HandedResult] | None], None]
"""Told once what became of drafts that were handed over: a result each, durable; or None where that is not known."""


class Handing(Protocol):
    """The way to those who own partitions nearby.

    It is never needed: whoever is not told of a result appends the same drafts itself, and may, for appending is idempotent by
    their ids. It is worth it because an owner that appends what it delivers need not read it, and two that append to the same
    partitions wait for each other in the database.
    """

    def hand(self, partition: int, drafts: Sequence[Draft], told: Handed) -> bool:
        """Hand these drafts, each of an app and without an idempotency key, to the owner of their partition, if it is one that
        can be reached without waiting; then `told` is called, later. False: nothing was done."""
        ...
