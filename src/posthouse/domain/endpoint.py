"""Endpoints: target URLs with all that describes how to speak to them, as the engine sees them.

`Endpoint` is one compiled, immutable revision with its secrets open; it lives in memory only. `AppConfig` is what one app's
events are routed by, loaded in one snapshot.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.authentication import ApiKeyAuth, Auth, KeyPlace
from posthouse.domain.circuit import HEALTHY, Health
from posthouse.domain.egress import Tls
from posthouse.domain.encryption import DecryptAnswer, Encryption
from posthouse.domain.filters import Filters, OnFilterError
from posthouse.domain.formats import AnyFormat, Compression, Method
from posthouse.domain.grant import NO_SHRINKAGE, Shrinkage
from posthouse.domain.handshake import Handshake
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import LANE_CONCURRENCY
from posthouse.domain.named_keys import NO_KEYS, NamedKeys
from posthouse.domain.reaction import AnyRule
from posthouse.domain.redaction import RedactAnswer
from posthouse.domain.retry import Retry, RetrySettings
from posthouse.domain.signing import Signer
from posthouse.domain.transformation import DynamicUrl, Transform

BY_HAND: Final = "by_hand"
"""Why an endpoint is disabled that somebody disabled."""


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds allowed for each phase of an attempt; `total` bounds them all."""

    connect: float = 5.0  # DNS, TCP and TLS, each
    first_byte: float = 10.0
    total: float = 15.0


class Secret(msgspec.Struct, frozen=True, gc=False):
    """A signing secret in the clear. `kind` is the Standard Webhooks version: `v1` (HMAC) or `v1a` (ed25519)."""

    kind: str
    key: bytes  # v1: the HMAC key; v1a: the 32-byte seed

    def __repr__(self) -> str:
        return f"Secret(kind={self.kind!r}, key=<hidden>)"


class Ordering(StrEnum):
    """Which deliveries of an endpoint wait for each other."""

    NONE = "none"
    ENDPOINT = "endpoint"  # all of them: one line
    KEY = "key"  # those of events with the same key; events without one wait for nobody


class OnExhausted(StrEnum):
    """What becomes of an ordered line whose first delivery has no attempt left."""

    SKIP = "skip"  # it is given up, and the line goes on
    BLOCK = "block"  # the line stands until it is sent again or cancelled by hand


class Format(StrEnum):
    """How an event is written into a request: the kinds of `domain/formats.py`, each with the options that nobody set."""

    JSON = "json"  # the standard envelope; other content as it was published
    CLOUDEVENTS = "cloudevents"  # CloudEvents 1.0, structured; in a batch the batched mode
    RAW = "raw"
    XML = "xml"
    FORM = "form"


class Balance(StrEnum):
    """How one of several equal URLs is chosen."""

    WEIGHTED = "weighted"  # by chance, as their weights say
    STICKY = "sticky"  # events with the same key (else subject, else the event itself) go to the same one


class RateLimit(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """At most `per_second · w + burst` requests in any span of `w` seconds. Fractions are meant: 1/60 is one a minute."""

    per_second: float
    burst: int | None = None  # None: what a second allows, at least one

    @property
    def capacity(self) -> int:
        """Requests that may follow each other at once."""
        return max(1, math.ceil(self.per_second)) if self.burst is None else self.burst


class Throttle(msgspec.Struct, frozen=True, gc=False):
    """A rate that holds for a while, beside the configured one: the lower of the two counts."""

    per_second: float
    until: float  # unix seconds


class Batch(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Several events in one request: it goes when it has this many, or this large a body, or when the first has waited."""

    max_events: int = 100
    max_bytes: int = 262_144
    max_wait_ms: int = 200


class EqualUrl(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One of several URLs that are as good as the endpoint's own (whose weight is 1)."""

    url: str
    weight: int = 1


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of an endpoint."""

    id: EndpointId
    app_id: AppId
    partition: int
    revision: int
    url: str
    enabled: bool = True
    paused: bool = False
    events: tuple[str, ...] = ()  # patterns; empty: all
    channels: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    concurrency: int = LANE_CONCURRENCY
    rate_limit: RateLimit | None = None
    ordering: Ordering = Ordering.NONE
    on_exhausted: OnExhausted = OnExhausted.SKIP
    batch: Batch | None = None
    fallback_urls: tuple[str, ...] = ()
    equal_urls: tuple[EqualUrl, ...] = ()
    balance: Balance = Balance.WEIGHTED
    max_age: float | None = None  # seconds after its creation in which an event is worth sending
    format: Format | AnyFormat = Format.JSON
    method: Method = Method.POST
    query: dict[str, str] = {}
    compress: Compression | None = None
    pinned_schemas: dict[
        str, str
    ] = {}  # JSON text by event type, of the versions that it pins; as far as there are any
    signing: tuple[Signer, ...] | None = None  # None: Standard Webhooks with the endpoint's own secret
    encryption: Encryption | None = None
    decrypt_answer: DecryptAnswer = DecryptAnswer.NEVER
    auth: Auth | None = None
    tls: Tls | None = None
    proxy: str = ""  # as the operator named it; empty: none
    proxy_key: str = ""  # the key with `user:password` for it; empty: the operator's
    source_address: str = ""
    redact_answer: RedactAnswer | None = None
    filter: str = ""  # an expression
    filters: Filters = ()
    on_filter_error: OnFilterError = OnFilterError.DELIVER
    dynamic_url: DynamicUrl | None = None
    transform: Transform | None = None
    ack: Ack | None = None  # None: any 2xx confirms
    on_response: tuple[AnyRule, ...] = ()
    by_app: tuple[str, ...] = ()  # those of these fields that a key of the app wrote
    secrets: tuple[Secret, ...] = ()  # newest first; each one signs
    keys: NamedKeys = NO_KEYS  # the live texts of each, newest first; one that does not open is not there
    health: Health = HEALTHY  # as it was stored
    throttle: Throttle | None = None  # as it was stored
    handshake: Handshake | None = None
    verified: bool = True  # whether its handshake was passed, if it has one: nothing is sent to it before
    allowed_per_second: float | None = None  # the rate that it allowed in its handshake
    grants: Shrinkage = NO_SHRINKAGE  # of its app

    @property
    def taking(self) -> bool:
        """Whether it is sent to, rather than that what it is owed is kept for it."""
        return self.enabled and not self.paused and self.verified

    @property
    def pace(self) -> RateLimit | None:
        """The lower of the rates that it asks for and that it allowed."""
        limit, allowed = self.rate_limit, self.allowed_per_second
        if allowed is None or (limit is not None and limit.per_second <= allowed):
            return limit
        burst = RateLimit(allowed).capacity
        return RateLimit(allowed, burst if limit is None else min(burst, limit.capacity))

    @property
    def ordered(self) -> bool:
        """Whether its deliveries may have to wait for each other."""
        return self.ordering is not Ordering.NONE

    @property
    def plain(self) -> bool:
        """Whether its requests are those of the standard profile, which are made without detour."""
        return (
            (self.format is Format.JSON or self.format is Format.CLOUDEVENTS)
            and self.method is Method.POST
            and self.signing is None
            and self.encryption is None
            and self.compress is None
            and not self.pinned_schemas
            and not self.query
            and self.transform is None
            and self.dynamic_url is None
            and not (isinstance(self.auth, ApiKeyAuth) and self.auth.place is KeyPlace.FIELD)
            and not any("{" in value or "}" in value for _, value in self.headers)
        )


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored form of an endpoint: what an attempt is made with, as it was configured. One per revision."""

    url: str
    description: str = ""
    profile: str = ""  # whose fields were written into these
    profile_settings: dict[str, str] = {}
    events: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    retry: RetrySettings = RetrySettings()
    timeouts: Timeouts = Timeouts()
    concurrency: int = LANE_CONCURRENCY
    rate_limit: RateLimit | None = None
    ordering: Ordering = Ordering.NONE
    on_exhausted: OnExhausted = OnExhausted.SKIP
    batch: Batch | None = None
    fallback_urls: tuple[str, ...] = ()
    equal_urls: tuple[EqualUrl, ...] = ()
    balance: Balance = Balance.WEIGHTED
    max_age: float | None = None
    format: Format | AnyFormat = Format.JSON
    method: Method = Method.POST
    query: dict[str, str] = {}
    compress: Compression | None = None
    payload_versions: dict[str, int] = {}  # by event type: the version whose fields alone it gets
    signing: tuple[Signer, ...] | None = None  # None: Standard Webhooks with the endpoint's own secret
    encryption: Encryption | None = None
    decrypt_answer: DecryptAnswer = DecryptAnswer.NEVER
    auth: Auth | None = None
    tls: Tls | None = None
    proxy: str = ""
    proxy_key: str = ""
    source_address: str = ""
    redact_answer: RedactAnswer | None = None
    filter: str = ""  # an expression
    filters: Filters = ()
    on_filter_error: OnFilterError = OnFilterError.DELIVER
    dynamic_url: DynamicUrl | None = None
    transform: Transform | None = None
    ack: Ack | None = None  # None: any 2xx confirms
    on_response: tuple[AnyRule, ...] = ()
    handshake: Handshake | None = None
    by_app: tuple[str, ...] = ()  # those of these fields that a key of the app wrote

    def endpoint(
        self,
        *,
        id: EndpointId,
        app_id: AppId,
        partition: int,
        revision: int,
        enabled: bool = True,
        paused: bool = False,
        secrets: tuple[Secret, ...] = (),
        keys: NamedKeys = NO_KEYS,
        pinned_schemas: dict[str, str] | None = None,
        health: Health = HEALTHY,
        throttle: Throttle | None = None,
        verified: bool = True,
        allowed_per_second: float | None = None,
        grants: Shrinkage = NO_SHRINKAGE,
    ) -> Endpoint:
        """This configuration as the engine sees it."""
        return Endpoint(
            id=id,
            app_id=app_id,
            partition=partition,
            revision=revision,
            url=self.url,
            enabled=enabled,
            paused=paused,
            events=self.events,
            channels=self.channels,
            headers=tuple(self.headers.items()),
            retry=self.retry.policy(),
            timeouts=self.timeouts,
            concurrency=self.concurrency,
            rate_limit=self.rate_limit,
            ordering=self.ordering,
            on_exhausted=self.on_exhausted,
            batch=self.batch,
            fallback_urls=self.fallback_urls,
            equal_urls=self.equal_urls,
            balance=self.balance,
            max_age=self.max_age,
            format=self.format,
            method=self.method,
            query=self.query,
            compress=self.compress,
            pinned_schemas=pinned_schemas or {},
            signing=self.signing,
            encryption=self.encryption,
            decrypt_answer=self.decrypt_answer,
            auth=self.auth,
            tls=self.tls,
            proxy=self.proxy,
            proxy_key=self.proxy_key,
            source_address=self.source_address,
            redact_answer=self.redact_answer,
            filter=self.filter,
            filters=self.filters,
            on_filter_error=self.on_filter_error,
            dynamic_url=self.dynamic_url,
            transform=self.transform,
            ack=self.ack,
            on_response=self.on_response,
            by_app=self.by_app,
            secrets=secrets,
            keys=keys,
            health=health,
            throttle=throttle,
            handshake=self.handshake,
            verified=verified,
            allowed_per_second=allowed_per_second,
            grants=grants,
        )


BLANK: Final = EndpointConfig(url="")
"""What each field is of which nobody says anything."""


class AppConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What an app's events are routed by, at one version."""

    app_id: AppId
    partition: int
    version: int
    endpoints: tuple[Endpoint, ...] = ()
    grants: Shrinkage = NO_SHRINKAGE
    refresh_at: float | None = None  # unix seconds: a secret, a key or a grant ends, and this must be loaded anew
