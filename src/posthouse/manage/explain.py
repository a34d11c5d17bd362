"""Whom an event would reach, and why every other candidate would not hear of it. Nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.endpoint import AppConfig, Endpoint
from posthouse.domain.event import Draft, Event
from posthouse.domain.expression import Failed
from posthouse.domain.filters import OnFilterError
from posthouse.domain.ids import APP, AppId, EndpointId, format_id, unix_ms_of
from posthouse.domain.limits import EXPLAINED_APPS_MAX, EXPLAINED_ENDPOINTS_MAX
from posthouse.domain.matching import Attributes, Outcomes, Verdict, refused_by
from posthouse.domain.platform_routes import PLATFORM_APP, PLATFORM_UID, attributes_for
from posthouse.domain.routing import Router, matches_channels, matches_type
from posthouse.ports.expressions import Expressions
from posthouse.ports.routing import Candidate, Listener, NearMiss, RoutingView
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.filters import outcomes_of
from posthouse.send.preparing import prepared_alone
from posthouse.wire.transforming import NotEvaluated, NotTransformed

FILTER_SHOWN_MAX: Final = 200  # characters
ONLY_ENDPOINT: Final = "the event follows from an answer, and is for one endpoint alone"


class Reason(StrEnum):
    """Why an endpoint is reached, or why an app or an endpoint is not."""

    MATCHED = "matched"
    PLATFORM_ROUTE = "platform_route"
    PAUSED = "paused"
    UNVERIFIED = "unverified"
    DISABLED = "disabled"
    OTHER_TYPES = "other_types"
    OTHER_CHANNELS = "other_channels"
    FILTERED = "filtered"
    FILTER_FAILED = "filter_failed"
    NO_ENDPOINTS = "no_endpoints"
    PRIVATE_TYPE = "private_type"
    NO_GRANT_FOR_TYPE = "no_grant_for_type"
    NO_GRANT_FOR_SUBJECT = "no_grant_for_subject"
    GRANT_ENDED = "grant_ended"


class Target(msgspec.Struct, frozen=True):
    """An endpoint that the event would be sent to (a paused one: as soon as it is resumed; an unverified one: as soon as it is
    verified), at `url`: None where its dynamic URL comes to nothing. `explanation` is there where that is so, where it is its
    default for filters that have no value, and for a platform route: why it hears of the event."""

    endpoint: Candidate
    reason: Reason
    url: str | None
    explanation: str | None = None


class Reached(msgspec.Struct, frozen=True):
    """An app that the event is for, and its endpoints that it would be sent to."""

    app: Listener
    endpoints: tuple[Target, ...]


class NotReached(msgspec.Struct, frozen=True):
    """An app, or one endpoint of an app that the event is for, and why not."""

    app: Listener
    endpoint: Candidate | None
    reason: Reason
    explanation: str


class Explanation(msgspec.Struct, frozen=True):
    """`truncated`: there are more apps or endpoints than are shown."""

    type: str
    subject: str | None
    reached: tuple[Reached, ...]
    not_reached: tuple[NotReached, ...]
    truncated: bool


class Explainer:
    """Explains with the rules by which events are routed, and with the filters evaluated as they are for an event."""

    def __init__(self, view: RoutingView, expressions: Expressions, writer: Writer = WRITTEN_HERE) -> None:
        self._view = view
        self._expressions = expressions
        self._writer = writer

    async def explain(self, draft: Draft) -> Explanation:
        """As of now, for a draft to one app or to whoever a grant covers."""
        if draft.app_id is not None and draft.only is not None:
            return await self._only(draft, Listener(draft.app_id, draft.app_uid), draft.only)
        misses: list[NearMiss] = []
        private = False
        if draft.app_id is not None:
            apps = [Listener(draft.app_id, draft.app_uid)]
        else:
            private = await self._view.is_private(draft.type)
            apps = await self._view.covered_apps(draft.type, draft.subject, limit=EXPLAINED_APPS_MAX + 1)
            misses = await self._view.near_misses(draft.type, draft.subject, limit=EXPLAINED_APPS_MAX + 1)
        truncated = max(len(apps), len(misses)) > EXPLAINED_APPS_MAX
        apps, misses = apps[:EXPLAINED_APPS_MAX], misses[:EXPLAINED_APPS_MAX]
        not_reached = [NotReached(miss.app, None, *_why_not_granted(draft, miss)) for miss in misses]
        if private:
            not_reached += [NotReached(app, None, Reason.PRIVATE_TYPE, _private(draft)) for app in apps]
            routes, others = await self._platform_routes(draft, [])
            return Explanation(draft.type, draft.subject, routes, (*not_reached, *others), truncated)
        candidates = await self._view.endpoints([app.app_id for app in apps], limit=EXPLAINED_ENDPOINTS_MAX + 1)
        cut = len(candidates) > EXPLAINED_ENDPOINTS_MAX
        truncated = truncated or cut
        by_app: dict[AppId, list[Candidate]] = {}
        for candidate in candidates[:EXPLAINED_ENDPOINTS_MAX]:
            by_app.setdefault(candidate.app_id, []).append(candidate)
        reached = []
        for app in apps:
            matched, others = await self._endpoints(draft, app, by_app.get(app.app_id, ()))
            reached.append(Reached(app, matched))
            not_reached += others
        without = [app for app in apps if not any(_judge(draft, one)[1] is None for one in by_app.get(app.app_id, ()))]
        if not apps or (without and not cut):  # where some are left out, they may be the ones that listen
            routes, others = await self._platform_routes(draft, without)
            reached += routes
            not_reached += others
        return Explanation(draft.type, draft.subject, tuple(reached), tuple(not_reached), truncated)

    async def _only(self, draft: Draft, app: Listener, only: EndpointId) -> Explanation:
        """Of a follow-up that is for one endpoint alone, whatever that listens to."""
        candidates = await self._view.endpoints([app.app_id], limit=EXPLAINED_ENDPOINTS_MAX)
        chosen = [candidate for candidate in candidates if candidate.id == only]
        reached: tuple[Reached, ...] = ()
        not_reached: tuple[NotReached, ...] = ()
        for candidate in chosen:
            if candidate.enabled:
                target = Target(candidate, Reason.MATCHED, draft.to_url or candidate.config.url, ONLY_ENDPOINT)
                reached = (Reached(app, (target,)),)
            else:
                not_reached = (NotReached(app, candidate, Reason.DISABLED, _disabled(candidate)),)
        if not chosen:
            not_reached = (NotReached(app, None, Reason.NO_ENDPOINTS, f"{ONLY_ENDPOINT}, and that was deleted"),)
        return Explanation(draft.type, draft.subject, reached, not_reached, truncated=False)

    async def _platform_routes(
        self, draft: Draft, without: Sequence[Listener]
    ) -> tuple[tuple[Reached, ...], list[NotReached]]:
        """The platform routes that hear of the event for the apps `without` an endpoint that does; without any: as it is for
        nobody. Filters see it as it is for the first of these apps."""
        candidates = await self._view.endpoints([PLATFORM_APP], limit=EXPLAINED_ENDPOINTS_MAX)
        if not candidates:
            return (), []
        routes = Listener(PLATFORM_APP, PLATFORM_UID)
        first = without[0].app_id if without else None
        copy = msgspec.structs.replace(
            draft, app_id=PLATFORM_APP, app_uid=None, attributes=attributes_for(first, draft.attributes)
        )
        matched, others = await self._endpoints(copy, routes, candidates)
        why = "the event is for no app"
        if without:
            name = without[0].uid or format_id(APP, without[0].app_id)
            more = f" and {len(without) - 1} more apps have" if len(without) > 1 else " has"
            why = f"{name}{more} no enabled endpoint that listens to it"
        targets = tuple(
            msgspec.structs.replace(
                target,
                reason=Reason.PLATFORM_ROUTE if target.reason is Reason.MATCHED else target.reason,
                explanation=why if target.explanation is None else f"{why}; {target.explanation}",
            )
            for target in matched
        )
        return ((Reached(routes, targets),) if targets else ()), others

    async def _endpoints(
        self, draft: Draft, app: Listener, candidates: Sequence[Candidate]
    ) -> tuple[tuple[Target, ...], list[NotReached]]:
        if not candidates:
            why = "the app has no endpoints; it makes one to hear of it"
            return (), [NotReached(app, None, Reason.NO_ENDPOINTS, why)]
        matched: list[Target] = []
        others: list[NotReached] = []
        verdicts = await self._filtered(draft, app, candidates)
        for candidate in candidates:
            reason, why_not = _judge(draft, candidate)
            explanation: str | None = None
            if why_not is None and candidate.id in verdicts:
                verdict, explanation = verdicts[candidate.id]
                if verdict is False:
                    reason, why_not = Reason.FILTERED, explanation
                elif isinstance(verdict, Failed):
                    reason = Reason.FILTER_FAILED
                    skips = candidate.config.on_filter_error is OnFilterError.SKIP
                    why_not = explanation if skips else None
            if why_not is None:
                url, why_nowhere = await self._url(draft, app, candidate)
                words = [text for text in (explanation, why_nowhere) if text is not None]
                matched.append(Target(candidate, reason, url, "; ".join(words) or None))
            else:
                others.append(NotReached(app, candidate, reason, why_not))
        return tuple(matched), others

    async def _url(self, draft: Draft, app: Listener, candidate: Candidate) -> tuple[str | None, str | None]:
        """Where the event would go, or why nowhere."""
        config = candidate.config
        if config.dynamic_url is None:
            return config.url, None
        # Where it goes does not depend on what is made of its data.
        endpoint = msgspec.structs.replace(config, transform=None).endpoint(
            id=candidate.id, app_id=app.app_id, partition=0, revision=0
        )
        try:
            found = await prepared_alone(self._expressions, self._writer, endpoint, _event(draft))
        except NotEvaluated as error:
            return None, f"its URL could not be evaluated now: {error}"
        if isinstance(found, NotTransformed):
            return None, f"it would be given up: {found.words}"
        return (None if found is None else found.url) or config.url, None

    async def _filtered(
        self, draft: Draft, app: Listener, candidates: Sequence[Candidate]
    ) -> dict[EndpointId, tuple[Verdict, str | None]]:
        """What the filters say of the endpoints that have any and whose type and channels match, and why."""
        endpoints = [
            candidate.config.endpoint(
                id=candidate.id, app_id=app.app_id, partition=0, revision=0, enabled=candidate.enabled
            )
            for candidate in candidates
        ]
        router = Router(AppConfig(app_id=app.app_id, partition=0, version=0, endpoints=tuple(endpoints)))
        if not router.filtered:
            return {}
        event = _event(draft)
        attributes = Attributes(event)
        entries = [(e, asked) for e, asked in router.entries(draft.type, draft.channels) if asked is not None]
        outcomes = await outcomes_of(self._expressions, event, app.app_id, [asked for _, asked in entries])
        found: dict[EndpointId, tuple[Verdict, str | None]] = {}
        for endpoint, asked in entries:
            verdict = asked.condition.judge(attributes, outcomes[asked])
            why: str | None = None
            if verdict is False:
                why = _filtered_out(endpoint, attributes, outcomes[asked])
            elif isinstance(verdict, Failed):
                default = "is given up" if endpoint.on_filter_error is OnFilterError.SKIP else "is sent all the same"
                why = f"its filters have no value ({verdict.told}), and the event {default} (on_filter_error)"
            found[endpoint.id] = (verdict, why)
        return found


def _judge(draft: Draft, candidate: Candidate) -> tuple[Reason, str | None]:
    """Whether the router would choose the endpoint, filters aside; else why not."""
    config = candidate.config
    if not candidate.enabled:
        return Reason.DISABLED, _disabled(candidate)
    if not matches_type(config.events, draft.type):
        return Reason.OTHER_TYPES, f"it listens to {', '.join(config.events)}, and none of these is {draft.type}"
    if not matches_channels(config.channels, draft.channels):
        told = ", ".join(draft.channels) or "none"
        return Reason.OTHER_CHANNELS, f"it listens to the channels {', '.join(config.channels)}; the event has {told}"
    if candidate.paused:
        return Reason.PAUSED, None
    return (Reason.MATCHED if candidate.verified else Reason.UNVERIFIED), None


def draft_of(event: Event) -> Draft:
    """A published event as if it were published anew."""
    return Draft(
        id=event.id,
        app_id=event.app_id,
        type=event.type,
        payload=event.payload,
        content_type=event.content_type,
        subject=event.subject,
        key=event.key,
        source=event.source,
        channels=event.channels,
        attributes=event.attributes,
        expires_at=event.expires_at,
        depth=event.depth,
        only=event.only,
        to_url=event.to_url,
    )


def _disabled(candidate: Candidate) -> str:
    return f"the endpoint is disabled ({candidate.disabled_reason or 'by its owner'}); enable it"


def _event(draft: Draft) -> Event:
    """The draft as filters would see it if it were published now."""
    return Event(
        id=draft.id,
        partition=0,
        seq=0,
        app_id=draft.app_id,
        type=draft.type,
        payload=draft.payload,
        content_type=draft.content_type,
        created_at=unix_ms_of(draft.id) / 1000,
        config_version=0,
        subject=draft.subject,
        key=draft.key,
        channels=draft.channels,
        expires_at=draft.expires_at,
        source=draft.source,
        attributes=draft.attributes,
    )


def _filtered_out(endpoint: Endpoint, attributes: Attributes, outcomes: Outcomes) -> str:
    """What of its filters says no, in words."""
    refused = refused_by(endpoint, attributes, outcomes)
    assert refused is not None, "all of them hold"
    path, said = refused
    shown = said if len(said) <= FILTER_SHOWN_MAX else f"{said[:FILTER_SHOWN_MAX]}…"
    return f"its {path} does not let the event pass: {shown}"


def _why_not_granted(draft: Draft, miss: NearMiss) -> tuple[Reason, str]:
    subject = "events about nobody" if draft.subject is None else f"the subject {draft.subject}"
    if miss.ended:
        return Reason.GRANT_ENDED, f"its grant for {draft.type} and {subject} has ended; grant it anew"
    if miss.subject_granted:
        return Reason.NO_GRANT_FOR_TYPE, f"it has a grant for {subject}, but none of that for the type {draft.type}"
    return Reason.NO_GRANT_FOR_SUBJECT, f"it has a grant for the type {draft.type}, but none of that for {subject}"


def _private(draft: Draft) -> str:
    return f"the event type {draft.type} is private: it goes only to an app that it is addressed to by name"
