"""A change of an endpoint: is it well-formed, and what comes of it. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.acknowledgement import Ack
from posthouse.domain.authentication import Auth, OAuth2Auth
from posthouse.domain.balance import urls_of
from posthouse.domain.egress import Tls
from posthouse.domain.encryption import DecryptAnswer, Encryption
from posthouse.domain.endpoint import (
    BLANK,
    BY_HAND,
    Balance,
    Batch,
    EndpointConfig,
    EqualUrl,
    Format,
    OnExhausted,
    Ordering,
    RateLimit,
    Timeouts,
)
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.domain.filters import Filters, OnFilterError
from posthouse.domain.formats import AnyFormat, Compression, Method
from posthouse.domain.handshake import Handshake
from posthouse.domain.ids import ENDPOINT
from posthouse.domain.limits import (
    CHANNELS_MAX,
    CONCURRENCY_MAX,
    EVENT_PATTERNS_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    TIMEOUT_SECONDS_MAX,
)
from posthouse.domain.reaction import AnyRule
from posthouse.domain.redaction import RedactAnswer, check_redact_answer
from posthouse.domain.retry import RetrySettings
from posthouse.domain.routing import is_pattern
from posthouse.domain.signing import Signer
from posthouse.domain.transformation import DynamicUrl, Transform
from posthouse.manage.access import check_metadata, check_uid
from posthouse.manage.flow_check import (
    check_batch,
    check_between,
    check_max_age,
    check_rate,
    check_whole,
    equal_targets,
    fallback_targets,
)
from posthouse.manage.pins import check_pins
from posthouse.manage.reaction_check import forward_targets
from posthouse.manage.retry_check import check_retry
from posthouse.manage.transform_check import dynamic_targets, dynamic_urls
from posthouse.ports.directory import StoredEndpoint
from posthouse.wire.headers import check_headers
from posthouse.wire.target import parse_target

"""Why an endpoint is disabled that somebody disabled."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class EndpointChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an endpoint, each whole; None is the default, and what is not set stays as it is."""

    url: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    uid: str | UnsetType | None = UNSET
    profile: str | UnsetType | None = UNSET
    profile_settings: dict[str, str] | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET
    paused: bool | UnsetType | None = UNSET
    events: tuple[str, ...] | UnsetType | None = UNSET
    channels: tuple[str, ...] | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType | None = UNSET
    retry: RetrySettings | UnsetType | None = UNSET
    timeouts: Timeouts | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    ordering: Ordering | UnsetType | None = UNSET
    on_exhausted: OnExhausted | UnsetType | None = UNSET
    batch: Batch | UnsetType | None = UNSET
    fallback_urls: tuple[str, ...] | UnsetType | None = UNSET
    equal_urls: tuple[EqualUrl, ...] | UnsetType | None = UNSET
    balance: Balance | UnsetType | None = UNSET
    max_age: float | UnsetType | None = UNSET
    format: Format | AnyFormat | UnsetType | None = UNSET
    method: Method | UnsetType | None = UNSET
    query: dict[str, str] | UnsetType | None = UNSET
    compress: Compression | UnsetType | None = UNSET
    payload_versions: dict[str, int] | UnsetType | None = UNSET
    signing: tuple[Signer, ...] | UnsetType | None = UNSET
    encryption: Encryption | UnsetType | None = UNSET
    decrypt_answer: DecryptAnswer | UnsetType | None = UNSET
    auth: Auth | UnsetType | None = UNSET
    tls: Tls | UnsetType | None = UNSET
    proxy: str | UnsetType | None = UNSET
    proxy_key: str | UnsetType | None = UNSET
    source_address: str | UnsetType | None = UNSET
    redact_answer: RedactAnswer | UnsetType | None = UNSET
    filter: str | UnsetType | None = UNSET
    filters: Filters | UnsetType | None = UNSET
    on_filter_error: OnFilterError | UnsetType | None = UNSET
    dynamic_url: DynamicUrl | UnsetType | None = UNSET
    transform: Transform | UnsetType | None = UNSET
    ack: Ack | UnsetType | None = UNSET
    on_response: tuple[AnyRule, ...] | UnsetType | None = UNSET
    handshake: Handshake | UnsetType | None = UNSET

    def given(self) -> dict[str, Any]:
        """What is set."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}

    @property
    def names_profile(self) -> bool:
        """Whether a profile, or its settings, are set."""
        return self.profile is not UNSET or self.profile_settings is not UNSET

    def whole(self) -> EndpointChange:
        """The change that replaces an endpoint: what is not set takes its default. Raises Invalid without a URL."""
        if self.url is UNSET:
            raise Invalid("this field is missing", path="url")
        defaults: dict[str, Any] = dict.fromkeys(self.__struct_fields__)
        return EndpointChange(**(defaults | self.given()))


class NewTarget(msgspec.Struct, frozen=True):
    """A URL that a change sets, taken apart, and its path in the change."""

    path: str
    url: str
    target: Target


def check_change(change: EndpointChange) -> list[NewTarget]:
    """Raises Invalid with the path of the field that is wrong. The targets that it sets, each of which has to be judged."""
    targets = [] if change.url is UNSET else [NewTarget("url", change.url, parse_target(change.url))]
    if change.uid is not UNSET:
        check_uid(change.uid, prefix=ENDPOINT)
    if change.metadata:
        check_metadata(change.metadata)
    if change.description and len(change.description) > TEXT_LENGTH_MAX:
        raise Invalid(f"a description has at most {TEXT_LENGTH_MAX} characters", path="description")
    if change.events:
        _check_events(change.events)
    if change.channels:
        _check_channels(change.channels)
    if change.headers:
        check_headers(change.headers.items())
    if change.retry:
        check_retry(change.retry)
    if change.timeouts:
        for name in change.timeouts.__struct_fields__:
            check_between(getattr(change.timeouts, name), 0.0, TIMEOUT_SECONDS_MAX, f"timeouts.{name}", "seconds")
    if change.concurrency is not UNSET and change.concurrency is not None:
        check_between(change.concurrency, 0, CONCURRENCY_MAX, "concurrency", "requests at the same time")
    if change.rate_limit:
        check_rate(change.rate_limit)
    if change.batch:
        check_batch(change.batch)
    if change.payload_versions:
        check_pins(change.payload_versions)
    if change.max_age is not UNSET and change.max_age is not None:
        check_max_age(change.max_age)
    if change.redact_answer:
        check_redact_answer(change.redact_answer, path="redact_answer")
    if change.equal_urls:
        found = zip(change.equal_urls, equal_targets(change.equal_urls), strict=True)
        targets += [NewTarget(path, equal.url, target) for equal, (path, target) in found]
    if change.fallback_urls:
        others = zip(change.fallback_urls, fallback_targets(change.fallback_urls), strict=True)
        targets += [NewTarget(path, url, target) for url, (path, target) in others]
    if change.dynamic_url:
        targets += [NewTarget(*found) for found in dynamic_targets(change.dynamic_url)]
    if change.on_response:
        targets += [NewTarget(*found) for found in forward_targets(change.on_response)]
    if isinstance(change.auth, OAuth2Auth):
        path = "auth.token_url"
        targets.append(NewTarget(path, change.auth.token_url, parse_target(change.auth.token_url, path=path)))
    return targets


def changed(old: StoredEndpoint, change: EndpointChange, *, now: float) -> StoredEndpoint:
    """The endpoint after a change that was checked. Its revision goes up where requests will be made differently.

    Raises Invalid where the fields together are wrong, whether they were there before or come with the change.
    """
    given = change.given()
    config = msgspec.structs.replace(
        old.config,
        **{
            name: getattr(BLANK, name) if given[name] is None else given[name]
            for name in old.config.__struct_fields__
            if name in given
        },
    )
    if config != old.config:
        check_whole(config, given)
    new = msgspec.structs.replace(old, config=config, revision=old.revision + (config != old.config))
    if "uid" in given:
        new = msgspec.structs.replace(new, uid=given["uid"])
    if "metadata" in given:
        new = msgspec.structs.replace(new, metadata=given["metadata"] or {})
    if "enabled" in given:
        new = enabled(new, given["enabled"] is not False, now=now)
    if "paused" in given:
        new = msgspec.structs.replace(new, paused=bool(given["paused"]))
    return new


def enabled(old: StoredEndpoint, on: bool, *, now: float) -> StoredEndpoint:
    """The endpoint enabled, or disabled by hand."""
    if on:
        return msgspec.structs.replace(old, enabled=True, disabled_reason=None, disabled_at=None)
    if not old.enabled:
        return old
    return msgspec.structs.replace(old, enabled=False, disabled_reason=BY_HAND, disabled_at=now)


def _check_events(patterns: tuple[str, ...]) -> None:
    if len(patterns) > EVENT_PATTERNS_MAX:
        raise Invalid(f"an endpoint has at most {EVENT_PATTERNS_MAX} patterns", path="events")
    for index, pattern in enumerate(patterns):
        if not is_pattern(pattern):
            raise Invalid(
                "a pattern is an event type (order.created), a beginning (order.*), or * for all",
                path=f"events[{index}]",
            )


def _check_channels(channels: tuple[str, ...]) -> None:
    if len(channels) > CHANNELS_MAX:
        raise Invalid(f"an endpoint has at most {CHANNELS_MAX} channels", path="channels")
    for index, channel in enumerate(channels):
        if not 0 < len(channel) <= NAME_LENGTH_MAX or _CONTROL.search(channel):
            raise Invalid(
                f"a channel has 1 to {NAME_LENGTH_MAX} characters without control characters",
                path=f"channels[{index}]",
            )


def judged_urls(config: EndpointConfig) -> list[str]:
    """The URLs that were judged as they were set."""
    token_urls = [config.auth.token_url] if isinstance(config.auth, OAuth2Auth) else []
    forwards = [url for _, url, _ in forward_targets(config.on_response)]
    return [*urls_of(config), *dynamic_urls(config), *token_urls, *forwards]
