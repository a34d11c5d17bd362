"""Transformations and dynamic URLs as they are written: what is refused, with which path, and what of it is judged as a URL."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.manage.test_endpoint_change import OLD

from posthouse.domain.authentication import ApiKeyAuth, BearerAuth, KeyPlace
from posthouse.domain.egress import Tls
from posthouse.domain.endpoint import Batch, EndpointConfig, EqualUrl
from posthouse.domain.errors import Invalid
from posthouse.domain.formats import CloudEventsFormat, CloudEventsMode
from posthouse.domain.limits import DYNAMIC_URLS_MAX, TRANSFORM_HEADERS_MAX, TRANSFORM_QUERY_MAX
from posthouse.domain.named_keys import NO_KEYS, NamedKeys
from posthouse.domain.transformation import DynamicUrl, Transform
from posthouse.manage.endpoint_change import EndpointChange, changed, check_change
from posthouse.manage.rules_check import check_rules
from posthouse.manage.speaking import check_speakable
from posthouse.ports.directory import StoredEndpoint

KEYS = NamedKeys({"key": ("some-key-that-is-long-enough",)})
AMONG = {"eu": "https://eu.example.com/hook", "us": "https://us.example.com:8443/hook"}


def written(keys: NamedKeys = NO_KEYS, *, old: StoredEndpoint = OLD, **fields: Any) -> EndpointConfig:
    """The configuration, as far as it was judged here before it would be stored."""
    change = EndpointChange(**fields)
    check_change(change)
    new = changed(old, change, now=0.0).config
    check_rules(old.config, new)
    check_speakable(new, keys)
    return new


def refusal(keys: NamedKeys = NO_KEYS, **fields: Any) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        written(keys, **fields)
    return caught.value.path, str(caught.value)


@pytest.mark.parametrize(
    ("transform", "path"),
    [
        (Transform(), "transform"),
        (Transform(headers={"a b": "x"}), "transform.headers.a b"),
        (Transform(headers={"X\r\nY": "x"}), "transform.headers.X\\r\\nY"),
        (Transform(headers={"Content-Length": "x"}), "transform.headers.Content-Length"),
        (Transform(headers={"webhook-id": "x"}), "transform.headers.webhook-id"),
        (Transform(headers={"X-A": "x", "x-a": "x"}), "transform.headers.x-a"),
        (Transform(headers={f"X-{n}": "x" for n in range(TRANSFORM_HEADERS_MAX + 1)}), "transform.headers"),
        (Transform(query={f"q{n}": "x" for n in range(TRANSFORM_QUERY_MAX + 1)}), "transform.query"),
        (Transform(query={"": "x"}), "transform.query."),
        (Transform(query={"a\nb": "x"}), "transform.query.a\\nb"),
        (Transform(schema={"type": 1}), "transform.schema"),
    ],
)
def test_transformations_that_are_refused(transform: Transform, path: str) -> None:
    assert refusal(transform=transform)[0] == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"headers": {"x-a": "1"}, "transform": Transform(headers={"X-A": "h"})}, "transform.headers.X-A"),
        ({"query": {"q": "1"}, "transform": Transform(query={"q": "p"})}, "transform.query.q"),
        (
            {"transform": Transform(headers={"Authorization": "h"}), "auth": BearerAuth(key="key")},
            "transform.headers.Authorization",
        ),
        (
            {
                "transform": Transform(headers={"ce-x": "h"}),
                "format": CloudEventsFormat(mode=CloudEventsMode.BINARY),
            },
            "transform.headers.ce-x",
        ),
    ],
)
def test_what_the_request_has_already(fields: dict[str, Any], path: str) -> None:
    assert refusal(KEYS, **fields)[0] == path


def test_a_batch_takes_the_data_alone() -> None:
    assert written(batch=Batch(), transform=Transform(data="d"))
    assert refusal(batch=Batch(), transform=Transform(headers={"A": "a"}))[0] == "transform.headers"
    assert refusal(batch=Batch(), transform=Transform(query={"A": "a"}))[0] == "transform.query"
    transforming = StoredEndpoint(
        id=OLD.id,
        app_id=OLD.app_id,
        uid="mine",
        revision=1,
        config=EndpointConfig(url="https://example.com/", transform=Transform(query={"A": "a"})),
    )
    assert refusal(old=transforming, batch=Batch())[0] == "batch"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (DynamicUrl(), "dynamic_url"),
        (DynamicUrl(template="https://example.com/{event.key}", choose="c", among=AMONG), "dynamic_url"),
        (DynamicUrl(template="https://example.com/{event.key}", among=AMONG), "dynamic_url.among"),
        (DynamicUrl(template="https://example.com/{event.none}"), "dynamic_url.template"),
        (DynamicUrl(template="https://{event.key}/", hosts=("*",)), "dynamic_url.hosts[0]"),
        (DynamicUrl(choose="c", among=AMONG, hosts=("example.com",)), "dynamic_url.hosts"),
        (DynamicUrl(choose="c"), "dynamic_url.among"),
        (
            DynamicUrl(choose="c", among={f"u{n}": "https://example.com/" for n in range(DYNAMIC_URLS_MAX + 1)}),
            "dynamic_url.among",
        ),
        (DynamicUrl(choose="c", among={"": "https://example.com/"}), "dynamic_url.among."),
        (DynamicUrl(choose="c", among={"eu": "https://u:p@example.com/"}), "dynamic_url.among.eu"),
    ],
)
def test_urls_that_are_refused(url: DynamicUrl, path: str) -> None:
    assert refusal(dynamic_url=url)[0] == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"batch": Batch()}, "dynamic_url"),
        ({"equal_urls": (EqualUrl("https://b.example.com/"),)}, "dynamic_url"),
        ({"fallback_urls": ("https://b.example.com/",)}, "dynamic_url"),
    ],
)
def test_what_does_not_go_with_a_url_for_each_event(fields: dict[str, Any], path: str) -> None:
    assert refusal(dynamic_url=DynamicUrl(choose="c", among=AMONG), **fields)[0] == path


def test_tls_and_authentication_must_fit_each_of_them() -> None:
    plain = {"eu": "http://eu.example.com/"}
    assert refusal(dynamic_url=DynamicUrl(choose="c", among=plain), tls=Tls())[0] == "tls"
    assert refusal(dynamic_url=DynamicUrl(template="http://example.com/{event.key}"), tls=Tls())[0] == "tls"
    template = DynamicUrl(template="https://example.com/?token={event.key}")
    auth = ApiKeyAuth(key="key", name="token", place=KeyPlace.QUERY)
    assert refusal(KEYS, dynamic_url=template, auth=auth)[0] == "auth.name"
    assert written(dynamic_url=DynamicUrl(choose="c", among=AMONG), tls=Tls())


def judged(url: DynamicUrl) -> list[tuple[str, str, int]]:
    found = check_change(EndpointChange(dynamic_url=url))
    return [(each.path, each.target.host, each.target.port) for each in found]


def test_what_is_sure_of_where_they_lead_is_judged_as_every_url() -> None:
    assert judged(DynamicUrl(choose="c", among=AMONG)) == [
        ("dynamic_url.among.eu", "eu.example.com", 443),
        ("dynamic_url.among.us", "us.example.com", 8443),
    ]
    assert judged(DynamicUrl(template="http://example.com:81/{event.key}")) == [
        ("dynamic_url.template", "example.com", 81)
    ]
    assert judged(DynamicUrl(template="http://{event.key}:81/", hosts=("*.example.com", "Localhost"))) == [
        ("dynamic_url.hosts[1]", "localhost", 81)
    ]
