"""The versions of event types that an endpoint pins: are they there?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid
from posthouse.domain.event import is_type_name
from posthouse.domain.limits import NAME_LENGTH_MAX, PAYLOAD_VERSIONS_MAX
from posthouse.ports.event_types import EventTypeStore

FIELD: Final = "payload_versions"
_VERSION_MAX: Final = 2**31 - 1


def check_pins(pins: Mapping[str, int]) -> None:
    """Whether they are well-formed. Raises Invalid."""
    if len(pins) > PAYLOAD_VERSIONS_MAX:
        raise Invalid(f"an endpoint pins versions of at most {PAYLOAD_VERSIONS_MAX} event types", path=FIELD)
    for type, version in pins.items():
        if not is_type_name(type):
            raise _unknown(type)
        if version < 1:
            raise Invalid("versions count from 1", path=f"{FIELD}.{type}")


async def check_pinnable(
    store: EventTypeStore, principal: Principal, pins: Mapping[str, int], *, known: Mapping[str, int], now: float
) -> None:
    """Whether all that are not `known` already are versions, still kept, of types that the principal sees.

    Raises: Invalid.
    """
    new = {type: version for type, version in pins.items() if known.get(type) != version}
    if not new:
        return
    # A version beyond what the store can count is none that it has.
    found = await store.kept_versions(principal, {t: min(v, _VERSION_MAX) for t, v in new.items()}, now=now)
    for type, version in new.items():
        if type not in found:
            raise _unknown(type)
        newest, kept = found[type]
        if not kept:
            raise Invalid(
                f"there is no version {version} of it; the newest is {newest}, and old ones end some time",
                path=f"{FIELD}.{type}",
            )


def _unknown(type: str) -> Invalid:
    return Invalid(f"there is no event type {type[:80]!r}", path=f"{FIELD}.{type[:NAME_LENGTH_MAX]}")
