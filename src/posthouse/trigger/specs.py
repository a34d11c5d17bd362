"""A trigger as its kind is told of it."""

from __future__ import annotations

import msgspec

from posthouse.domain.ids import TRIGGER, format_id
from posthouse.domain.trigger import Trigger, opened
from posthouse.ports.sources import Spec


def spec_of(trigger: Trigger) -> Spec:
    """Raises Conflict where its settings do not open."""
    opened(trigger)
    return Spec(
        id=format_id(TRIGGER, trigger.id),
        name=trigger.reference,
        settings=msgspec.json.decode(trigger.config.settings),
        generation=trigger.generation,
    )
