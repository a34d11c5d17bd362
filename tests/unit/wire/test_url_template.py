"""URLs with values of the event in them: each value stays in its place, and the host among those declared."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.fakes import an_event

from posthouse.domain.errors import Invalid
from posthouse.domain.ids import EVENT, format_id
from posthouse.domain.limits import DYNAMIC_HOSTS_MAX
from posthouse.wire.url_template import NoUrl, UrlTemplate


def template(text: str, *hosts: str) -> UrlTemplate:
    return UrlTemplate(text, hosts, path="dynamic_url")


def filled(text: str, *hosts: str, data: Any = None, **fields: Any) -> str:
    payload = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return template(text, *hosts).fill(an_event(payload=payload, **fields))[0]


def test_each_value_is_written_for_its_place() -> None:
    event = an_event(type="order.created", subject="a/b c", key="k&x=1", payload=b'{"region":"eu-1","shop":{"id":7}}')
    made = template(
        "https://{event.data.region}.example.com/s/{event.subject}/{event.data.shop.id}?k={event.key}&t={event.type}&i={event.id}",
        "*.example.com",
    )
    url, target = made.fill(event)
    assert url == ("https://eu-1.example.com/s/a%2Fb%20c/7?k=k%26x%3D1&t=order.created&i=" + format_id(EVENT, event.id))
    assert (target.host, target.port, target.scheme) == ("eu-1.example.com", 443, "https")


def test_braces_that_are_written_twice_are_braces() -> None:
    assert filled("https://example.com/h?a={{{event.key}}}", key="k") == "https://example.com/h?a={k}"


@pytest.mark.parametrize(
    ("data", "written"),
    [
        ({"v": 12345678901234567890}, "12345678901234567890"),
        ({"v": True}, "true"),
        ({"v": "é"}, "%C3%A9"),
        ({"v": "%2e%2e"}, "%252e%252e"),
        (b'{"v":1e2}', "1e2"),
        (b'{"v":1,"v":2}', "2"),
    ],
)
def test_texts_numbers_and_booleans_are_values(data: Any, written: str) -> None:
    assert filled("https://example.com/{event.data.v}", data=data) == f"https://example.com/{written}"


@pytest.mark.parametrize("data", [{}, {"v": None}, {"v": {}}, {"v": [1]}, {"v": ""}, [], 1, b"no json", {"v": ".."}])
def test_where_there_is_no_value_there_is_no_url(data: Any) -> None:
    with pytest.raises(NoUrl, match=r"event\.data\.v"):
        filled("https://example.com/{event.data.v}", data=data)


def test_a_value_may_be_empty_in_the_query_alone() -> None:
    assert filled("https://example.com/?a={event.data.v}", data={"v": ""}) == "https://example.com/?a="
    with pytest.raises(NoUrl, match="no JSON"):
        filled("https://example.com/?a={event.data.v}", data={"v": "x"}, content_type="text/plain")
    with pytest.raises(NoUrl, match="the event has none"):
        filled("https://example.com/?a={event.subject}")


def test_an_attribute_is_a_value() -> None:
    text = "https://example.com/{event.attributes.app}"
    assert filled(text, attributes=b'{"app":"app_1/2"}') == "https://example.com/app_1%2F2"
    for attributes in (None, b'{"another":"x"}', b'{"app":".."}'):
        with pytest.raises(NoUrl, match=r"event\.attributes\.app"):
            filled(text, attributes=attributes)


def test_what_it_says_tells_no_value() -> None:
    for value in ("secret.evil.test", "se cret", "secret/../x"):
        with pytest.raises(NoUrl) as caught:
            filled("https://{event.data.v}/x", "*.example.com", data={"v": value})
        assert "secret" not in str(caught.value)
        assert "se cret" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "evil.test",
        "example.com",
        "evil.test/x",
        "a@b",
        "a:80",
        "a..b",
        "-",
        "-a",
        ".a",
        "a.",
        "",
        "1.2.3.4",
        "a#b",
        "ä",
        "a b",
    ],
)
def test_a_host_that_was_not_declared_is_none(value: str) -> None:
    with pytest.raises(NoUrl):
        filled("https://{event.data.v}/x", "*.example.com", data={"v": value})


def test_the_hosts_that_are_declared() -> None:
    hosts = ("*.example.com", "Hooks.Example.ORG", "10.0.0.1")
    for value in ("a.example.com", "a.b.EXAMPLE.com", "hooks.example.org", "10.0.0.1"):
        assert filled("https://{event.data.v}/", *hosts, data={"v": value}) == f"https://{value}/"
    assert filled("http://{event.key}.example.com:8080/", "*.example.com", key="x") == "http://x.example.com:8080/"


@pytest.mark.parametrize(
    ("text", "hosts", "path"),
    [
        ("{event.key}://example.com/", (), "dynamic_url.template"),
        ("http{event.key}://example.com/", (), "dynamic_url.template"),
        ("https://example.com:{event.data.port}/", (), "dynamic_url.template"),
        ("https://{event.key}@example.com/", ("*.example.com",), "dynamic_url.template"),
        ("https://u:{event.key}@example.com/", (), "dynamic_url.template"),
        ("https://[{event.key}]/", (), "dynamic_url.template"),
        ("https://{event.key}/", (), "dynamic_url.hosts"),
        ("https://example.com/#{event.key}", (), "dynamic_url.template"),
        ("https://example.com/../{event.key}", (), "dynamic_url.template"),
        ("https://example.com/{event.time}", (), "dynamic_url.template"),
        ("https://example.com/{event.data}", (), "dynamic_url.template"),
        ("https://example.com/{event.data.}", (), "dynamic_url.template"),
        ("https://example.com/{event.attributes}", (), "dynamic_url.template"),
        ("https://example.com/{event.attributes.a.b}", (), "dynamic_url.template"),
        ("https://example.com/{", (), "dynamic_url.template"),
        ("https://example.com/}", (), "dynamic_url.template"),
        ("ftp://example.com/{event.key}", (), "dynamic_url.template"),
        ("/hooks/{event.key}", (), "dynamic_url.template"),
        ("https://example.com/" + "x" * 2_100, (), "dynamic_url.template"),
        ("https://example.com/{event.key}", ("*.example.com",), "dynamic_url.template"),
        ("https://{event.key}/", ("*",), "dynamic_url.hosts[0]"),
        ("https://{event.key}/", ("a.example.com", "*.com"), "dynamic_url.hosts[1]"),
        ("https://{event.key}/", ("*.10.0.0.1",), "dynamic_url.hosts[0]"),
        ("https://{event.key}/", ("example.com:8080",), "dynamic_url.hosts[0]"),
        ("https://{event.key}/", ("https://example.com",), "dynamic_url.hosts[0]"),
        ("https://{event.key}/", ("example.com/x",), "dynamic_url.hosts[0]"),
        ("https://{event.key}/", ("[::1]",), "dynamic_url.hosts[0]"),
        ("https://{event.key}/", ("*.example.com",) * (DYNAMIC_HOSTS_MAX + 1), "dynamic_url.hosts"),
    ],
)
def test_what_no_template_may_be(text: str, hosts: tuple[str, ...], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        template(text, *hosts)
    assert caught.value.path == path


def test_what_of_a_host_is_sure_can_be_judged_beforehand() -> None:
    assert template("https://example.com:8080/{event.key}").host == "example.com"
    assert template("https://{event.key}.example.com/", "*.example.com").host is None


HOSTILE = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="./\\@:#?%&=\r\n\t \0[]{}x0", max_size=12),
    st.sampled_from(
        ["..", "%2e%2e", "evil.test", "evil.test/", "a.example.com.evil.test", "x@evil.test", "x:1", "\r\nX: 1"]
    ),
)


@given(host=HOSTILE, segment=HOSTILE, value=HOSTILE, subject=HOSTILE)
def test_no_value_leaves_its_place(host: str, segment: str, value: str, subject: str) -> None:
    made = template("https://{event.data.h}/a/{event.data.s}/b?p={event.data.v}&q={event.subject}", "*.example.com")
    payload = msgspec.json.encode({"h": host, "s": segment, "v": value})
    try:
        url, target = made.fill(an_event(payload=payload, subject=subject))
    except NoUrl:
        return
    split = urlsplit(url)
    assert split.hostname == target.host == host.lower()
    assert target.host.endswith(".example.com")
    assert (split.scheme, split.port, split.username, split.fragment) == ("https", None, None, "")
    assert [unquote(each) for each in split.path.split("/")] == ["", "a", segment, "b"]
    assert segment not in ("", ".", "..")
    assert parse_qsl(split.query, keep_blank_values=True) == [("p", value), ("q", subject)]
    assert all(c.isprintable() and c != " " and c.isascii() for c in target.path)


@given(value=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True))
def test_every_label_that_a_name_can_have_is_taken(value: str) -> None:
    assume("xn--" not in value)
    assert filled("https://{event.key}.example.com/", "*.example.com", key=value) == f"https://{value}.example.com/"
