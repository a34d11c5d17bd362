"""Custom headers: only what cannot break or forge a head."""

import pytest

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import HEADER_BYTES_MAX, HEADERS_MAX
from posthouse.wire.headers import check_headers, is_content_type


def test_ordinary_headers_stay_as_they_are() -> None:
    headers = (
        ("Authorization", "Bearer abc.def"),
        ("X-Size", "naïve\té"),
        ("X-Empty", ""),
    )
    assert check_headers(headers) == headers
    assert check_headers({"User-Agent": "Shop/1", "Accept": "application/json"}.items()) == (
        ("User-Agent", "Shop/1"),
        ("Accept", "application/json"),
    )


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nY", "X\n", "X\x00", "Ünicode", "X(1)", "a" * 129, "X\x7f"])
def test_names_are_tokens(name: str) -> None:
    with pytest.raises(Invalid, match="a header name is") as caught:
        check_headers([(name, "x")])
    assert caught.value.path.startswith("headers.")
    assert caught.value.path.isprintable()


@pytest.mark.parametrize(
    "value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00", "\x7f", "a\x1bb", "a\x85b", "驿站", "€", "a\n", "\ud800"]
)
def test_values_hold_no_controls(value: str) -> None:
    with pytest.raises(Invalid, match="a header value holds") as caught:
        check_headers([("X-Foo", value)])
    assert caught.value.path == "headers.X-Foo"
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", [" a", "a ", "\ta", "a\t", " "])
def test_values_have_no_space_at_their_ends(value: str) -> None:
    with pytest.raises(Invalid, match="with a space"):
        check_headers([("X-Foo", value)])


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "HOST",
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Content-Type",
        "Content-Encoding",
        "Accept-Encoding",
        "webhook-id",
        "Webhook-Timestamp",
        "WEBHOOK-SIGNATURE",
        "webhook-anything",
    ],
)
def test_headers_of_ours_cannot_be_set(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be set") as caught:
        check_headers([(name, "x")])
    assert caught.value.path == f"headers.{name}"


def test_a_header_comes_once() -> None:
    with pytest.raises(Invalid, match="twice") as caught:
        check_headers([("X-Foo", "1"), ("x-foo", "2")])
    assert caught.value.path == "headers.x-foo"


def test_their_number_and_size_are_bounded() -> None:
    assert len(check_headers([(f"X-{n}", "") for n in range(HEADERS_MAX)])) == HEADERS_MAX
    with pytest.raises(Invalid, match=f"more than {HEADERS_MAX} headers"):
        check_headers([(f"X-{n}", "") for n in range(HEADERS_MAX + 1)])
    room = HEADER_BYTES_MAX - len("X: \r\n")
    assert check_headers([("X", "v" * room)])
    with pytest.raises(Invalid, match=f"more than {HEADER_BYTES_MAX} bytes") as caught:
        check_headers([("X", "v" * room), ("Y", "")])
    assert caught.value.path == "headers.Y"


@pytest.mark.parametrize(
    "text", ["application/json", "text/plain; charset=utf-8", 'application/vnd.x+xml;a="b c"', "a/b"]
)
def test_content_types(text: str) -> None:
    assert is_content_type(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain\r\nX: y",
        "text/plain; a=\n",
        "tëxt/plain",
        " text/plain",
        "a/b;" + "x" * 300,
    ],
)
def test_what_is_no_content_type(text: str) -> None:
    assert not is_content_type(text)
