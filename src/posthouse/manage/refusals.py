"""What triggers saw and set aside: looked at, tried again, or let be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Draft
from posthouse.domain.ids import REFUSAL, TRIGGER, AppId, RefusalId, format_id, parse_id
from posthouse.domain.inbound import LOOKED_AT_ONLY
from posthouse.domain.limits import TRIGGER_SET_ASIDE_MAX
from posthouse.domain.trigger import Trigger
from posthouse.domain.verdict import Postponed, Published, Refused
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.observed import ObservedEvents
from posthouse.manage.access import audit
from posthouse.manage.triggers import Triggers
from posthouse.ports.clock import Clock
from posthouse.ports.expressions import Expressions
from posthouse.ports.triggers import Refusal, TriggerBook
from posthouse.trigger.mapping import LeftOut, Mapping

PAGE: Final = 200
NAMED_MAX: Final = 200


class Retried(msgspec.Struct, frozen=True):
    """What became of what was tried again. `postponed`: something of our own stopped it before the end, and says why."""

    published: int = 0
    left_out: int = 0
    refused: int = 0
    postponed: str | None = None


class Refusals:
    """Administrators see and settle what triggers set aside."""

    def __init__(
        self,
        triggers: Triggers,
        book: TriggerBook,
        door: ObservedEvents,
        catalogue: CatalogueCache,
        expressions: Expressions,
        clock: Clock,
        *,
        payload_bytes_max: int,
    ) -> None:
        self._triggers = triggers
        self._book = book
        self._door = door
        self._catalogue = catalogue
        self._expressions = expressions
        self._clock = clock
        self._payload_bytes_max = payload_bytes_max

    async def page(self, principal: Principal, trigger: str, *, after: bytes, limit: int) -> list[Refusal]:
        """The oldest first, from above an id. Raises NotFound, Forbidden."""
        found = await self._triggers.get(principal, trigger)
        return await self._book.refusals(found.id, after=after, limit=limit)

    async def retry(self, principal: Principal, trigger: str, ids: Sequence[str] | None) -> Retried:
        """Publish these (None: all) as the trigger now is; what is refused again stays, with the reason of now. So does what is
        there to be looked at alone, as it is. Raises NotFound, Invalid, Forbidden."""
        found = await self._triggers.get(principal, trigger)
        mapping = Mapping(
            found, self._expressions, self._clock, self._find_app, payload_bytes_max=self._payload_bytes_max
        )
        told = Retried()
        if ids is not None:
            told = await self._again(found, mapping, await self._book.refusals_of(found.id, _parsed(ids)), told)
        else:
            after = bytes(16)
            for _ in range(TRIGGER_SET_ASIDE_MAX // PAGE + 1):
                rows = await self._book.refusals(found.id, after=after, limit=PAGE)
                if not rows or told.postponed is not None:
                    break
                after = rows[-1].id
                told = await self._again(found, mapping, rows, told)
        entry = audit(
            principal, "trigger.retried", format_id(TRIGGER, found.id), published=told.published, refused=told.refused
        )
        await self._book.resolve(found.id, [], {}, entry)
        return told

    async def discard(self, principal: Principal, trigger: str, ids: Sequence[str] | None) -> int:
        """Let these (None: all) be, for good; how many there were. Raises NotFound, Invalid, Forbidden."""
        found = await self._triggers.get(principal, trigger)
        thing = format_id(TRIGGER, found.id)
        if ids is not None:
            return await self._book.resolve(
                found.id, _parsed(ids), {}, audit(principal, "trigger.discarded", thing, ids=list(ids))
            )
        count = 0
        while rows := await self._book.refusals(found.id, after=bytes(16), limit=PAGE):
            count += await self._book.resolve(found.id, [row.id for row in rows], {})
        await self._book.resolve(found.id, [], {}, audit(principal, "trigger.discarded", thing, count=count))
        return count

    async def _again(self, trigger: Trigger, mapping: Mapping, rows: Sequence[Refusal], told: Retried) -> Retried:
        drafts: list[Draft] = []
        drafted: list[Refusal] = []
        done: list[RefusalId] = []
        failed: dict[RefusalId, tuple[str, str]] = {}
        postponed: str | None = None
        waiting = [row for row in rows if row.code not in LOOKED_AT_ONLY]
        for row in waiting:
            match await mapping.draft_of(row.observation):
                case Draft() as draft:
                    drafts.append(draft)
                    drafted.append(row)
                case LeftOut():
                    done.append(row.id)
                case Refused(code=code, reason=reason):
                    failed[row.id] = (code, reason)
                case Postponed(reason=reason):
                    postponed = reason
                    break
        left_out = len(done)
        for row, verdict in zip(drafted, await self._door.in_order(drafts) if drafts else (), strict=True):
            match verdict:
                case Published():
                    done.append(row.id)
                case Refused(code=code, reason=reason):
                    failed[row.id] = (code, reason)
                case Postponed(reason=reason):
                    postponed = reason
        await self._book.resolve(trigger.id, done, failed)
        refused = told.refused + len(failed) + len(rows) - len(waiting)
        return Retried(told.published + len(done) - left_out, told.left_out + left_out, refused, postponed)

    async def _find_app(self, reference: str) -> AppId:
        return (await self._catalogue.app(reference)).id


def _parsed(ids: Sequence[str]) -> list[RefusalId]:
    if not 0 < len(ids) <= NAMED_MAX:
        raise Invalid(f"name 1 to {NAMED_MAX} of them, or none for all", path="ids")
    found = []
    for index, text in enumerate(ids):
        raw = parse_id(REFUSAL, text)
        if raw is None:
            raise Invalid(f"{text[:80]!r} is no id of something that was set aside", path=f"ids[{index}]")
        found.append(RefusalId(raw))
    return found
