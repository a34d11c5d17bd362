"""Ordered lines: deliveries of one endpoint that go one after the other, in the order of their events."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from posthouse.domain.delivery import DeliveryClass
from posthouse.domain.endpoint import Ordering

UNORDERED: Final = 0
"""The line of deliveries that wait for nobody."""

_WHOLE: Final = 2  # even: live ones; the odd number after it: those that are sent again


def line_of(ordering: Ordering, key: str | None, kind: DeliveryClass) -> int:
    """The line of a delivery: a number of 64 bits with a sign, as `delivery.key_hash` holds it.

    Deliveries that are sent again on request stand in a line of their own beside the live one. Keys share a line where
    their hashes do: that is order which nobody asked for, and rare.
    """
    if ordering is Ordering.NONE:
        return UNORDERED
    if ordering is Ordering.ENDPOINT:
        line = _WHOLE
    elif key is None:
        return UNORDERED
    else:
        line = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True) & ~1
        if line in (UNORDERED, _WHOLE):
            line = 4
    return line + (kind is DeliveryClass.REPLAY)
