"""What an endpoint may say of when, in what order and to which of its URLs it is sent. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from posthouse.domain.endpoint import Balance, Batch, EndpointConfig, EqualUrl, OnExhausted, Ordering, RateLimit
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.domain.limits import (
    DELAY_SECONDS_MAX,
    EQUAL_URLS_MAX,
    FALLBACK_URLS_MAX,
    MAX_AGE_SECONDS_MAX,
    RATE_BURST_REQUESTS_MAX,
    RATE_INTERVAL_SECONDS_MAX,
    RATE_PER_SECOND_MAX,
    REQUEST_BYTES_MAX,
    REQUEST_BYTES_MIN,
    REQUEST_EVENTS_MAX,
    REQUEST_WAIT_MS_MAX,
    URL_WEIGHT_MAX,
)
from posthouse.domain.retry import ATTEMPTS_MAX
from posthouse.manage.transform_check import check_with_others
from posthouse.wire.encryption.answers import check_decrypt_answer
from posthouse.wire.target import parse_target


def check_rate(rate: RateLimit) -> None:
    """Raises Invalid."""
    value = rate.per_second
    if not 0 < value <= RATE_PER_SECOND_MAX or not math.isfinite(value) or value * RATE_INTERVAL_SECONDS_MAX < 1:
        raise Invalid(
            f"must be more than 0 and at most {RATE_PER_SECOND_MAX:.0f} requests a second, and no less than one in "
            f"{RATE_INTERVAL_SECONDS_MAX:.0f} seconds; null is no limit",
            path="rate_limit.per_second",
        )
    if rate.burst is not None:
        _within(rate.burst, 1, RATE_BURST_REQUESTS_MAX, "rate_limit.burst", "requests")


def check_batch(batch: Batch) -> None:
    """Raises Invalid."""
    _within(batch.max_events, 1, REQUEST_EVENTS_MAX, "batch.max_events", "events")
    _within(batch.max_bytes, REQUEST_BYTES_MIN, REQUEST_BYTES_MAX, "batch.max_bytes", "bytes")
    _within(batch.max_wait_ms, 0, REQUEST_WAIT_MS_MAX, "batch.max_wait_ms", "milliseconds")


def check_schedule(delays: Sequence[float], path: str) -> None:
    """Seconds before each of the attempts after the first. Raises Invalid."""
    if not 1 <= len(delays) <= ATTEMPTS_MAX:
        raise Invalid(f"a schedule has 1 to {ATTEMPTS_MAX} delays", path=path)
    for index, delay in enumerate(delays):
        check_between(delay, 0.0, DELAY_SECONDS_MAX, f"{path}[{index}]", "seconds")


def check_max_age(seconds: float) -> None:
    """Raises Invalid."""
    if not 0 < seconds <= MAX_AGE_SECONDS_MAX:
        raise Invalid(
            f"must be more than 0 and at most {MAX_AGE_SECONDS_MAX:.0f} seconds; null is no limit", path="max_age"
        )


def fallback_targets(urls: tuple[str, ...]) -> list[tuple[str, Target]]:
    """Each one with its path. Raises Invalid."""
    if len(urls) > FALLBACK_URLS_MAX:
        raise Invalid(f"an endpoint has at most {FALLBACK_URLS_MAX} fallback URLs", path="fallback_urls")
    return [_target(url, f"fallback_urls[{index}]") for index, url in enumerate(urls)]


def equal_targets(urls: tuple[EqualUrl, ...]) -> list[tuple[str, Target]]:
    """Each one with its path. Raises Invalid."""
    if len(urls) > EQUAL_URLS_MAX:
        raise Invalid(f"an endpoint has at most {EQUAL_URLS_MAX} equal URLs beside its own", path="equal_urls")
    found = []
    for index, equal in enumerate(urls):
        found.append(_target(equal.url, f"equal_urls[{index}].url"))
        _within(equal.weight, 1, URL_WEIGHT_MAX, f"equal_urls[{index}].weight", "shares")
    return found


def check_whole(config: EndpointConfig, given: dict[str, Any]) -> None:
    """What only all fields together tell. Raises Invalid, whose path is of a field that was `given`, where one is to blame."""
    if config.on_exhausted is OnExhausted.BLOCK and config.ordering is Ordering.NONE:
        raise Invalid(
            "only an ordered line can be blocked: on_exhausted block needs the ordering endpoint or key",
            path="on_exhausted" if given.get("on_exhausted") is not None else "ordering",
        )
    if config.balance is Balance.STICKY and not config.equal_urls:
        raise Invalid(
            "there is nothing to choose from: balance sticky needs equal_urls",
            path="balance" if given.get("balance") is not None else "equal_urls",
        )
    check_with_others(config, given)
    check_decrypt_answer(config, given)
    if config.fallback_urls or config.equal_urls:
        _check_distinct(config, given)


def check_between(value: float, above: float, most: float, path: str, unit: str) -> None:
    """Raises Invalid."""
    if not (above < value <= most) or not math.isfinite(value):
        raise Invalid(f"must be more than {above:g} and at most {most:g} {unit}", path=path)


def _check_distinct(config: EndpointConfig, given: dict[str, Any]) -> None:
    places = [("url", "url", config.url)]
    places += [("equal_urls", f"equal_urls[{n}].url", equal.url) for n, equal in enumerate(config.equal_urls)]
    places += [("fallback_urls", f"fallback_urls[{n}]", url) for n, url in enumerate(config.fallback_urls)]
    seen: dict[Target, tuple[str, str]] = {}
    for name, path, url in places:
        target = parse_target(url)
        if target not in seen:
            seen[target] = (name, path)
            continue
        other, other_path = seen[target]
        ours = given.get(name) is not None or given.get(other) is None
        raise Invalid(
            f"is the same URL as {other_path if ours else path}; each URL of an endpoint is there once",
            path=path if ours else other_path,
        )


def _target(url: str, path: str) -> tuple[str, Target]:
    return path, parse_target(url, path=path)


def _within(value: int, least: int, most: int, path: str, unit: str) -> None:
    if not least <= value <= most:
        raise Invalid(f"must be at least {least} and at most {most} {unit}", path=path)
