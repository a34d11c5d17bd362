"""What an endpoint would be sent of an event: its request as a whole, whether it hears of it at all, or why nothing can be made
of it. Nothing is sent or stored."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Literal

import msgspec

from posthouse.domain.access import Principal
from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.errors import Invalid, NotFound, Overloaded
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Request
from posthouse.domain.expression import Failed, FailedBecause
from posthouse.domain.filters import OnFilterError
from posthouse.domain.ids import EVENT, EventId, parse_id
from posthouse.domain.limits import PAYLOAD_BYTES_MAX, PREVIEWS_AT_ONCE_MAX
from posthouse.domain.matching import has_filters
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.profile import Profile
from posthouse.domain.routing import matches_channels, matches_type
from posthouse.intake.parse import EventBody, attributes_json, check
from posthouse.manage.access import endpoint_not_found, endpoint_of, find_app
from posthouse.manage.profile_keys import made_keys
from posthouse.manage.requests import RequestView, shown, view_of
from posthouse.manage.trial import TYPE, sample_of, spoken
from posthouse.ports.clock import Clock
from posthouse.ports.directory import App, Directory
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.inspect import Inspector, Where
from posthouse.ports.store import Store
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.filters import passes
from posthouse.send.rendering import written
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import AnyRenderer
from posthouse.wire.transforming import NotTransformed

UNSENDABLE: Final = "unsendable"
_TOKEN: Final = "token"  # noqa: S105 - of a request that is not sent


Step = Literal["encryption", "auth", "compress", "signing"]


class Heard(StrEnum):
    """Whether an endpoint would hear of an event, or why not."""

    MATCHED = "matched"
    PAUSED = "paused"  # it is kept until it is resumed
    UNVERIFIED = "unverified"  # it is kept until it is verified
    DISABLED = "disabled"
    OTHER_TYPES = "other_types"
    OTHER_CHANNELS = "other_channels"
    FILTERED = "filtered"
    FILTER_FAILED = "filter_failed"

    @property
    def matches(self) -> bool:
        return self in (Heard.MATCHED, Heard.PAUSED, Heard.UNVERIFIED)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it might be published. Without a type it is that of a test; without data, the first example of its type."""

    type: str | None = None
    data: bytes | None = None
    subject: str | None = None
    key: str | None = None
    source: str | None = None
    channels: tuple[str, ...] = ()
    attributes: dict[str, str] = {}


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What there would be. `request` is None where there would be none, and then `reason` and `words` say why; or where nothing
    can be made of what is `masked`, and then `url` is None, too. `steps` are what is done to the request before it is sent, and
    is not shown. `filter_words` say why the filters have no value."""

    event_id: EventId
    type: str
    heard: Heard
    filter_words: str | None
    url: str | None
    request: RequestView | None
    masked: bool
    steps: tuple[Step, ...]
    reason: str | None
    words: str | None


class Other(msgspec.Struct, frozen=True):
    """What an endpoint is taken for instead of what it is; `profile` is the one that it would newly speak by."""

    config: EndpointConfig
    profile: Profile | None = None


class Previews:
    """Makes them as requests are made, whether or not the endpoint is enabled or paused."""

    def __init__(
        self,
        directory: Directory,
        inspector: Inspector,
        store: Store,
        clock: Clock,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
    ) -> None:
        self._directory = directory
        self._inspector = inspector
        self._store = store
        self._clock = clock
        self._expressions = expressions
        self._writer = writer
        self._turns = asyncio.Semaphore(PREVIEWS_AT_ONCE_MAX)

    async def of_stored(
        self, principal: Principal, app: str, reference: str, event: str, *, other: Other | None = None
    ) -> Preview:
        """Of an event that was published. What its type redacts is masked before the request is made of it. With `other`, as
        if the endpoint were so.

        Raises NotFound, Overloaded, Conflict (see `manage.trial.spoken`).
        """
        owner = await find_app(self._directory, principal, app)
        raw = parse_id(EVENT, event)
        found = None
        if raw is not None:
            found = await self._inspector.event(Where(owner.id, owner.partition), EventId(raw))
        if found is None:
            raise NotFound(f"there is no event {event[:80]!r}", code="event_not_found", path="event")
        stored = found[1]
        rules = (await self._directory.redactions([stored.type])).get(stored.type, ())
        return await self._made(owner, reference, stored, rules, other)

    async def of_sample(
        self, principal: Principal, app: str, reference: str, sample: Sample, *, other: Other | None = None
    ) -> Preview:
        """Of an event as it might be published; with `other`, as if the endpoint were so.

        Raises Invalid, NotFound, Overloaded, Conflict (see `manage.trial.spoken`).
        """
        owner = await find_app(self._directory, principal, app)
        now = self._clock.now()
        body = EventBody(
            type=sample.type or TYPE,
            data=msgspec.Raw(),
            subject=sample.subject,
            key=sample.key,
            channels=sample.channels,
            attributes=sample.attributes,
        )
        check(body, prefix="")
        payload = sample.data
        if payload is None:
            payload = await sample_of(self._directory, principal, sample.type, now=now)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise Invalid(f"an event has at most {PAYLOAD_BYTES_MAX} bytes of data", path="data")
        event = Event(
            id=EventId(self._clock.new_id()),
            partition=owner.partition,
            seq=0,
            app_id=owner.id,
            type=body.type,
            payload=payload,
            content_type=JSON_CONTENT,
            created_at=now,
            config_version=0,
            subject=body.subject,
            key=body.key,
            channels=body.channels,
            source=sample.source,
            attributes=attributes_json(body.attributes),
        )
        return await self._made(owner, reference, event, (), other)

    async def _made(
        self, owner: App, reference: str, event: Event, rules: Sequence[str], other: Other | None
    ) -> Preview:
        found = await endpoint_of(self._directory, owner.id, reference)
        if self._turns.locked():
            raise Overloaded(f"{PREVIEWS_AT_ONCE_MAX} previews are made already; try again shortly", retry_after=2)
        async with self._turns:
            configs = await self._store.apps([owner.id])
            endpoints = [e for config in configs for e in config.endpoints if e.id == found.id]
            if not endpoints:
                raise endpoint_not_found(reference)
            endpoint = endpoints[0] if other is None else await asyncio.to_thread(_as, endpoints[0], other)
            heard, filter_words = await self._heard(endpoint, event)
            masked = shown(event, rules) if rules else event
            return await self._requested(endpoint, event, masked, heard, filter_words)

    async def _requested(
        self, endpoint: Endpoint, event: Event, masked: Event, heard: Heard, filter_words: str | None
    ) -> Preview:
        is_masked = masked.payload != event.payload
        found = await spoken(self._expressions, self._writer, endpoint, event, masked=masked if is_masked else None)
        reason, words, view = None, None, None
        if isinstance(found.made, NotTransformed):
            reason, words = found.made.reason, found.made.words
        else:
            try:
                await self._request(found.renderer, endpoint, event)
                if found.shown_as is not None and found.url is not None:
                    view = view_of(await self._request(found.shown_as, endpoint, masked), found.url)
            except Unsendable as error:
                reason, words = UNSENDABLE, str(error)
        return Preview(
            event_id=event.id,
            type=event.type,
            heard=heard,
            filter_words=filter_words,
            url=found.url,
            request=view,
            masked=is_masked,
            steps=_steps(endpoint),
            reason=reason,
            words=words,
        )

    async def _request(self, renderer: AnyRenderer, endpoint: Endpoint, event: Event) -> Request:
        """As it would be made now; with a token that is none. Raises Unsendable."""
        now, token = self._clock.now(), None if renderer.grant is None else _TOKEN
        request_id = None if endpoint.batch is None else self._clock.new_id()
        return await written(self._writer, renderer, [event], now=now, replay=False, request_id=request_id, token=token)

    async def _heard(self, endpoint: Endpoint, event: Event) -> tuple[Heard, str | None]:
        """Whether it would hear of it, and why its filters have no value."""
        if not endpoint.enabled:
            return Heard.DISABLED, None
        if not matches_type(endpoint.events, event.type):
            return Heard.OTHER_TYPES, None
        if not matches_channels(endpoint.channels, event.channels):
            return Heard.OTHER_CHANNELS, None
        words = None
        if has_filters(endpoint):
            verdict = await passes(self._expressions, endpoint, event)
            if isinstance(verdict, Failed):
                if verdict.because is FailedBecause.UNAVAILABLE:
                    raise Overloaded(
                        f"a filter could not be evaluated: {verdict.detail}; try again shortly", retry_after=5
                    )
                words = verdict.told
                if endpoint.on_filter_error is OnFilterError.SKIP:
                    return Heard.FILTER_FAILED, words
            elif not verdict:
                return Heard.FILTERED, None
        if endpoint.paused:
            return Heard.PAUSED, words
        return (Heard.MATCHED if endpoint.verified else Heard.UNVERIFIED), words


def _as(endpoint: Endpoint, other: Other) -> Endpoint:
    """The endpoint with another configuration, and its secrets and keys; those that its profile would make are made up."""
    config, keys = other.config, endpoint.keys
    if other.profile is not None:
        makeable = msgspec.structs.replace(other.profile, keys=tuple(key for key in other.profile.keys if key.make))
        made = made_keys(makeable, keys, secrets.token_bytes)
        keys = NamedKeys(dict(keys) | {name: (text,) for name, text in made.texts.items()})
    return config.endpoint(
        id=endpoint.id,
        app_id=endpoint.app_id,
        partition=endpoint.partition,
        revision=endpoint.revision,
        enabled=endpoint.enabled,
        paused=endpoint.paused,
        secrets=endpoint.secrets,
        keys=keys,
        pinned_schemas=endpoint.pinned_schemas,
        health=endpoint.health,
        throttle=endpoint.throttle,
        verified=endpoint.verified or config.handshake is None,
        allowed_per_second=endpoint.allowed_per_second,
        grants=endpoint.grants,
    )


def _steps(endpoint: Endpoint) -> tuple[Step, ...]:
    """What is done to its requests that is not shown."""
    done: tuple[tuple[Step, bool], ...] = (
        ("encryption", endpoint.encryption is not None),
        ("auth", endpoint.auth is not None),
        ("compress", endpoint.compress is not None),
        ("signing", endpoint.signing is None or bool(endpoint.signing)),
    )
    return tuple([name for name, is_done in done if is_done])
