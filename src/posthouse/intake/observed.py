"""The door for what Posthouse's own triggers saw: the same checks, in the same order, as for a request to publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

import structlog

from posthouse.domain.errors import (
    Conflict,
    NotFound,
    Overloaded,
    PosthouseError,
    QuotaExceeded,
    StoreRejected,
    StoreUnavailable,
    TooLarge,
)
from posthouse.domain.event import JSON_CONTENT, Draft
from posthouse.domain.ids import APP, format_id
from posthouse.domain.verdict import Postponed, Published, Refused, Verdict
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.ports.catalogue import AppEntry
from posthouse.ports.log import Announced, Appended, AppendResult, AppMissing, Repeated

log = structlog.get_logger()


class ObservedEvents:
    """Checks drafts against the catalogue and the quotas, and appends them."""

    def __init__(self, catalogue: CatalogueCache, quotas: QuotaGate, publisher: Publisher) -> None:
        self._catalogue = catalogue
        self._quotas = quotas
        self._publisher = publisher

    async def check(self, draft: Draft) -> AppEntry | None:
        """The app that it is for, if it is for one. Raises NotFound (the type, or the app), Invalid (the data do not fit its
        schema)."""
        entry = None if draft.app_id is None else await self._catalogue.app(format_id(APP, draft.app_id))
        await self._catalogue.check(
            draft.type, draft.payload if draft.content_type == JSON_CONTENT else None, path="data"
        )
        return entry

    async def publish(self, draft: Draft) -> Published:
        """Durable when this returns. Raises NotFound, Invalid, QuotaExceeded, and what `Publisher.submit` does."""
        entry = await self.check(draft)
        if entry is not None and entry.quotas is not None:
            self._quotas.admit(entry, events=1, size=len(draft.payload))
        (result,) = await self._publisher.submit(0 if entry is None else entry.partition, [draft])
        return self._published(draft, result)

    def _published(self, draft: Draft, result: AppendResult) -> Published:
        match result:
            case Appended() | Announced():
                return Published(draft.id, repeated=False)
            case Repeated(event_id=event_id):
                return Published(event_id, repeated=True)
            case AppMissing():
                assert draft.app_id is not None, "a platform event is for whoever is there"
                self._catalogue.forget_app(format_id(APP, draft.app_id))
                raise NotFound("there is no such app any more", code="app_not_found")
            case _:
                assert_never(result)

    async def judged(self, draft: Draft) -> Verdict:
        """As `publish`, with every failure told apart: the event's own, or ours."""
        try:
            return await self.publish(draft)
        except _OURS as error:
            return Postponed(str(error))
        except PosthouseError as error:
            return Refused(error.code, str(error))
        except Exception:
            log.exception("trigger.publish_failed", type=draft.type)
            return Postponed(_A_FAULT)

    async def in_order(self, drafts: Sequence[Draft]) -> list[Verdict]:
        """Publish them so that they are in the log in their order, in as few commits as can be: a verdict each. What comes
        after one that is postponed is postponed, too; one that is refused holds up no other."""
        verdicts: list[Verdict | None] = [None] * len(drafts)
        group: list[int] = []
        group_partition = 0
        try:
            for index, draft in enumerate(drafts):
                try:
                    entry = await self.check(draft)
                    if entry is not None and entry.quotas is not None:
                        self._quotas.admit(entry, events=1, size=len(draft.payload))
                except QuotaExceeded as error:
                    if error.retry_after is not None:
                        raise
                    verdicts[index] = Refused(error.code, str(error))
                    continue
                except _OURS:
                    raise
                except PosthouseError as error:
                    verdicts[index] = Refused(error.code, str(error))
                    continue
                partition = _PLATFORM if entry is None else entry.partition
                if group and partition != group_partition:
                    await self._append(drafts, group, group_partition, verdicts)
                    group = []
                group_partition = partition
                group.append(index)
            await self._append(drafts, group, group_partition, verdicts)
        except (*_OURS, QuotaExceeded) as error:
            reason = str(error)
        except Exception:
            log.exception("trigger.publish_failed", events=len(drafts))
            reason = _A_FAULT
        else:
            return [verdict or Postponed(_A_FAULT) for verdict in verdicts]
        first = verdicts.index(None)
        # Those that were refused behind the first that has to come again are looked at again with it.
        return [verdict or Postponed(reason) for verdict in verdicts[:first]] + [
            Postponed(reason) for _ in verdicts[first:]
        ]

    async def _append(
        self, drafts: Sequence[Draft], group: Sequence[int], partition: int, verdicts: list[Verdict | None]
    ) -> None:
        """Of one partition, or of none, in one commit; one by one where the store refuses something of it."""
        if not group:
            return
        try:
            results = await self._publisher.submit(max(partition, 0), [drafts[index] for index in group])
        except (StoreRejected, TooLarge) as error:
            if len(group) == 1:
                verdicts[group[0]] = Refused(error.code, str(error))
                return
            for index in group:
                await self._append(drafts, [index], partition, verdicts)
            return
        for index, result in zip(group, results, strict=True):
            try:
                verdicts[index] = self._published(drafts[index], result)
            except NotFound as error:
                verdicts[index] = Refused(error.code, str(error))


_PLATFORM: Final = -1
"""In the place of a partition, of events that are for whoever is there."""
_OURS: Final = (StoreUnavailable, Overloaded, Conflict)
_A_FAULT: Final = "a fault of Posthouse's own; its log tells more"
