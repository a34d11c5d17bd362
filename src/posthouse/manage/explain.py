"""Whom an event would reach, and why every other candidate would not hear of it. Nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from posthouse.domain.event import Draft
from posthouse.domain.ids import AppId
from posthouse.domain.limits import EXPLAINED_APPS_MAX, EXPLAINED_ENDPOINTS_MAX
from posthouse.domain.routing import matches_channels, matches_type
from posthouse.ports.routing import Candidate, Listener, NearMiss, RoutingView


class Reason(StrEnum):
    """Why an endpoint is reached, or why an app or an endpoint is not."""

    MATCHED = "matched"
    PAUSED = "paused"
    DISABLED = "disabled"
    OTHER_TYPES = "other_types"
    OTHER_CHANNELS = "other_channels"
    NO_ENDPOINTS = "no_endpoints"
    PRIVATE_TYPE = "private_type"
    NO_GRANT_FOR_TYPE = "no_grant_for_type"
    NO_GRANT_FOR_SUBJECT = "no_grant_for_subject"
    GRANT_ENDED = "grant_ended"


class Reached(msgspec.Struct, frozen=True):
    """An app that the event is for, and its endpoints that it would be sent to (a paused one: as soon as it is resumed)."""

    app: Listener
    endpoints: tuple[tuple[Candidate, Reason], ...]


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
    """Explains with the rules by which events are routed."""

    def __init__(self, view: RoutingView) -> None:
        self._view = view

    async def explain(self, draft: Draft) -> Explanation:
        """As of now, for a draft to one app or to whoever a grant covers."""
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
            return Explanation(draft.type, draft.subject, (), tuple(not_reached), truncated)
        candidates = await self._view.endpoints([app.app_id for app in apps], limit=EXPLAINED_ENDPOINTS_MAX + 1)
        truncated = truncated or len(candidates) > EXPLAINED_ENDPOINTS_MAX
        by_app: dict[AppId, list[Candidate]] = {}
        for candidate in candidates[:EXPLAINED_ENDPOINTS_MAX]:
            by_app.setdefault(candidate.app_id, []).append(candidate)
        reached = []
        for app in apps:
            matched, others = _endpoints(draft, app, by_app.get(app.app_id, ()))
            reached.append(Reached(app, matched))
            not_reached += others
        return Explanation(draft.type, draft.subject, tuple(reached), tuple(not_reached), truncated)


def _endpoints(
    draft: Draft, app: Listener, candidates: Sequence[Candidate]
) -> tuple[tuple[tuple[Candidate, Reason], ...], list[NotReached]]:
    if not candidates:
        return (), [NotReached(app, None, Reason.NO_ENDPOINTS, "the app has no endpoints; it makes one to hear of it")]
    matched = []
    others = []
    for candidate in candidates:
        reason, why_not = _judge(draft, candidate)
        if why_not is None:
            matched.append((candidate, reason))
        else:
            others.append(NotReached(app, candidate, reason, why_not))
    return tuple(matched), others


def _judge(draft: Draft, candidate: Candidate) -> tuple[Reason, str | None]:
    """Whether the router would choose the endpoint; else why not."""
    config = candidate.config
    if not candidate.enabled:
        return Reason.DISABLED, f"the endpoint is disabled ({candidate.disabled_reason or 'by its owner'}); enable it"
    if not matches_type(config.events, draft.type):
        return Reason.OTHER_TYPES, f"it listens to {', '.join(config.events)}, and none of these is {draft.type}"
    if not matches_channels(config.channels, draft.channels):
        told = ", ".join(draft.channels) or "none"
        return Reason.OTHER_CHANNELS, f"it listens to the channels {', '.join(config.channels)}; the event has {told}"
    return (Reason.PAUSED if candidate.paused else Reason.MATCHED), None


def _why_not_granted(draft: Draft, miss: NearMiss) -> tuple[Reason, str]:
    subject = "events about nobody" if draft.subject is None else f"the subject {draft.subject}"
    if miss.ended:
        return Reason.GRANT_ENDED, f"its grant for {draft.type} and {subject} has ended; grant it anew"
    if miss.subject_granted:
        return Reason.NO_GRANT_FOR_TYPE, f"it has a grant for {subject}, but none of that for the type {draft.type}"
    return Reason.NO_GRANT_FOR_SUBJECT, f"it has a grant for the type {draft.type}, but none of that for {subject}"


def _private(draft: Draft) -> str:
    return f"the event type {draft.type} is private: it goes only to an app that it is addressed to by name"
