"""The door for what Posthouse's own triggers saw: the same checks, in the same order, as for a request to publish."""

from __future__ import annotations

from typing import assert_never

import structlog

from posthouse.domain.errors import Conflict, NotFound, Overloaded, PosthouseError, StoreUnavailable
from posthouse.domain.event import JSON_CONTENT, Draft
from posthouse.domain.ids import APP, format_id
from posthouse.domain.verdict import Postponed, Published, Refused, Verdict
from posthouse.intake.catalogue import CatalogueCache
from posthouse.intake.publisher import Publisher
from posthouse.intake.quotas import QuotaGate
from posthouse.ports.catalogue import AppEntry
from posthouse.ports.log import Announced, Appended, AppMissing, Repeated

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
        except (StoreUnavailable, Overloaded, Conflict) as error:
            return Postponed(str(error))
        except PosthouseError as error:
            return Refused(error.code, str(error))
        except Exception:
            log.exception("trigger.publish_failed", type=draft.type)
            return Postponed("a fault of Posthouse's own; its log tells more")
