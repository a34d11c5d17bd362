"""Changes of an endpoint: what is refused, with which path, and what comes of the rest."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from posthouse.domain.endpoint import (
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
from posthouse.domain.ids import ENDPOINT, AppId, EndpointId, format_id
from posthouse.domain.retry import Delays, Exponential, RetrySettings
from posthouse.manage.endpoint_change import EndpointChange, changed, check_change
from posthouse.manage.key_change import keys_given
from posthouse.ports.directory import StoredEndpoint

OLD = StoredEndpoint(
    id=EndpointId(b"e" * 16),
    app_id=AppId(b"a" * 16),
    uid="mine",
    revision=3,
    metadata={"a": 1},
    config=EndpointConfig(url="https://example.com/", description="old", events=("order.*",), concurrency=4),
)


def by_type(*patterns: tuple[str, Delays]) -> RetrySettings:
    return RetrySettings(by_type=dict(patterns))


def curve(**fields: Any) -> RetrySettings:
    return RetrySettings(exponential=Exponential(**fields))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "https://user:pw@example.com/"}, "url"),
        ({"url": "https:///x"}, "url"),
        ({"url": "/x"}, "url"),
        ({"uid": ""}, "uid"),
        ({"uid": "a b"}, "uid"),
        ({"uid": "a/b"}, "uid"),
        ({"uid": ".."}, "uid"),
        ({"uid": "x" * 129}, "uid"),
        ({"uid": "mine\n"}, "uid"),
        ({"uid": format_id(ENDPOINT, b"x" * 16)}, "uid"),
        ({"metadata": {"a": "x" * 9000}}, "metadata"),
        ({"description": "x" * 1025}, "description"),
        ({"events": ("order.created", "order*")}, "events[1]"),
        ({"events": ("",)}, "events[0]"),
        ({"events": ("*.created",)}, "events[0]"),
        ({"events": ("a",) * 101}, "events"),
        ({"channels": ("ok", "")}, "channels[1]"),
        ({"channels": ("a\x1fb",)}, "channels[0]"),
        ({"channels": ("x" * 129,)}, "channels[0]"),
        ({"channels": tuple("abcdefghijklmnopq")}, "channels"),
        ({"headers": {"X-A": "a\r\nb"}}, "headers.X-A"),
        ({"headers": {"Host": "x"}}, "headers.Host"),
        ({"headers": {"webhook-signature": "x"}}, "headers.webhook-signature"),
        ({"retry": RetrySettings(schedule=())}, "retry.schedule"),
        ({"retry": RetrySettings(schedule=(1.0,) * 101)}, "retry.schedule"),
        ({"retry": RetrySettings(schedule=(1.0, 0.0))}, "retry.schedule[1]"),
        ({"retry": RetrySettings(schedule=(-1.0,))}, "retry.schedule[0]"),
        ({"retry": RetrySettings(schedule=(1.0, 2.0, 604_801.0))}, "retry.schedule[2]"),
        ({"retry": RetrySettings(schedule=(math.inf,))}, "retry.schedule[0]"),
        ({"retry": RetrySettings(schedule=(math.nan,))}, "retry.schedule[0]"),
        ({"retry": RetrySettings(jitter=-0.1)}, "retry.jitter"),
        ({"retry": RetrySettings(jitter=1.1)}, "retry.jitter"),
        ({"retry": RetrySettings(jitter=math.nan)}, "retry.jitter"),
        ({"retry": RetrySettings(schedule=(1.0,), exponential=Exponential())}, "retry"),
        ({"retry": curve(base=0.0)}, "retry.exponential.base"),
        ({"retry": curve(max=604_801.0)}, "retry.exponential.max"),
        ({"retry": curve(factor=0.5)}, "retry.exponential.factor"),
        ({"retry": curve(factor=101.0)}, "retry.exponential.factor"),
        ({"retry": curve(attempts=0)}, "retry.exponential.attempts"),
        ({"retry": curve(attempts=101)}, "retry.exponential.attempts"),
        ({"retry": by_type(("trade*", Delays((1.0,))))}, "retry.by_type.trade*"),
        ({"retry": by_type(("a\n", Delays((1.0,))))}, "retry.by_type.a\\n"),
        ({"retry": by_type(("trade.*", Delays()))}, "retry.by_type.trade.*"),
        ({"retry": by_type(("a", Delays((1.0,), Exponential())))}, "retry.by_type.a"),
        ({"retry": by_type(("*", Delays((1.0, 0.0))))}, "retry.by_type.*.schedule[1]"),
        ({"retry": by_type(("a", Delays(exponential=Exponential(factor=0.5))))}, "retry.by_type.a.exponential.factor"),
        ({"retry": by_type(*[(f"a{n}", Delays((1.0,))) for n in range(17)])}, "retry.by_type"),
        ({"timeouts": Timeouts(connect=-1.0)}, "timeouts.connect"),
        ({"timeouts": Timeouts(first_byte=0.0)}, "timeouts.first_byte"),
        ({"timeouts": Timeouts(total=61.0)}, "timeouts.total"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1001}, "concurrency"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_change(EndpointChange(**change))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("change", "path"),
    [
        *(
            ({"rate_limit": RateLimit(rate)}, "rate_limit.per_second")
            for rate in (0.0, -1.0, math.nan, math.inf, -math.inf, 1e9, 1e-9)
        ),
        ({"rate_limit": RateLimit(1.0, 0)}, "rate_limit.burst"),
        ({"rate_limit": RateLimit(1.0, 10**9)}, "rate_limit.burst"),
        ({"batch": Batch(0)}, "batch.max_events"),
        ({"batch": Batch(1001)}, "batch.max_events"),
        ({"batch": Batch(10, 1023)}, "batch.max_bytes"),
        ({"batch": Batch(10, 1024 * 1024 + 1)}, "batch.max_bytes"),
        ({"batch": Batch(10, 1024, -1)}, "batch.max_wait_ms"),
        ({"batch": Batch(10, 1024, 2_001)}, "batch.max_wait_ms"),
        ({"max_age": 0.0}, "max_age"),
        ({"max_age": math.nan}, "max_age"),
        ({"max_age": math.inf}, "max_age"),
        ({"max_age": 366 * 86_400.0}, "max_age"),
        ({"fallback_urls": ("https://a.example/", "ftp://b.example/")}, "fallback_urls[1]"),
        ({"fallback_urls": tuple(f"https://{n}.example/" for n in range(6))}, "fallback_urls"),
        ({"equal_urls": (EqualUrl("https://u:p@example.com/"),)}, "equal_urls[0].url"),
        ({"equal_urls": (EqualUrl("https://a.example/"), EqualUrl("https://b.example/", 0))}, "equal_urls[1].weight"),
        ({"equal_urls": (EqualUrl("https://a.example/", 1001),)}, "equal_urls[0].weight"),
        ({"equal_urls": tuple(EqualUrl(f"https://{n}.example/") for n in range(9))}, "equal_urls"),
    ],
)
def test_what_is_wrong_with_flow_control(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_change(EndpointChange(**change))
    assert caught.value.path == path


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"uid": None, "metadata": None, "events": None, "retry": None, "timeouts": None, "concurrency": None},
        {"uid": "shop:42.main"},
        {"events": ("*", "order.*", "user_register"), "channels": ("shop 42",)},
        {"retry": RetrySettings(schedule=(0.001, 604_800.0))},
        {"retry": curve(attempts=1)},
        {"retry": by_type(*[(f"a{n}.*", Delays((1.0,))) for n in range(15)], ("*", Delays(exponential=Exponential())))},
        {"timeouts": Timeouts(60.0, 60.0, 60.0), "concurrency": 1000},
    ],
)
def test_what_is_right_passes(change: dict[str, Any]) -> None:
    assert check_change(EndpointChange(**change)) == []


def test_every_new_url_is_taken_apart_with_its_path() -> None:
    found = check_change(
        EndpointChange(
            url="https://Example.com:8443/x",
            equal_urls=(EqualUrl("https://b.example/"),),
            fallback_urls=("https://c.example/", "http://d.example/"),
        )
    )
    assert [(each.path, each.target.host, each.target.port) for each in found] == [
        ("url", "example.com", 8443),
        ("equal_urls[0].url", "b.example", 443),
        ("fallback_urls[0]", "c.example", 443),
        ("fallback_urls[1]", "d.example", 80),
    ]
    assert found[0].url == "https://Example.com:8443/x", "as it was written: so it is known again"


@pytest.mark.parametrize(
    ("stored", "change", "path"),
    [
        ({}, {"on_exhausted": OnExhausted.BLOCK}, "on_exhausted"),
        ({}, {"on_exhausted": OnExhausted.BLOCK, "ordering": Ordering.NONE}, "on_exhausted"),
        ({"ordering": Ordering.KEY, "on_exhausted": OnExhausted.BLOCK}, {"ordering": None}, "ordering"),
        ({}, {"balance": Balance.STICKY}, "balance"),
        (
            {"equal_urls": (EqualUrl("https://b.example/"),), "balance": Balance.STICKY},
            {"equal_urls": None},
            "equal_urls",
        ),
        ({}, {"fallback_urls": ("https://b.example/", "https://EXAMPLE.com:443")}, "fallback_urls[1]"),
        ({}, {"fallback_urls": ("https://b.example/", "https://b.example")}, "fallback_urls[1]"),
        ({}, {"equal_urls": (EqualUrl("https://example.com/", 2),)}, "equal_urls[0].url"),
        ({"fallback_urls": ("https://a.example/", "https://b.example/")}, {"url": "https://b.example/"}, "url"),
        (
            {"fallback_urls": ("https://b.example/",)},
            {"equal_urls": (EqualUrl("https://c.example/"), EqualUrl("https://b.example/"))},
            "equal_urls[1].url",
        ),
        (
            {"equal_urls": (EqualUrl("https://b.example/"),)},
            {"fallback_urls": ("https://b.example/",)},
            "fallback_urls[0]",
        ),
    ],
)
def test_fields_are_judged_together_with_those_that_stay(
    stored: dict[str, Any], change: dict[str, Any], path: str
) -> None:
    old = msgspec.structs.replace(OLD, config=msgspec.structs.replace(OLD.config, **stored))
    with pytest.raises(Invalid) as caught:
        changed(old, EndpointChange(**change), now=5.0)
    assert caught.value.path == path


def test_the_other_one_of_two_equal_urls_is_named() -> None:
    with pytest.raises(Invalid, match=r"is the same URL as fallback_urls\[0\]"):
        changed(
            msgspec.structs.replace(
                OLD, config=EndpointConfig(url="https://a.example/", fallback_urls=("https://b.example/",))
            ),
            EndpointChange(url="https://b.example"),
            now=5.0,
        )


def test_everything_of_flow_control_is_kept_and_goes_back_to_its_default() -> None:
    given: dict[str, Any] = {
        "rate_limit": RateLimit(1 / 60, 1),
        "ordering": Ordering.KEY,
        "on_exhausted": OnExhausted.BLOCK,
        "batch": Batch(1, 1024, 0),
        "fallback_urls": ("https://c.example/",),
        "equal_urls": (EqualUrl("https://b.example/", 1000),),
        "balance": Balance.STICKY,
        "max_age": 0.5,
        "format": Format.CLOUDEVENTS,
    }
    check_change(EndpointChange(**given))
    new = changed(OLD, EndpointChange(**given), now=5.0)
    assert {name: getattr(new.config, name) for name in given} == given
    assert msgspec.json.decode(msgspec.json.encode(new.config), type=EndpointConfig) == new.config
    defaults: dict[str, Any] = dict.fromkeys(given)
    back = changed(new, EndpointChange(**defaults), now=5.0)
    assert back.config == OLD.config


def test_what_is_not_set_stays_and_none_brings_the_default_back() -> None:
    new = changed(OLD, EndpointChange(url="https://example.org/", events=None, uid=None), now=5.0)
    assert new.config == EndpointConfig(url="https://example.org/", description="old", concurrency=4)
    assert new.uid is None
    assert new.metadata == {"a": 1}


def test_the_revision_counts_changes_of_how_requests_are_made() -> None:
    assert changed(OLD, EndpointChange(), now=5.0) == OLD
    assert changed(OLD, EndpointChange(uid="other", metadata={}), now=5.0).revision == 3
    assert changed(OLD, EndpointChange(url=OLD.config.url, concurrency=4), now=5.0) == OLD
    assert changed(OLD, EndpointChange(concurrency=5), now=5.0).revision == 4


def test_disabled_by_hand_and_enabled_again() -> None:
    off = changed(OLD, EndpointChange(enabled=False), now=5.0)
    assert (off.enabled, off.disabled_reason, off.disabled_at, off.revision) == (False, BY_HAND, 5.0, 3)
    assert changed(off, EndpointChange(enabled=False), now=6.0) == off
    for on in (True, None):
        assert changed(off, EndpointChange(enabled=on), now=6.0) == OLD


def test_a_reason_of_ours_stays_until_it_is_enabled() -> None:
    gone = msgspec.structs.replace(OLD, enabled=False, disabled_reason="gone", disabled_at=1.0)
    assert changed(gone, EndpointChange(enabled=False), now=6.0).disabled_reason == "gone"
    assert changed(gone, EndpointChange(description="new"), now=6.0).disabled_reason == "gone"


def test_too_many_keys_are_refused_before_any_is_put_among_the_others() -> None:
    with pytest.raises(Invalid, match="at most 16 keys"):
        keys_given({f"k{n}": "a" for n in range(17)}, now=0.0)
    keys_given({f"k{n}": "a" for n in range(16)}, now=0.0)
