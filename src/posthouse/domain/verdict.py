"""What became of something that a trigger saw and wanted to publish."""

from __future__ import annotations

import msgspec

from posthouse.domain.ids import EventId


class Published(msgspec.Struct, frozen=True):
    """It is in the log for good, as this event; `repeated`: it was there already."""

    event_id: EventId
    repeated: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The event itself is not taken, and nothing was published. The same may be taken later: another schema, more quota."""

    code: str
    reason: str


class Postponed(msgspec.Struct, frozen=True):
    """Our own fault, such as a database that does not answer: it may have been published or not."""

    reason: str


Verdict = Published | Refused | Postponed
